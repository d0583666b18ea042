use poet::poet;

#[poet(deadline = "2s")]
async fn fetch() {}

fn main() {}
