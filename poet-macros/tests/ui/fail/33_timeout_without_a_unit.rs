use poet::poet;

#[poet(timeout = "30")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
