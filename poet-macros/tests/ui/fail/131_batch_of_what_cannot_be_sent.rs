use poet::poet;

use std::rc::Rc;

#[poet(batch = fetch_all)]
async fn fetch(id: Rc<u32>) -> Result<u32, poet::Error> {
    Ok(*id)
}

async fn fetch_all(ids: Vec<Rc<u32>>) -> Result<Vec<u32>, poet::Error> {
    Ok(ids.iter().map(|id| **id).collect())
}

fn main() {}
