//! How much larger the attribute makes a future.
//!
//! A future that holds another by value copies it into its own state, and again at every level above: a 1 KiB body was
//! 3,384 bytes through nested `async fn`s (rust-lang/rust#62958). Pinned in the expansion it is held once, and what is
//! added is the driver's own state, whatever the size of the body.

use crate::Answer;
use poet::poet;

/// The driver's own state was 1,176 bytes when this was written; a second copy of the body would be 1,024 more.
const MOST_ADDED: usize = 1536;

/// Alignment of the states around the body.
const SLACK: usize = 16;

async fn work(buffer: &mut [u8]) {
    tokio::task::yield_now().await;
    buffer[0] += 1;
}

async fn plain<const N: usize>(id: u8) -> Answer<u8> {
    let mut buffer = [id; N];
    work(&mut buffer).await;
    Ok(buffer[0])
}

#[poet]
async fn once<const N: usize>(id: u8) -> Answer<u8> {
    let mut buffer = [id; N];
    work(&mut buffer).await;
    Ok(buffer[0])
}

#[poet(idempotent)]
async fn again<const N: usize>(id: u8) -> Answer<u8> {
    let mut buffer = [id; N];
    work(&mut buffer).await;
    Ok(buffer[0])
}

/// What the attribute adds to a body with a buffer of `N` bytes: in one attempt, and in several.
fn added<const N: usize>() -> [usize; 2] {
    let bare = size_of_val(&plain::<N>(1));
    assert!(bare > N, "the buffer is part of the future");
    [size_of_val(&once::<N>(1)) - bare, size_of_val(&again::<N>(1)) - bare]
}

#[test]
fn a_body_is_held_once() {
    let (small, large) = (added::<64>(), added::<1024>());
    for (small, large) in small.into_iter().zip(large) {
        assert!(large.abs_diff(small) <= SLACK, "{small} bytes around 64, {large} around 1,024");
        assert!(large < MOST_ADDED, "{large} bytes are added");
    }
}

#[tokio::test]
async fn the_sizes_are_those_of_futures_that_work() {
    crate::keep_nothing();
    assert_eq!(plain::<1024>(1).await.unwrap(), 2);
    assert_eq!(once::<1024>(1).await.unwrap(), 2);
    assert_eq!(again::<1024>(1).await.unwrap(), 2);
}
