use poet::poet;

struct Page {
    number: u32,
}

#[poet(cache, key(number))]
async fn fetch(Page { number }: Page) -> Result<u32, poet::Error> {
    Ok(number)
}

fn main() {}
