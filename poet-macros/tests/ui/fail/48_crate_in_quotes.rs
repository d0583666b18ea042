use poet::poet;

#[poet(crate = "poet")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
