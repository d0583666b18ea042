use poet::poet;

#[poet(key(id))]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
