use poet::poet;

#[poet(batch = fetch_all)]
async fn fetch(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

fn main() {}
