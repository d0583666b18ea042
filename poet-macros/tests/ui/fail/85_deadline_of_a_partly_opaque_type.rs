use poet::poet;

#[poet(deadline = "2s")]
async fn fetch() -> Result<impl Iterator<Item = u8>, poet::Error> {
    Ok(std::iter::empty())
}

fn main() {}
