use poet::poet;

fn check(_: &u8) -> Result<(), String> {
    Ok(())
}

#[poet(validate = check)]
async fn fetch() -> u8 {
    1
}

fn main() {}
