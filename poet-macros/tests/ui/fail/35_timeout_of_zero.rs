use poet::poet;

#[poet(timeout = "0ms")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
