use poet::poet;

#[poet(deferrable = "yes")]
async fn fetch(id: u32) -> Result<u32, poet::Error> {
    Ok(id)
}

fn main() {}
