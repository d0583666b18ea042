use poet::poet;

#[poet(enforce = "required")]
async fn fetch() -> Result<u8, std::fmt::Error> {
    Ok(1)
}

fn main() {}
