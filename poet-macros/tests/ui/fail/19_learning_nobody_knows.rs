use poet::poet;

#[poet(learning = "of")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
