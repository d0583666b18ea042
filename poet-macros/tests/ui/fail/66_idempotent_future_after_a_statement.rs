use poet::poet;

use std::pin::Pin;

#[poet(idempotent)]
fn fetch() -> Pin<Box<dyn Future<Output = Result<u8, poet::Error>>>> {
    let start = 1;
    Box::pin(async move { Ok(start) })
}

fn main() {}
