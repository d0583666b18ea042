use poet::poet;

#[poet(timeout = "2s")]
async fn fetch() -> impl Iterator<Item = u8> {
    std::iter::empty()
}

fn main() {}
