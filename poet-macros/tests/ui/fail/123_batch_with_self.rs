use poet::poet;

struct Client {
    tenant: u32,
}

impl Client {
    #[poet(batch = fetch_all)]
    async fn fetch(&self, id: u32) -> Result<u32, poet::Error> {
        Ok(self.tenant + id)
    }
}

async fn fetch_all(ids: Vec<u32>) -> Result<Vec<u32>, poet::Error> {
    Ok(ids)
}

fn main() {}
