use poet::poet;

#[poet(idempotent = "yes")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
