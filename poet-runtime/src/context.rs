//! What a function hands to the calls inside it: deadline, priority, learning mode, retry budget, warnings; and what it
//! knows of them afterwards.
//!
//! The context lies in the driver of the function's call and is swapped into a thread-local for the length of each
//! poll, so that it follows the task from thread to thread, costs no allocation, and is gone with the call. A task
//! spawned inside the function is not inside the call and inherits nothing.

mod called;

pub(crate) use called::Called;

use crate::outcome::TargetId;
use crate::site::{Declaration, Learning, Priority};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::time::Instant;

/// What one execution of a function hands down.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) deadline: Instant,
    pub(crate) priority: Priority,
    pub(crate) learning: Learning,
    /// Whether the author said that the calls inside may be put off.
    pub(crate) deferrable: bool,
    /// Retries that this execution and the calls inside it may still make; `u8::MAX` where nothing limits them.
    pub(crate) retries_left: u8,
    /// Retries that were made.
    pub(crate) retries_made: u8,
    /// Whether a call inside failed for good, and so has told its own circuit already.
    pub(crate) failed_inside: bool,
    /// What was called inside, and how that ended.
    pub(crate) called: Called,
    pub(crate) warnings: Vec<String>,
    /// Which execution it is; `None` for a task that works for calls of others.
    pub(crate) around: Option<Around>,
}

/// One execution of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    pub(crate) site: &'static Declaration,
    pub(crate) execution: u64,
    /// The number of its runtime, in which the numbers of targets mean something.
    pub(crate) runtime: u32,
}

impl Context {
    /// Takes retries that were made from those that are left.
    pub(crate) fn charge(&mut self, retries: u8) {
        if self.retries_left != u8::MAX {
            self.retries_left = self.retries_left.saturating_sub(retries);
        }
        self.retries_made = self.retries_made.saturating_add(retries);
    }
}

/// Different warnings of one execution; a function may run for ever.
const MAX_WARNINGS: usize = 100;

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

thread_local! {
    /// Signs of life that attempts polled on this thread have given. It only rises: whoever polls an attempt compares.
    static SIGNS: Cell<u64> = const { Cell::new(0) };
}

/// How many signs of life were given on this thread: as many more after polling an attempt, it is alive.
pub(crate) fn signs() -> u64 {
    SIGNS.get()
}

/// Says that the attempt this is called in is getting on, so that it is waited for anew.
///
/// For an attempt that takes long and shows that it advances: a download that gets another part, a service that reports
/// progress. The limit of an attempt (`timeout`) then counts from here; the deadline of the call stays what it is. Call
/// it only for what truly advances, from within the attempt itself: in the body of an annotated function, or in the
/// future that a client gave the runtime. It costs a nanosecond, and anywhere else it does nothing.
///
/// What is alive inside a function keeps the attempt of that function alive too.
///
/// # Examples
///
/// ```
/// # #[derive(Default)] struct Download(u8);
/// # impl Download { async fn next(&mut self) -> Option<Vec<u8>> { self.0 += 1; (self.0 < 3).then(Vec::new) } }
/// async fn read(mut download: Download) -> usize {
///     let mut parts = 0;
///     while let Some(part) = download.next().await {
///         poet_runtime::progress();
///         parts += 1;
///     }
///     parts
/// }
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// assert_eq!(runtime.block_on(read(Download::default())), 2);
/// ```
pub fn progress() {
    SIGNS.set(SIGNS.get().wrapping_add(1));
}

/// Makes the context in `slot` the current one while `f` runs, and puts it back whatever happens.
#[inline]
pub(crate) fn enter<R>(slot: &mut Option<Context>, f: impl FnOnce() -> R) -> R {
    struct Restore<'a>(&'a mut Option<Context>);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            CURRENT.with(|current| mem::swap(&mut *current.borrow_mut(), self.0));
        }
    }
    CURRENT.with(|current| mem::swap(&mut *current.borrow_mut(), slot));
    let _restore = Restore(slot);
    f()
}

/// Runs a future inside a context: for a task that works for calls of others.
pub(crate) async fn inside<F: Future>(context: Context, future: F) -> F::Output {
    let mut slot = Some(context);
    let mut future = pin!(future);
    poll_fn(|cx| enter(&mut slot, || future.as_mut().poll(cx))).await
}

/// Looks at the context of the function around this call, if there is one.
pub(crate) fn surrounding<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    CURRENT.with(|current| f(current.borrow().as_ref()))
}

/// Tells the function around this call what happened inside a call of it.
pub(crate) fn tell_surrounding(retries: u8, failed: bool, warnings: Vec<String>) {
    CURRENT.with(|current| {
        let mut outer = current.borrow_mut();
        let Some(outer) = outer.as_mut() else { return };
        outer.charge(retries);
        outer.failed_inside |= failed;
        for warning in warnings {
            if outer.warnings.len() < MAX_WARNINGS && !outer.warnings.contains(&warning) {
                outer.warnings.push(warning);
            }
        }
    });
}

