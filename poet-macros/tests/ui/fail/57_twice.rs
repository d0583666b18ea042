use poet::poet;

#[poet(service = "crm")]
#[poet(service = "billing")]
async fn fetch() -> u8 {
    1
}

fn main() {}
