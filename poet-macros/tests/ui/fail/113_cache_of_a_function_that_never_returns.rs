use poet::poet;

#[poet(cache)]
async fn fetch(id: u32) -> ! {
    panic!("{id}")
}

fn main() {}
