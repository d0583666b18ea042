//! Functions without `async` that return a future at their end: the future is measured, not its making.

use crate::{Answer, assert_send};
use poet::poet;
use std::future::Future;
use std::pin::Pin;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// As in `futures`.
type BoxFuture<'a, T> = Boxed<'a, T>;

#[poet]
fn boxed(id: u8) -> Pin<Box<dyn Future<Output = Answer<u8>>>> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        Ok(id)
    })
}

#[poet]
fn boxed_with_a_name(text: &str) -> BoxFuture<'_, usize> {
    Box::pin(async move { text.len() })
}

#[poet]
#[expect(clippy::manual_async_fn, reason = "the other way to write it")]
fn a_block(id: u8) -> impl Future<Output = Answer<u8>> {
    async move { Ok(id) }
}

#[poet]
#[expect(clippy::manual_async_fn, reason = "the other way to write it")]
fn a_block_that_borrows() -> impl Future<Output = Answer<u8>> {
    async { Ok(1) }
}

#[poet]
fn after_statements(text: &str) -> impl Future<Output = usize> + Send + use<> {
    let length = text.len();
    async move { length }
}

#[poet]
fn by_return(id: u8) -> Pin<Box<dyn Future<Output = u8>>> {
    #[expect(clippy::needless_return, reason = "another way to write it")]
    return Box::pin(async move { id });
}

#[poet]
fn in_two_steps(id: u8) -> Pin<Box<dyn Future<Output = u8>>> {
    Pin::from(Box::new(async move { id }))
}

#[poet(idempotent, fallback = spare)]
fn again(text: &str, mut list: Vec<u8>) -> Pin<Box<dyn Future<Output = Answer<usize>> + Send + '_>> {
    Box::pin(async move {
        list.push(1);
        Ok(text.len() + list.len())
    })
}

fn spare(_: &str, list: Vec<u8>) -> Pin<Box<dyn Future<Output = Answer<usize>> + Send + '_>> {
    Box::pin(async move { Ok(list.len()) })
}

#[poet]
fn nothing() -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {})
}

#[tokio::test]
async fn futures_made_by_hand_work() -> Answer<()> {
    crate::keep_nothing();
    assert_eq!(boxed(1).await?, 1);
    assert_eq!(assert_send(boxed_with_a_name("two")).await, 3);
    assert_eq!(a_block(3).await?, 3);
    assert_eq!(a_block_that_borrows().await?, 1);
    assert_eq!(assert_send(after_statements("four")).await, 4);
    assert_eq!(by_return(5).await, 5);
    assert_eq!(in_two_steps(6).await, 6);
    assert_eq!(assert_send(again("seven", vec![1])).await?, 7);
    assert_eq!(spare("seven", vec![]).await?, 0);
    nothing().await;
    Ok(())
}