/// Tells the function around a call that it begins, so that it is known if it never ends.
pub(crate) fn tell_begun(runtime: u32, target: TargetId) {
    tell_of_call(runtime, |called| called.begin(target));
}

/// Tells the function around a call how that ended: whether what the function got of it is an error. What the call
/// itself called is its own.
pub(crate) fn tell_ended(runtime: u32, target: TargetId, failed: bool) {
    tell_of_call(runtime, |called| called.end(target, failed));
}

/// Tells the function around a call that it was dropped. Where the limit of the function drops it, the function around
/// that one is told, and knows of no such call.
pub(crate) fn tell_dropped(runtime: u32, target: TargetId) {
    tell_of_call(runtime, |called| called.drop_one(target));
}

/// A call of a service, of which the function around it is told that it began and how it ended, or that it was dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    runtime: u32,
    target: TargetId,
    ended: bool,
}

impl UnderWay {
    pub(crate) fn begin(runtime: u32, target: TargetId) -> Self {
        tell_begun(runtime, target);
        Self { runtime, target, ended: false }
    }

    pub(crate) fn end(mut self, failed: bool) {
        self.ended = true;
        tell_ended(self.runtime, self.target, failed);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.ended {
            tell_dropped(self.runtime, self.target);
        }
    }
}

fn tell_of_call(runtime: u32, note: impl FnOnce(&mut Called)) {
    // A thread that ends may drop a call when its context is gone already.
    let _ = CURRENT.try_with(|current| {
        if let Some(Context { called, around: Some(around), .. }) = current.borrow_mut().as_mut()
            && around.runtime == runtime
        {
            note(called);
        }
    });
}

/// Tells the function around a part of it what was called there.
pub(crate) fn tell_called(part: &Called) {
    CURRENT.with(|current| {
        if let Some(outer) = current.borrow_mut().as_mut() {
            outer.called.add(part);
        }
    });
}

/// The warnings of the annotated function this is called in: what went otherwise than asked, though not wrong.
///
/// Each is a short fixed text such as `salesforce_crm_update_contact_retried`, told once, up to 100 of them. Empty
/// outside an annotated function.
///
/// # Examples
///
/// ```
/// assert!(poet_runtime::warnings().is_empty());
/// ```
#[must_use]
pub fn warnings() -> Vec<String> {
    surrounding(|current| current.map(|context| context.warnings.clone()).unwrap_or_default())
}

/// What `priority = …` may be: a [`Priority`], or a reference to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Priority`",
    label = "write \"low\", \"normal\", \"high\", \"critical\", or an expression that yields a `Priority`"
)]
pub trait AsPriority {
    /// The priority meant.
    fn as_priority(&self) -> Priority;
}

impl AsPriority for Priority {
    fn as_priority(&self) -> Priority {
        *self
    }
}

impl<P: AsPriority + ?Sized> AsPriority for &P {
    fn as_priority(&self) -> Priority {
        (**self).as_priority()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            deadline: Instant::now(),
            priority: Priority::Normal,
            learning: Learning::On,
            deferrable: false,
            retries_left: 6,
            retries_made: 0,
            failed_inside: false,
            called: Called::default(),
            warnings: Vec::new(),
            around: None,
        }
    }

    #[test]
    fn what_a_call_inside_did_is_known_to_the_function_around_it() {
        let mut outer = Some(context());
        enter(&mut outer, || {
            let mut inner = Some(context());
            enter(&mut inner, || tell_surrounding(0, false, vec!["inner".into()]));
            assert!(warnings().is_empty(), "the inner function's warnings are its own");
            tell_surrounding(2, true, inner.unwrap().warnings);
            assert_eq!(warnings(), ["inner"]);
        });
        let outer = outer.unwrap();
        assert_eq!((outer.retries_left, outer.failed_inside), (4, true));
    }

    #[test]
    fn how_a_call_ended_is_known_to_the_function_around_it_if_both_are_of_one_runtime() {
        let site = Box::leak(Box::new(Declaration::new("sync", "shop", "src/lib.rs", 1)));
        let around = Some(Around { site, execution: 2, runtime: 7 });
        let mut outer = Some(Context { around, ..context() });
        enter(&mut outer, || {
            tell_ended(7, TargetId(1), true);
            tell_ended(8, TargetId(1), false);
        });
        assert_eq!(outer.unwrap().called.iter().collect::<Vec<_>>(), [(TargetId(1), true)]);
        let mut nobody = Some(context());
        enter(&mut nobody, || tell_ended(0, TargetId(1), true));
        assert!(nobody.unwrap().called.is_empty(), "a task that works for others needs nothing itself");
    }

    #[test]
    fn a_panic_puts_the_context_back() {
        let mut slot = Some(context());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| enter(&mut slot, || panic!("user"))));
        assert!(caught.is_err());
        assert!(slot.is_some());
        assert!(surrounding(|current| current.is_none()));
    }
}
