use poet::poet;

#[poet(idempotent, retries = "3")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
