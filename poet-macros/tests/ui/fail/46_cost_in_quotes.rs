use poet::poet;

#[poet(cost = "cheap")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
