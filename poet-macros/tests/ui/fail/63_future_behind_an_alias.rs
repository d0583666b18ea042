use poet::poet;

type Later<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;

#[poet]
fn fetch() -> Later<u8> {
    Box::pin(async move { 1 })
}

fn main() {}
