use poet::poet;

#[poet(time_out = "2s")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
