#[poet(cache)]
async fn fetch(path: &str, (from, to): (u32, u32), _: Page) -> Result<Doc, Error> {
    the_body(path, from, to).await
}
