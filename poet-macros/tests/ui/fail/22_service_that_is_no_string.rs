use poet::poet;

#[poet(service = crm)]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
