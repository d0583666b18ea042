use poet::poet;

#[poet(deadline = "0s")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
