#[poet]
async fn list(all: &[u8]) -> Result<impl Iterator<Item = u8>, Error> {
    the_body(all)
}
