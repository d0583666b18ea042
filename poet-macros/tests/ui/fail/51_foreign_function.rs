use poet::poet;

#[poet]
extern "C" fn fetch() -> u8 {
    1
}

fn main() {}
