//! Parameters of every kind, bounds and lifetimes need no rewriting, because the body stays inside the function.

use crate::Answer;
use poet::poet;
use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

#[poet]
async fn types<S, T: Debug>(one: S, two: T) -> String
where
    S: Display,
{
    format!("{one}{two:?}")
}

#[poet(idempotent)]
async fn cloned<T: Clone + Default>(one: T, _: PhantomData<T>) -> Answer<(T, T)> {
    Ok((one, T::default()))
}

#[poet]
async fn constants<const N: usize, T: Copy>(all: [T; N]) -> (T, [u8; N]) {
    (all[0], [0; N])
}

#[poet]
async fn elided(text: &str) -> &str {
    &text[1..]
}

#[poet]
async fn named<'a, 'b: 'a>(one: &'a str, two: &'b str) -> &'a str {
    if one.is_empty() { two } else { one }
}

#[poet(idempotent)]
async fn borrowed_again<'a>(text: &'a str, all: &'a [u8]) -> Answer<(Cow<'a, str>, &'a [u8])> {
    Ok((Cow::Borrowed(text), all))
}

#[poet]
async fn higher_ranked<F>(call: F) -> usize
where
    F: for<'a> Fn(&'a str) -> &'a str,
{
    call("abc").len()
}

#[poet]
async fn of_another_future<F>(work: F) -> F::Output
where
    F: Future,
    F::Output: Default,
{
    work.await
}

#[poet]
async fn of_a_future_of_a_future<F>(work: F) -> <F::Output as Future>::Output
where
    F: Future,
    F::Output: Future,
{
    work.await.await
}

#[poet]
async fn made_and_awaited<P, F, Fut, T>(pool: &P, work: F) -> T
where
    F: FnOnce(&P) -> Fut,
    Fut: Future<Output = T>,
{
    work(pool).await
}

#[poet]
async fn error_of_the_caller<E: From<poet::Error>>(fail: Option<E>) -> Result<u8, E> {
    fail.map_or(Ok(1), Err)
}

struct Holder<'a, T>(&'a T);

impl<'a, T: Display + 'a> Holder<'a, T> {
    #[poet]
    async fn show<U: Display>(&self, other: U) -> String {
        format!("{}{other}", self.0)
    }

    #[poet]
    async fn inner(&self) -> &'a T {
        self.0
    }
}

#[poet]
fn blocking<T, const N: usize>(all: [T; N]) -> usize
where
    T: Sized,
{
    drop(all);
    N
}

#[tokio::test]
async fn generic_functions_work() -> Answer<()> {
    crate::keep_nothing();
    assert_eq!(types("a", 'b').await, "a'b'");
    assert_eq!(cloned(3, PhantomData).await?, (3, 0));
    assert_eq!(constants([1, 2]).await, (1, [0, 0]));
    assert_eq!(elided("abc").await, "bc");
    assert_eq!(named("", "two").await, "two");
    assert_eq!(borrowed_again("x", &[1]).await?, (Cow::Borrowed("x"), &[1][..]));
    assert_eq!(higher_ranked(|text| &text[1..]).await, 2);
    assert_eq!(of_another_future(async { 5 }).await, 5);
    assert_eq!(of_a_future_of_a_future(std::future::ready(std::future::ready(5))).await, 5);
    assert_eq!(made_and_awaited(&7, |seven| std::future::ready(*seven)).await, 7);
    assert_eq!(error_of_the_caller::<String>(None).await, Ok(1));
    assert_eq!(Holder(&"a").show(1).await, "a1");
    assert_eq!(*Holder(&"a").inner().await, "a");
    assert_eq!(blocking(["", ""]), 2);
    Ok(())
}
