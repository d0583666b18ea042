use poet::poet;

#[poet(idempotent)]
async fn fetch() -> impl Iterator<Item = u8> {
    std::iter::empty()
}

fn main() {}
