use poet::poet;

#[poet]
struct Service;

fn main() {}
