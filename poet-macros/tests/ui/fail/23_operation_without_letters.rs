use poet::poet;

#[poet(operation = "")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
