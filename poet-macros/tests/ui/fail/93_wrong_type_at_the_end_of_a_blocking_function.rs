use poet::poet;

#[poet]
fn fetch() -> u8 {
    "one"
}

fn main() {}
