use poet::poet;

#[poet(enforce = "require")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
