#[poet(cache)]
async fn fetch() -> Result<Doc, Error> {
    the_body().await
}
