#[poet(timeout = "2s", retries = 3)]
pub fn fetch(mut id: u64) -> Result<Doc, Error> {
    the_body(id)
}
