use poet::poet;

struct Service;

impl Service {
    #[poet(fallback = Self::spare)]
    async fn fetch(&mut self) -> Result<u8, poet::Error> {
        Ok(1)
    }
}

fn main() {}
