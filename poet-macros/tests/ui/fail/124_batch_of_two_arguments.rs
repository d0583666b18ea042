use poet::poet;

#[poet(batch = fetch_all)]
async fn fetch(id: u32, page: u32) -> Result<u32, poet::Error> {
    Ok(id + page)
}

async fn fetch_all(ids: Vec<u32>) -> Result<Vec<u32>, poet::Error> {
    Ok(ids)
}

fn main() {}
