#[poet]
async fn save(mut self, doc: Doc) -> Result<Id, Error> {
    the_body(self.store, doc).await
}
