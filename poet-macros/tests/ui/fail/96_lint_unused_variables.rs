#![deny(unused_variables)]

use poet::poet;

#[poet]
pub async fn fetch(id: u8, (page, size): (u8, u8)) -> u8 {
    page
}

fn main() {}
