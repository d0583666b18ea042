use poet::poet;

#[poet(batch = fetch_all)]
async fn fetch() -> Result<u32, poet::Error> {
    Ok(1)
}

async fn fetch_all(ids: Vec<u32>) -> Result<Vec<u32>, poet::Error> {
    Ok(ids)
}

fn main() {}
