use poet::poet;

#[poet]
async fn fetch(known: bool) -> Result<u8, String> {
    if known {
        return 1;
    }
    Ok(1)
}

fn main() {}
