use poet::poet;

#[poet(idempotent)]
async fn fetch(#[cfg(all())] id: u8) -> Result<u8, poet::Error> {
    Ok(id)
}

fn main() {}
