use poet::poet;

#[poet(batch = fetch_all)]
async fn fetch(id: u32) -> impl Into<u32> {
    id
}

async fn fetch_all(ids: Vec<u32>) -> Vec<u32> {
    ids
}

fn main() {}
