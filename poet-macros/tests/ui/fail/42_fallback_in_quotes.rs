use poet::poet;

#[poet(fallback = "cached")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
