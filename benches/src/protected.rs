//! The function that every case protects: one that costs next to nothing, so that what is measured is the protection.

use std::fmt;
use std::future::poll_fn;
use std::hint::black_box;
use std::task::Poll;

/// The failure the function never has. It owns nothing, so that dropping an answer costs nothing, and has the layout of
/// ordinary errors, which hold a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed(&'static str);

impl Failed {
    /// The attempt took too long.
    pub const TIMEOUT: Self = Self("timed out");
    /// The circuit was open.
    pub const OPEN: Self = Self("circuit open");
    /// Anything else.
    pub const OTHER: Self = Self("failed");
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failed {}

impl From<poet::Error> for Failed {
    fn from(_: poet::Error) -> Self {
        Self::OTHER
    }
}

/// Whether the function is ready at once, or after one turn of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Ready when first polled.
    AtOnce,
    /// Pending once; wakes itself.
    PendingOnce,
}

#[inline(never)]
fn add(a: u64, b: u64) -> u64 {
    black_box(a).wrapping_add(b)
}

/// Ready when first polled.
///
/// # Errors
///
/// Never; the type is there because protection needs one.
pub async fn ready(n: u64) -> Result<u64, Failed> {
    Ok(add(n, 1))
}

/// Pending once.
///
/// # Errors
///
/// Never; the type is there because protection needs one.
pub async fn pending_once(n: u64) -> Result<u64, Failed> {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    Ok(add(n, 1))
}
