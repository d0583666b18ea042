use poet::poet;

#[poet]
async fn fetch() -> u8 {
    1;
}

fn main() {}
