use poet::poet;

use std::rc::Rc;

#[poet(batch = fetch_all)]
async fn fetch(id: u32) -> Result<Rc<u32>, poet::Error> {
    Ok(Rc::new(id))
}

async fn fetch_all(ids: Vec<u32>) -> Result<Vec<Rc<u32>>, poet::Error> {
    Ok(ids.into_iter().map(Rc::new).collect())
}

fn main() {}
