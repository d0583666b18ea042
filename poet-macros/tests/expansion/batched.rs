#[poet(batch = bulk::fetch_all, deferrable)]
async fn fetch(mut page: Page) -> Result<Doc, Error> {
    the_body(&mut page).await
}
