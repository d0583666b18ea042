/// Fetches a document.
#[poet]
#[must_use]
pub async fn fetch(path: &str, mut page: Page, (from, _): (u32, u32), _: Token) -> Result<Doc, Error> {
    the_body(path, page, from).await
}
