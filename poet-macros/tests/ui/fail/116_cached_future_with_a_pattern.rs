use poet::poet;

use std::pin::Pin;

#[poet(cache)]
fn fetch((id, _): (u32, u32)) -> Pin<Box<dyn Future<Output = Result<u32, poet::Error>>>> {
    Box::pin(async move { Ok(id) })
}

fn main() {}
