use poet::poet;

#[poet]
mod service {}

fn main() {}
