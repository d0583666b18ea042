use poet::poet;

#[poet(cost = 1e999)]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
