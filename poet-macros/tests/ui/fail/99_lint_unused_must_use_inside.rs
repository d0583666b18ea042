#![deny(unused_must_use)]

use poet::poet;

#[poet]
pub async fn fetch() {
    other();
}

fn other() -> Result<u8, String> {
    Ok(1)
}

fn main() {}
