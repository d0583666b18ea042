use poet::poet;
use std::sync::Arc;

struct Service;

impl Service {
    #[poet(idempotent)]
    async fn fetch(self: Arc<Self>) -> Result<u8, poet::Error> {
        Ok(1)
    }
}

fn main() {}
