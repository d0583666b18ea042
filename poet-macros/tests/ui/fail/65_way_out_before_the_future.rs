use poet::poet;

use std::pin::Pin;

#[poet]
fn fetch(known: bool) -> Pin<Box<dyn Future<Output = u8>>> {
    if known {
        return Box::pin(async { 0 });
    }
    Box::pin(async move { 1 })
}

fn main() {}
