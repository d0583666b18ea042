use poet::poet;

use std::borrow::Cow;

#[poet(batch = fetch_all)]
async fn fetch<'a>(id: Cow<'a, str>) -> Result<usize, poet::Error> {
    Ok(id.len())
}

async fn fetch_all(ids: Vec<Cow<'_, str>>) -> Result<Vec<usize>, poet::Error> {
    Ok(ids.iter().map(|id| id.len()).collect())
}

fn main() {}
