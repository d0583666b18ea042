use poet::poet;

#[poet(timeout)]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
