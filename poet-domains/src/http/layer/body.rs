//! Decides whether a body can be sent again, and hands one out for each attempt.

use std::fmt;

/// How a body comes to be sent more than once.
///
/// Of one body the answer is always the same: a copy, or none. Without one the request is never repeated, whatever its
/// method.
#[diagnostic::on_unimplemented(
    message = "a body `{B}` cannot be sent again",
    label = "this is not `Clone`; write `.streaming()` on the layer, or `.repeat_with(|body| …)` where it can be copied",
    note = "with `.streaming()` no request is ever repeated"
)]
pub trait Repeats<B>: Clone + Send + Sync + 'static {
    /// A copy of the body; `None` if there can be none.
    fn copy(&self, body: &B) -> Option<B>;
}

/// Bodies are cloned: of `Bytes`, `String`, `Full<Bytes>`, `Empty<Bytes>`, ….
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned;

impl<B: Clone> Repeats<B> for Cloned {
    fn copy(&self, body: &B) -> Option<B> {
        Some(body.clone())
    }
}

/// Bodies are sent once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streaming;

impl<B> Repeats<B> for Streaming {
    fn copy(&self, _: &B) -> Option<B> {
        None
    }
}

/// Bodies are copied by a function of the author's.
#[derive(Clone, Copy)]
pub struct CopiedBy<F>(pub(super) F);

impl<F> fmt::Debug for CopiedBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopiedBy")
    }
}

impl<B, F: Fn(&B) -> Option<B> + Clone + Send + Sync + 'static> Repeats<B> for CopiedBy<F> {
    fn copy(&self, body: &B) -> Option<B> {
        self.0(body)
    }
}

/// The body of a call, for as many attempts as there are.
pub(super) struct Bodies<B> {
    original: Option<B>,
    /// Made to know whether there can be one, and sent first.
    copy: Option<B>,
}

impl<B> Bodies<B> {
    pub(super) fn of(body: B, repeats: &impl Repeats<B>) -> Self {
        Self { copy: repeats.copy(&body), original: Some(body) }
    }

    /// Whether it can be sent more than once. Asked before the first attempt.
    pub(super) fn repeat(&self) -> bool {
        self.copy.is_some()
    }

    /// The body for the next attempt; the last one takes the original. `None` only if it could be copied and no longer
    /// can.
    pub(super) fn next(&mut self, last: bool, repeats: &impl Repeats<B>) -> Option<B> {
        if last {
            return self.original.take();
        }
        self.copy.take().or_else(|| repeats.copy(self.original.as_ref()?))
    }
}
