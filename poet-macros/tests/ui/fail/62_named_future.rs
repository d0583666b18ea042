use poet::poet;

struct FetchFuture;

#[poet]
fn fetch() -> FetchFuture {
    FetchFuture
}

fn main() {}
