use poet::poet;

use std::rc::Rc;

#[poet(batch = fetch_all)]
async fn fetch(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

async fn fetch_all(ids: Vec<u32>) -> Result<Vec<u32>, poet::Error> {
    let ids = Rc::new(ids);
    std::future::ready(()).await;
    Ok(ids.to_vec())
}

fn main() {}
