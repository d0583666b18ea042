use poet::poet;

use std::pin::Pin;

#[poet(cache)]
fn fetch(id: u32) -> Pin<Box<dyn Future<Output = Result<u32, poet::Error>>>> {
    let id = id % 10;
    Box::pin(async move { Ok(id) })
}

fn main() {}
