use poet::poet;

#[poet(fallback = || async { Ok(0) })]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
