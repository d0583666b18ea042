#[poet(idempotent)]
fn fetch(a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I, j: J, k: K, l: L, m: M) -> Result<Doc, Error> {
    the_body(a, b, c, d, e, f, g, h, i, j, k, l, m)
}
