use poet::poet;

use std::pin::Pin;

#[poet]
fn fetch() -> Pin<Box<dyn Future<Output = u8>>> {
    let later = async { 1 };
    Box::pin(later)
}

fn main() {}
