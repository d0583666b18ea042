#[poet(idempotent)]
async fn fetch<T: Clone>(&self, path: &str, (from, to): (T, T)) -> Result<Doc, Error>
where
    T: Display,
{
    the_body(path, from, to).await
}
