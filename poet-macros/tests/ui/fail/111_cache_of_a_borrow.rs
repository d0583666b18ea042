use poet::poet;

#[poet(cache)]
async fn fetch(id: &str) -> Result<&str, poet::Error> {
    Ok(id)
}

fn main() {}
