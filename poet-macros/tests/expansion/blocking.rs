#[poet]
fn fetch(path: &str) -> io::Result<Doc> {
    the_body(path)
}
