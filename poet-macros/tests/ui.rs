//! What the compiler says about uses and misuses of `#[poet]`; see `tests/ui/README.md`.

#[test]
fn every_misuse_is_reported_at_the_token_to_change() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
}

#[test]
fn what_should_compile_compiles() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
}
