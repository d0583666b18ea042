use poet::poet;

#[poet(enforce = "required")]
async fn fetch() -> ! {
    std::future::pending().await
}

fn main() {}
