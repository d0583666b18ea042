use poet::poet;

struct Connection;

#[poet(idempotent)]
async fn fetch(id: u8, connection: Connection) -> Result<u8, poet::Error> {
    drop(connection);
    Ok(id)
}

fn main() {}
