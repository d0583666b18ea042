use poet::poet;

#[poet(cache = "0s")]
async fn fetch(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

fn main() {}
