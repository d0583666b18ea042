use poet::poet;

struct Token(u32);

#[poet(cache)]
async fn fetch(id: u32, token: Token) -> Result<u32, poet::Error> {
    Ok(id + token.0)
}

fn main() {}
