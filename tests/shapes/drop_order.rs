//! Everything is dropped when, and in the order in which, the plain function drops it: after the body, after a cancelled
//! body, and when the future was never polled (dtolnay/async-trait#199, rust-lang/rust#54716).

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

thread_local! {
    static LOG: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

fn note(what: &'static str) {
    LOG.with_borrow_mut(|log| log.push(what));
}

fn taken() -> Vec<&'static str> {
    LOG.take()
}

/// Says when it is dropped.
#[derive(Debug)]
struct Noisy(&'static str);

impl Drop for Noisy {
    fn drop(&mut self) {
        note(self.0);
    }
}

impl Clone for Noisy {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

struct Both {
    first: Noisy,
    second: Noisy,
}

fn both() -> Both {
    Both { first: Noisy("self.first"), second: Noisy("self.second") }
}

/// Every function twice: `plain`, and `annotated` with the attribute.
macro_rules! twins {
    ($($item:item)*) => {
        mod plain {
            use super::*;
            $($item)*
        }
        mod annotated {
            use super::*;
            $(
                #[poet::poet]
                $item
            )*
        }
    };
}

/// The same for methods, as one trait each.
macro_rules! twin_methods {
    ($($item:item)*) => {
        mod plain_methods {
            use super::*;
            impl Plain for Both {
                $($item)*
            }
        }
        mod annotated_methods {
            use super::*;
            impl Annotated for Both {
                $(
                    #[poet::poet]
                    $item
                )*
            }
        }
    };
}

twins! {
    pub(super) async fn by_name(first: Noisy, second: Noisy) {
        let _local = Noisy("local");
        tokio::task::yield_now().await;
        note("body");
        drop(first);
        let _ = &second;
    }

    pub(super) async fn unused(_first: Noisy, _: Noisy, _third: Noisy) {
        tokio::task::yield_now().await;
        note("body");
    }

    pub(super) async fn taken_apart((_a, _): (Noisy, Noisy), Both { first: _first, .. }: Both, [_x, .., _y]: [Noisy; 3]) {
        tokio::task::yield_now().await;
        note("body");
    }

    pub(super) async fn partly_moved((a, _b): (Noisy, Noisy), mut c: Noisy) {
        c.0 = "c, changed";
        drop(a);
        tokio::task::yield_now().await;
        note("body");
    }

    pub(super) async fn by_a_reference_inside((ref _a, ref mut b): (Noisy, Noisy), _c: Noisy) -> &'static str {
        b.0 = "b, changed";
        tokio::task::yield_now().await;
        b.0
    }

    pub(super) async fn early(first: Noisy, leave: bool, _second: Noisy) -> Result<Noisy, Noisy> {
        tokio::task::yield_now().await;
        if leave {
            return Err(Noisy("error"));
        }
        note("body");
        Ok(first)
    }

    pub(super) fn blocking(_first: Noisy, (_a, _): (Noisy, Noisy), _: Noisy, last: Noisy) -> Noisy {
        let _local = Noisy("local");
        note("body");
        last
    }
}

trait Plain {
    async fn one_field(self, other: Noisy);
    async fn read_field(self, other: Noisy);
    async fn no_field(self, _: Noisy);
    fn blocking_field(self, other: Noisy) -> Noisy;
}

trait Annotated {
    async fn one_field(self, other: Noisy);
    async fn read_field(self, other: Noisy);
    async fn no_field(self, _: Noisy);
    fn blocking_field(self, other: Noisy) -> Noisy;
}

twin_methods! {
    async fn one_field(self, _other: Noisy) {
        let _taken = self.second;
        tokio::task::yield_now().await;
        note("body");
    }

    async fn read_field(self, _other: Noisy) {
        let second = &self.second;
        tokio::task::yield_now().await;
        note(if second.0.is_empty() { "nothing" } else { "body" });
    }

    async fn no_field(self, _: Noisy) {
        tokio::task::yield_now().await;
        note("body");
    }

    fn blocking_field(self, _other: Noisy) -> Noisy {
        note("body");
        self.first
    }
}

/// What is dropped by a future that is polled until it is done, polled once, and never polled.
fn logs<F: Future>(make: impl Fn() -> F) -> [Vec<&'static str>; 3] {
    [usize::MAX, 1, 0].map(|polls| {
        drop(taken());
        {
            let mut future = pin!(make());
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if future.as_mut().poll(&mut context).is_ready() {
                    note("done");
                    break;
                }
                note("pending");
            }
        }
        taken()
    })
}

