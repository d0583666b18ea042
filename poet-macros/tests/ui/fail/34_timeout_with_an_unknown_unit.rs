use poet::poet;

#[poet(timeout = "3weeks")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
