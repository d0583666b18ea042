use poet::poet;

use std::pin::Pin;

#[poet(batch = fetch_all)]
fn fetch(id: u32) -> Pin<Box<dyn Future<Output = Result<u32, poet::Error>>>> {
    Box::pin(async move { Ok(id) })
}

async fn fetch_all(ids: Vec<u32>) -> Result<Vec<u32>, poet::Error> {
    Ok(ids)
}

fn main() {}
