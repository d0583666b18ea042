#[poet(idempotent)]
fn fetch(&self, mut id: u64) -> BoxFuture<'_, Result<Doc, Error>> {
    async move { the_body(self, id).await }.boxed()
}
