use poet::poet;

#[poet(enforce = "required")]
async fn fetch() -> Option<u8> {
    None
}

fn main() {}
