use poet::poet;

type Later<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;

fn later() -> Later<u8> {
    Box::pin(std::future::ready(1))
}

#[poet]
fn fetch() -> Later<u8> {
    later()
}

fn main() {}
