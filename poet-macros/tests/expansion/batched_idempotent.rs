#[poet(batch = bulk::fetch_all, idempotent, retries = 1)]
async fn fetch(mut page: Page) -> Result<Doc, Error> {
    the_body(&mut page).await
}
