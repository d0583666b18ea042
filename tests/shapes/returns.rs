//! What a function may return: aliases, what cannot be named, what never comes.

use crate::Answer;
use poet::poet;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt::{self, Display};
use std::future::{Ready, ready};
use std::io;
use std::num::TryFromIntError;

type Alias<T> = Result<T, Box<dyn StdError + Send + Sync>>;

#[poet]
async fn through_an_alias(fail: bool) -> Alias<u8> {
    if fail {
        return Err("asked to".into());
    }
    Ok(u8::try_from(3)?)
}

#[poet]
async fn through_anyhow() -> anyhow::Result<u8> {
    Ok(u8::from_str_radix("ff", 16)?)
}

#[poet]
async fn through_io(fail: bool) -> io::Result<u8> {
    if fail { Err(io::ErrorKind::NotFound.into()) } else { Ok(1) }
}

#[poet]
async fn early(polls: u32) -> Result<u8, TryFromIntError> {
    for _ in 0..polls {
        tokio::task::yield_now().await;
    }
    let small = u8::try_from(polls)?;
    Ok(small)
}

#[poet]
async fn written_unit() -> () {}

#[poet]
async fn coerced() -> Box<dyn Iterator<Item = u8>> {
    Box::new(std::iter::once(1))
}

#[poet]
async fn coerced_by_return() -> &'static dyn Display {
    return &1;
}

#[poet]
async fn opaque(all: &[u8]) -> impl Iterator<Item = u8> {
    all.iter().copied()
}

#[poet]
async fn partly_opaque(n: i32) -> Result<impl Iterator<Item = i32>, ()> {
    Ok((0..10).filter(move |x| *x < n))
}

#[poet]
async fn deeply_opaque() -> Option<(impl Display, Box<impl Display>)> {
    Some((1, Box::new("x")))
}

#[poet]
async fn closure() -> impl Fn(u8) -> u8 {
    |x| x + 1
}

#[poet]
async fn closure_in_a_box(add: u8) -> Box<dyn Fn(u8) -> u8 + Send> {
    Box::new(move |x| x + add)
}

#[poet]
async fn a_future() -> Ready<u8> {
    ready(1)
}

#[poet]
async fn never() -> ! {
    std::future::pending().await
}

#[poet]
async fn never_in_a_loop() -> ! {
    loop {
        tokio::task::yield_now().await;
    }
}

#[poet]
async fn never_fails() -> Result<u8, Infallible> {
    Ok(1)
}

#[poet]
fn never_returns() -> ! {
    panic!("as agreed")
}

#[poet]
fn opaque_and_blocking(all: &[u8]) -> impl Iterator<Item = u8> {
    all.iter().copied()
}

#[poet]
async fn not_done_yet(done: bool) -> Answer<u8> {
    if !done {
        panic!("not implemented")
    }
    Ok(1)
}

#[poet]
#[must_use]
async fn array_of_text() -> [&'static str; 2] {
    ["a", "b"]
}

#[poet]
async fn recursive(n: u32) -> u32 {
    if n == 0 { 0 } else { Box::pin(recursive(n - 1)).await + 1 }
}

#[poet(idempotent)]
async fn recursive_again(n: u32) -> Answer<u32> {
    Ok(if n == 0 { 0 } else { Box::pin(recursive_again(n - 1)).await? + 1 })
}

#[poet]
fn recursive_and_blocking(n: u32) -> u32 {
    if n == 0 { 0 } else { recursive_and_blocking(n - 1) + 1 }
}

struct Opaque;

impl Display for Opaque {
    #[poet]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opaque")
    }
}

#[tokio::test]
async fn results_come_back_whatever_their_type() {
    crate::keep_nothing();
    assert_eq!(through_an_alias(false).await.unwrap(), 3);
    assert_eq!(through_an_alias(true).await.unwrap_err().to_string(), "asked to");
    assert_eq!(through_anyhow().await.unwrap(), 255);
    assert_eq!(through_io(false).await.unwrap(), 1);
    assert_eq!(through_io(true).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(early(2).await, Ok(2));
    assert!(early(300).await.is_err());
    written_unit().await;
    assert_eq!(coerced().await.sum::<u8>(), 1);
    assert_eq!(coerced_by_return().await.to_string(), "1");
    assert_eq!(opaque(&[1, 2]).await.sum::<u8>(), 3);
    assert_eq!(partly_opaque(3).await.unwrap().sum::<i32>(), 3);
    assert_eq!(deeply_opaque().await.unwrap().1.to_string(), "x");
    assert_eq!(closure().await(1), 2);
    assert_eq!(closure_in_a_box(2).await(1), 3);
    assert_eq!(a_future().await.await, 1);
    assert_eq!(never_fails().await, Ok(1));
    assert_eq!(opaque_and_blocking(&[1, 2]).sum::<u8>(), 3);
    assert_eq!(not_done_yet(true).await.unwrap(), 1);
    assert_eq!(array_of_text().await, ["a", "b"]);
    assert_eq!(recursive(5).await, 5);
    assert_eq!(recursive_again(5).await.unwrap(), 5);
    assert_eq!(recursive_and_blocking(5), 5);
    assert_eq!(Opaque.to_string(), "opaque");
}

#[tokio::test]
async fn what_never_comes_can_still_be_given_up() {
    crate::keep_nothing();
    tokio::select! {
        biased;
        () = ready(()) => {}
        _ = never() => {}
        _ = never_in_a_loop() => {}
    }
}

#[test]
#[should_panic(expected = "as agreed")]
fn a_panic_passes_through() {
    crate::keep_nothing();
    never_returns()
}

#[tokio::test]
#[should_panic(expected = "not implemented")]
async fn a_panic_passes_through_an_async_function() {
    crate::keep_nothing();
    drop(not_done_yet(false).await);
}
