#[poet(idempotent, fallback = spare)]
fn fetch(path: &str) -> Result<Doc, Error> {
    the_body(path)
}
