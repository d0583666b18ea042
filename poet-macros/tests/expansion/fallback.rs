#[poet(fallback = Self::spare)]
async fn fetch(&self, path: String) -> Result<Doc, Error> {
    the_body(path).await
}
