use poet::poet;

#[poet(cache, key(id, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13))]
async fn fetch(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

fn main() {}
