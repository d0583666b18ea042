use poet::poet;

#[poet]
const fn fetch() -> u8 {
    1
}

fn main() {}
