use poet::poet;

#[poet]
async fn fetch(id: u8) -> u8 {
    it
}

fn main() {}
