use poet::poet;

trait Fetch {
    #[poet]
    async fn fetch(&self) -> u8;
}

fn main() {}
