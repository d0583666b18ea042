#![deny(unused_must_use)]

use poet::poet;

#[poet]
fn fetch() -> Result<u8, String> {
    Ok(1)
}

fn main() {
    fetch();
}
