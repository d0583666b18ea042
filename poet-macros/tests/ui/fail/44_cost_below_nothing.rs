use poet::poet;

#[poet(cost = -0.5)]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
