use poet::poet;

#[poet(idempotent)]
async fn fetch(buffer: &mut Vec<u8>) -> Result<(), poet::Error> {
    buffer.clear();
    Ok(())
}

fn main() {}
