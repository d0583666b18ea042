#![deny(unused_mut)]

use poet::poet;

#[poet]
pub async fn fetch(mut id: u8) -> u8 {
    id
}

fn main() {}
