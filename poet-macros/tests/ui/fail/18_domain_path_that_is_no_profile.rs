use poet::poet;

static LIMIT: u8 = 3;

#[poet(domain = LIMIT)]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
