use poet::poet;

#[poet(batch = fetch_all, fallback = spare)]
async fn fetch(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

async fn fetch_all(ids: Vec<u32>) -> Result<Vec<u32>, poet::Error> {
    Ok(ids)
}

async fn spare(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

fn main() {}
