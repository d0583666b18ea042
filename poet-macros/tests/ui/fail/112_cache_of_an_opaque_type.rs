use poet::poet;

#[poet(cache)]
async fn fetch(id: u32) -> Result<impl Iterator<Item = u32>, poet::Error> {
    Ok(0..id)
}

fn main() {}
