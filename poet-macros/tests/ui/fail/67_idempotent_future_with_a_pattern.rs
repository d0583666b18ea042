use poet::poet;

use std::pin::Pin;

#[poet(idempotent)]
fn fetch((a, b): (u8, u8)) -> Pin<Box<dyn Future<Output = Result<u8, poet::Error>>>> {
    Box::pin(async move { Ok(a + b) })
}

fn main() {}
