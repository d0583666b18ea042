//! Every shape of function that `#[poet]` accepts compiles without a warning and behaves as it does without the
//! attribute: result, drop order, `Send`, lints.
//!
//! The shapes are those of the test suites of `async-trait` and `tracing-attributes`, written anew, and those our own
//! expansion could break. A case that guards a known mistake of another macro names it.

#![deny(warnings)]

mod arguments;
mod async_trait_methods;
mod attempts;
mod batched;
mod blocking;
mod cached;
mod drop_order;
mod futures_by_hand;
mod generics;
mod hygiene;
mod keys;
mod methods;
mod native_traits;
mod returns;
mod sendness;
mod size;

use poet::{Error, Runtime};
use std::sync::Once;

/// Whether a value can cross threads, asked of the compiler.
fn assert_send<T: Send>(value: T) -> T {
    value
}

/// The answer of a call, its failures being errors of the framework.
type Answer<T> = Result<T, Error>;

/// The runtime of these tests keeps nothing on disk.
fn keep_nothing() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        Runtime::builder().in_memory().build().and_then(Runtime::install).expect("nothing is installed yet");
    });
}
