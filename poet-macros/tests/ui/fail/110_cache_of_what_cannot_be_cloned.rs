use poet::poet;

struct Token(u32);

#[poet(cache)]
async fn fetch(id: u32) -> Result<Token, poet::Error> {
    Ok(Token(id))
}

fn main() {}
