use poet::poet;

#[poet(priority = "hihg")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
