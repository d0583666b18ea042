use poet::poet;

#[poet(batch = fetch_all)]
async fn fetch(id: &str) -> Result<usize, poet::Error> {
    Ok(id.len())
}

async fn fetch_all(ids: Vec<&str>) -> Result<Vec<usize>, poet::Error> {
    Ok(ids.iter().map(|id| id.len()).collect())
}

fn main() {}
