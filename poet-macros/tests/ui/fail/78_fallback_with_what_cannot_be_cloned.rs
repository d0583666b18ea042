use poet::poet;

struct Connection;

async fn spare(_: Connection) -> Result<u8, poet::Error> {
    Ok(0)
}

#[poet(fallback = spare)]
async fn fetch(connection: Connection) -> Result<u8, poet::Error> {
    drop(connection);
    Ok(1)
}

fn main() {}
