use poet::poet;

struct Token(u32);

#[poet(batch = fetch_all, idempotent)]
async fn fetch(token: Token) -> Result<u32, poet::Error> {
    Ok(token.0)
}

async fn fetch_all(tokens: Vec<Token>) -> Result<Vec<u32>, poet::Error> {
    Ok(tokens.iter().map(|token| token.0).collect())
}

fn main() {}
