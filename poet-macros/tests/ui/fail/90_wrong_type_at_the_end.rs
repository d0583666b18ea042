use poet::poet;

#[poet]
async fn fetch() -> Result<u8, String> {
    Ok("one")
}

fn main() {}
