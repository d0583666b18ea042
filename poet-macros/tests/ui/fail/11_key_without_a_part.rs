use poet::poet;

#[poet(cache, key())]
async fn fetch(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

fn main() {}
