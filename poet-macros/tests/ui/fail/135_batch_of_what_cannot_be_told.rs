use poet::poet;

#[poet(batch = fetch_all)]
async fn fetch(id: u32) -> Option<u32> {
    Some(id)
}

async fn fetch_all(ids: Vec<u32>) -> Vec<Option<u32>> {
    ids.into_iter().map(Some).collect()
}

fn main() {}
