use poet::poet;

struct Service;

#[poet]
impl Service {
    fn fetch() {}
}

fn main() {}
