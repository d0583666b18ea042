use poet::poet;

#[poet(timeout = "30s 1m")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
