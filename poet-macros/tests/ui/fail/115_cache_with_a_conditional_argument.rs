use poet::poet;

#[poet(cache)]
async fn fetch(id: u32, #[cfg(unix)] flags: u32) -> Result<u32, poet::Error> {
    Ok(id + flags)
}

fn main() {}
