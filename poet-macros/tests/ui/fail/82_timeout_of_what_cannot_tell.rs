use poet::poet;

#[poet(timeout = "2s")]
async fn fetch() -> u8 {
    1
}

fn main() {}
