use poet::poet;

#[poet(idempotent)]
async fn fetch(buffer: Option<&mut Vec<u8>>) -> Result<bool, poet::Error> {
    Ok(buffer.is_some())
}

fn main() {}
