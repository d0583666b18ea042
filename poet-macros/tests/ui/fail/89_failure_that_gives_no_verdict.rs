use poet::poet;

fn look(_: &Result<u8, poet::Error>) -> u8 {
    1
}

#[poet(failure = look)]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
