use poet::poet;

#[poet(deferrable)]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
