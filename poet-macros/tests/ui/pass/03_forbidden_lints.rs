//! What is forbidden cannot be allowed again, not even by an expansion.

#![forbid(warnings, unused, unreachable_code, unused_qualifications, let_underscore_drop, trivial_casts)]

use poet::poet;

#[poet]
pub async fn plain((a, _): (u8, String), mut b: u8) -> Result<u8, poet::Error> {
    b += a;
    Ok(b)
}

#[poet(idempotent, fallback = spare, validate = check, failure = failed, timeout = "2s", deadline = "3s")]
pub async fn with_keys(id: &str) -> Result<usize, poet::Error> {
    Ok(id.len())
}

async fn spare(id: &str) -> Result<usize, poet::Error> {
    Ok(id.len())
}

fn check(_: &usize) -> Result<(), String> {
    Ok(())
}

fn failed(answer: &Result<usize, poet::Error>) -> bool {
    answer.is_err()
}

#[poet]
pub fn blocking(text: &str) -> Result<u8, std::num::ParseIntError> {
    text.parse()
}

#[poet]
pub fn never() -> ! {
    loop {}
}

fn main() {
    drop((plain((1, String::new()), 2), with_keys("1"), spare("1")));
    let runtime = poet::Runtime::builder().in_memory().build().unwrap();
    assert_eq!(runtime.scope_blocking(|| blocking("7")), Ok(7));
}
