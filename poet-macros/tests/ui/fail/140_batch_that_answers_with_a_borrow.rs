use poet::poet;

#[poet(batch = fetch_all)]
async fn fetch<'a>(id: u32) -> Result<&'a str, poet::Error> {
    Ok(if id > 0 { "some" } else { "none" })
}

async fn fetch_all<'a>(ids: Vec<u32>) -> Result<Vec<&'a str>, poet::Error> {
    Ok(ids.into_iter().map(|id| if id > 0 { "some" } else { "none" }).collect())
}

fn main() {}
