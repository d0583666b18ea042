#[poet]
fn list(all: &[u8]) -> impl Iterator<Item = u8> {
    the_body(all)
}
