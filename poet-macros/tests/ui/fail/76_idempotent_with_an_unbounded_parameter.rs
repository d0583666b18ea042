use poet::poet;

#[poet(idempotent)]
async fn fetch<T>(id: T) -> Result<T, poet::Error> {
    Ok(id)
}

fn main() {}
