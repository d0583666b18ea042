use poet::poet;

#[poet(learning = "review")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