/// Compares both twins, and sees that there was something to compare.
macro_rules! same {
    ($call:expr, $twin:expr) => {
        let (plain, annotated) = (logs(|| $call), logs(|| $twin));
        assert_eq!(plain, annotated, stringify!($call));
        assert!(plain.iter().all(|log| !log.is_empty()));
        assert!(plain[0].contains(&"done") && plain[1].contains(&"pending"));
    };
}

const N: fn(&'static str) -> Noisy = Noisy;

#[tokio::test]
async fn arguments_by_name_are_dropped_as_without_the_attribute() {
    crate::keep_nothing();
    same!(plain::by_name(N("first"), N("second")), annotated::by_name(N("first"), N("second")));
    same!(plain::unused(N("1"), N("2"), N("3")), annotated::unused(N("1"), N("2"), N("3")));
}

#[tokio::test]
async fn arguments_taken_apart_are_dropped_as_without_the_attribute() {
    crate::keep_nothing();
    same!(
        plain::taken_apart((N("a"), N("b")), both(), [N("x"), N("y"), N("z")]),
        annotated::taken_apart((N("a"), N("b")), both(), [N("x"), N("y"), N("z")])
    );
    same!(plain::partly_moved((N("a"), N("b")), N("c")), annotated::partly_moved((N("a"), N("b")), N("c")));
    same!(
        plain::by_a_reference_inside((N("a"), N("b")), N("c")),
        annotated::by_a_reference_inside((N("a"), N("b")), N("c"))
    );
}

#[tokio::test]
async fn an_early_way_out_drops_as_without_the_attribute() {
    crate::keep_nothing();
    for leave in [true, false] {
        same!(plain::early(N("first"), leave, N("second")), annotated::early(N("first"), leave, N("second")));
    }
}

#[tokio::test]
async fn an_owned_self_is_dropped_as_without_the_attribute() {
    crate::keep_nothing();
    same!(Plain::one_field(both(), N("other")), Annotated::one_field(both(), N("other")));
    same!(Plain::read_field(both(), N("other")), Annotated::read_field(both(), N("other")));
    same!(Plain::no_field(both(), N("other")), Annotated::no_field(both(), N("other")));
}

#[test]
fn a_blocking_function_drops_as_without_the_attribute() {
    crate::keep_nothing();
    drop(plain::blocking(N("first"), (N("a"), N("b")), N("_"), N("last")));
    let expected = taken();
    drop(annotated::blocking(N("first"), (N("a"), N("b")), N("_"), N("last")));
    assert_eq!(expected, taken());
    drop(Plain::blocking_field(both(), N("other")));
    let expected = taken();
    drop(Annotated::blocking_field(both(), N("other")));
    assert_eq!(expected, taken());
    assert!(expected.len() > 3);
}

#[poet::poet(idempotent)]
async fn again((_a, _): (Noisy, Noisy), _b: Noisy) -> Result<(), poet::Error> {
    tokio::task::yield_now().await;
    note("body");
    Ok(())
}

/// The arguments are cloned for an attempt that may not be the last one, so only the first drop of each can be compared.
#[tokio::test]
async fn no_argument_of_a_repeatable_attempt_is_dropped_before_its_body() {
    crate::keep_nothing();
    drop(taken());
    again((N("a"), N("b")), N("c")).await.unwrap();
    let log = taken();
    assert_eq!(log.first(), Some(&"body"), "{log:?}");
    assert!(["a", "b", "c"].iter().all(|name| log.contains(name)), "{log:?}");
}
