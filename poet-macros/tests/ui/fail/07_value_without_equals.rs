use poet::poet;

#[poet(timeout "2s")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
