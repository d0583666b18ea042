use poet::poet;

#[poet(cache = "5m")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
