use poet::poet;

#[poet(timeout = "1.5s")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
