#![deny(dead_code)]

use poet::poet;

#[poet]
async fn fetch() {}

fn main() {}
