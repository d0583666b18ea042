#[poet(cache = "5m", key(self.tenant, page.number + 1))]
fn fetch(&self, page: &Page) -> Result<Doc, Error> {
    self.the_body(page)
}
