use poet::poet;

struct Client {
    tenant: u32,
}

impl Client {
    #[poet(cache)]
    async fn fetch(&self, id: u32) -> Result<u32, poet::Error> {
        Ok(self.tenant + id)
    }
}

fn main() {}
