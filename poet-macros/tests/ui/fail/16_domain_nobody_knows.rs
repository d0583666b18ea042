use poet::poet;

#[poet(domain = "astrology")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
