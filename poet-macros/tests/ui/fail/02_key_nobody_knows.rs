use poet::poet;

#[poet(colour = "red")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
