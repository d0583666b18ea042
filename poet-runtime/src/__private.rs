//! What an expansion of `#[poet]` may name, and nothing else may.
//!
//! Reading this module is reading the contract between the attribute and the runtime. The macro crate is pinned to
//! the exact version of this one.

pub use crate::classify::Classify;
pub use crate::context::AsPriority;
pub use crate::error::Error;
pub use crate::outcome::Class;
pub use crate::pipeline::bulk::{run_batched, run_batched_once};
pub use crate::pipeline::function::{
    run, run_once, run_once_or, run_or, run_sync, run_sync_once, run_sync_once_or, run_sync_or,
};
pub use crate::profile::Profile;
pub use crate::site::{CacheFor, Declaration, Learning, Priority, Site};
pub use ::core;

pub use crate::kept::{Fingerprints, Itself, Keepable, Keeps, KeptValue, OfResult, Print, Prints, Wraps, keeps_of};

use crate::classify::chain;
use crate::key::CacheKey;
use serde::Serialize;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;

/// What can be done with a function's return type `T`, found by type.
#[derive(Debug)]
pub struct Caps<T> {
    /// What an answer says about the service.
    pub classify: fn(&T, &Profile) -> Class,
    /// Makes the answer that tells the caller the call was refused, where the type can tell.
    pub reject: Option<fn(Error) -> T>,
}

impl<T> Clone for Caps<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Caps<T> {}

impl<T> Caps<T> {
    /// For a type that cannot be named: every answer is a success, and nothing can be refused.
    #[must_use]
    pub fn observe() -> Self {
        Self { classify: |_, _| Class::Success, reject: None }
    }
}

/// One call of an annotated function, as its expansion describes it.
#[derive(Debug)]
pub struct Call<T> {
    pub(crate) caps: Caps<T>,
    pub(crate) failure: Option<fn(&T) -> Class>,
    pub(crate) validate: Option<fn(&T) -> Option<String>>,
    pub(crate) priority: Option<Priority>,
    /// How answers are kept, and under which key.
    pub(crate) kept: Option<(Keeps<T>, CacheKey)>,
}

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Call<T> {}

impl<T> Call<T> {
    /// A call with what its return type can do.
    #[must_use]
    pub fn new(caps: Caps<T>) -> Self {
        Self { caps, failure: None, validate: None, priority: None, kept: None }
    }

    /// `failure = path`: the author's classifier, before any other.
    #[must_use]
    pub fn failure(mut self, classify: fn(&T) -> Class) -> Self {
        self.failure = Some(classify);
        self
    }

    /// `validate = path`: says what is wrong with an answer.
    #[must_use]
    pub fn validate(mut self, complain: fn(&T) -> Option<String>) -> Self {
        self.validate = Some(complain);
        self
    }

    /// `priority = expression`.
    #[must_use]
    pub fn priority(mut self, priority: impl AsPriority) -> Self {
        self.priority = Some(priority.as_priority());
        self
    }

    /// `cache`: how answers are kept, and the key of this call's arguments.
    #[must_use]
    pub fn cached(mut self, keeps: Keeps<T>, key: CacheKey) -> Self {
        self.kept = Some((keeps, key));
        self
    }

    pub(crate) fn class(&self, answer: &T, profile: &Profile) -> Class {
        self.failure.map_or_else(|| (self.caps.classify)(answer, profile), |classify| classify(answer))
    }
}

/// The key of the arguments of a call.
///
/// Arguments that cannot be serialised after all have a key that nothing is kept under.
pub fn key_of<K: Serialize + ?Sized>(parts: &K) -> CacheKey {
    CacheKey::of(parts)
}

/// What can be a part of the key of a kept answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of the key of a kept answer",
    label = "this is not `serde::Serialize`; write `key(…)` with what the answer depends on",
    note = "without `key(…)` all arguments are the key"
)]
pub trait KeyPart: Serialize {}

impl<T: Serialize + ?Sized> KeyPart for T {}

/// Compiles only for what can be a part of a key.
pub const fn key_part<T: KeyPart + ?Sized>(part: &T) -> &T {
    part
}

/// What a `failure = path` function may return: a [`Class`], or whether it failed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether the call failed",
    label = "the function of `failure` returns a `Class`, or a `bool` that is true for a failure"
)]
pub trait Verdict {
    /// The class meant.
    fn class(self) -> Class;
}

impl Verdict for Class {
    fn class(self) -> Class {
        self
    }
}

impl Verdict for bool {
    fn class(self) -> Class {
        if self { Class::Transient } else { Class::Success }
    }
}

/// Turns what a `failure = path` function returned into a class.
pub fn verdict(verdict: impl Verdict) -> Class {
    verdict.class()
}

/// Runs a `validate = path` function on the value of a successful answer.
pub fn complaint<V, E, M: fmt::Display>(answer: &Result<V, E>, check: impl Fn(&V) -> Result<(), M>) -> Option<String> {
    check(answer.as_ref().ok()?).err().map(|message| message.to_string())
}

/// A return type that can tell its caller that the call was refused.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell its caller that the call was refused or timed out",
    label = "return a `Result` whose error implements `From<poet::Error>`",
    note = "`anyhow::Error`, `Box<dyn Error + Send + Sync>`, `std::io::Error` and `String` do so already"
)]
pub trait CarriesRejection {}

impl<V, E: From<Error>> CarriesRejection for Result<V, E> {}

/// Compiles only for a type that can carry a refusal.
pub const fn required<T: CarriesRejection>() {}

/// An argument that can be given to more than one attempt.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to a second attempt",
    label = "`idempotent` and `fallback` need this argument to be `Clone`",
    note = "borrow it, derive `Clone`, or take the key away from `#[poet]`"
)]
pub trait Repeatable: Clone {}

impl<T: Clone> Repeatable for T {}

/// How to clone an argument.
///
/// Known once, by [`repeatable`], so that an argument that cannot be cloned is one error at its type and not three.
#[derive(Debug)]
pub struct Cloner<T>(fn(&T) -> T);

/// Compiles only for an argument that can be given to more than one attempt.
pub fn repeatable<T: Repeatable>(_: &T) -> Cloner<T> {
    Cloner(T::clone)
}

impl<T> Cloner<T> {
    /// A clone, for the fallback.
    pub fn spare(self, argument: &T) -> T {
        (self.0)(argument)
    }

    /// Holds the argument; every attempt but the last gets a clone.
    pub fn again(self, argument: T) -> Again<T> {
        Again { argument: Some(argument), clone: self.0 }
    }
}

/// An argument of a call that may need it more than once.
#[derive(Debug)]
pub struct Again<T> {
    argument: Option<T>,
    clone: fn(&T) -> T,
}

impl<T> Again<T> {
    /// The argument for the next attempt; the last one takes the original.
    ///
    /// # Panics
    ///
    /// If asked again after the last attempt, which the driver never does.
    pub fn next(&mut self, last: bool) -> T {
        let next = if last { self.argument.take() } else { self.argument.as_ref().map(self.clone) };
        next.expect("no attempt follows the last one")
    }
}

/// Finds what can be done with a type by method resolution: of several implementations of one trait, for more and fewer
/// references to a probe, the first that applies wins.
///
/// One trait for each question, not one for each answer: every expansion then uses what it imports, and needs no
/// `allow(unused_imports)` that would quarrel with a user's `forbid`.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    /// A probe of `T`.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "named by expansions only")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// Who says what an answer was.
pub trait Classifies {
    /// The answer.
    type Answer;
    /// The classifier.
    fn classifier(&self) -> fn(&Self::Answer, &Profile) -> Class;
}

/// The error knows its own class.
impl<V, E: Classify> Classifies for &&&&Probe<Result<V, E>> {
    type Answer = Result<V, E>;
    fn classifier(&self) -> fn(&Result<V, E>, &Profile) -> Class {
        |answer, _| answer.as_ref().err().map_or(Class::Success, Classify::class)
    }
}

/// The error has a source chain.
impl<V, E: StdError + 'static> Classifies for &&&Probe<Result<V, E>> {
    type Answer = Result<V, E>;
    fn classifier(&self) -> fn(&Result<V, E>, &Profile) -> Class {
        |answer, profile| answer.as_ref().err().map_or(Class::Success, |error| chain(error, profile))
    }
}

/// The error holds one with a source chain, as `anyhow::Error` and `Box<dyn Error + Send + Sync>` do.
impl<V, E: AsRef<dyn StdError + Send + Sync + 'static>> Classifies for &&Probe<Result<V, E>> {
    type Answer = Result<V, E>;
    fn classifier(&self) -> fn(&Result<V, E>, &Profile) -> Class {
        |answer, profile| answer.as_ref().err().map_or(Class::Success, |error| chain(error.as_ref(), profile))
    }
}

/// Nothing is known of the error.
impl<V, E> Classifies for &Probe<Result<V, E>> {
    type Answer = Result<V, E>;
    fn classifier(&self) -> fn(&Result<V, E>, &Profile) -> Class {
        |answer, _| {
            if answer.is_ok() { Class::Success } else { Class::Transient }
        }
    }
}

/// It is no result at all.
impl<T> Classifies for Probe<T> {
    type Answer = T;
    fn classifier(&self) -> fn(&T, &Profile) -> Class {
        |_, _| Class::Success
    }
}

/// Whether the type can carry a refusal.
pub trait Rejects {
    /// The answer.
    type Answer;
    /// Makes the refusal.
    fn rejecter(&self) -> Option<fn(Error) -> Self::Answer>;
}

/// It can.
impl<V, E: From<Error>> Rejects for &Probe<Result<V, E>> {
    type Answer = Result<V, E>;
    fn rejecter(&self) -> Option<fn(Error) -> Result<V, E>> {
        Some(|error| Err(E::from(error)))
    }
}

/// It cannot.
impl<T> Rejects for Probe<T> {
    type Answer = T;
    fn rejecter(&self) -> Option<fn(Error) -> T> {
        None
    }
}

/// Tells a future behind an alias, which the attribute would take for the answer itself, from an answer.
pub trait Settled {
    /// [`Now`] or [`Later`].
    type When;
    /// When the answer is there.
    fn settled(&self) -> Self::When;
}

/// The answer is there when the function returns.
#[derive(Debug)]
pub struct Now;

/// The function returns before the answer is there.
#[derive(Debug)]
pub struct Later;

impl<F: Future> Settled for &Probe<F> {
    type When = Later;
    fn settled(&self) -> Later {
        Later
    }
}

impl<T> Settled for Probe<T> {
    type When = Now;
    fn settled(&self) -> Now {
        Now
    }
}

/// What `#[poet]` on a function without `async` measures.
#[diagnostic::on_unimplemented(
    message = "this is a future that `#[poet]` cannot see into",
    label = "make this an `async fn`, or write the type as `Pin<Box<dyn Future<Output = …>>>` and end in \
             `Box::pin(async move {{ … }})`"
)]
pub trait Immediate {}

impl Immediate for Now {}

/// Compiles only for an answer that is there when the function returns.
pub fn immediate(_: impl Immediate) {}

/// The [`Caps`] of a type, by autoref: each level of reference lets one trait apply.
#[doc(hidden)]
#[macro_export]
macro_rules! __poet_caps {
    ($ty:ty) => {{
        use $crate::__private::{Classifies as _, Rejects as _};
        let probe = $crate::__private::Probe::<$ty>::new();
        $crate::__private::Caps { classify: (&&&&&probe).classifier(), reject: (&&probe).rejecter() }
    }};
}
pub use crate::__poet_caps as caps;

impl<T> Again<T> {
    pub(crate) fn of(argument: T, clone: fn(&T) -> T) -> Self {
        Self { argument: Some(argument), clone }
    }

    pub(crate) fn apart(self) -> (T, fn(&T) -> T) {
        (self.argument.expect("not asked for an attempt yet"), self.clone)
    }
}

/// What travels between a caller and a call that is made for several.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to, or come back from, a call that is made for several callers",
    label = "`batch` needs an argument and an answer that are `Send` and borrow nothing",
    note = "a call for several outlives each of its callers and may run on another thread"
)]
pub trait Travels: Send + 'static {}

impl<T: Send + 'static> Travels for T {}

/// What a function of `batch = path` may return, for a function that returns `T`: one answer for each item, in the
/// order of the items.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of answers `{T}`",
    label = "the function of `batch` returns `Vec<{T}>`, or `Result<Vec<…>, E>` whose error has a text and converts into \
             the one of `{T}`"
)]
pub trait BatchAnswers<T>: Send + 'static {
    /// The answers apart.
    fn answers(self) -> Answers<T>;
}

/// The answers of a call that was made for several.
#[derive(Debug)]
pub enum Answers<T> {
    /// One for each item.
    Each(Vec<T>),
    /// One error for all of them: as an answer, and in words, because not every error can be cloned.
    Whole(T, String),
}

impl<T: Travels> BatchAnswers<T> for Vec<T> {
    fn answers(self) -> Answers<T> {
        Answers::Each(self)
    }
}

/// Values, or one error.
impl<V, E, F> BatchAnswers<Result<V, F>> for Result<Vec<V>, E>
where
    V: Travels,
    E: fmt::Display + Into<F> + Travels,
    F: Travels,
{
    fn answers(self) -> Answers<Result<V, F>> {
        match self {
            Ok(values) => Answers::Each(values.into_iter().map(Ok).collect()),
            Err(error) => whole(error),
        }
    }
}

/// A result for each, or one error.
impl<V, E, F> BatchAnswers<Result<V, F>> for Result<Vec<Result<V, F>>, E>
where
    V: Travels,
    E: fmt::Display + Into<F> + Travels,
    F: Travels,
{
    fn answers(self) -> Answers<Result<V, F>> {
        match self {
            Ok(each) => Answers::Each(each),
            Err(error) => whole(error),
        }
    }
}

fn whole<V, F>(error: impl fmt::Display + Into<F>) -> Answers<Result<V, F>> {
    let words = error.to_string();
    Answers::Whole(Err(error.into()), words)
}

/// The [`Keeps`] of a type, by autoref as [`caps!`] finds its own.
#[doc(hidden)]
#[macro_export]
macro_rules! __poet_keeps {
    ($ty:ty) => {{
        use $crate::__private::{Fingerprints as _, Wraps as _};
        let probe = $crate::__private::Probe::<$ty>::new();
        $crate::__private::keeps_of::<$ty, _, _>((&&probe).wraps(), (&&&&&&probe).fingerprints())
    }};
}
pub use crate::__poet_keeps as keeps;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug)]
    struct Opaque;

    fn class<T>(caps: Caps<T>, answer: &T) -> Class {
        (caps.classify)(answer, Profile::GENERAL)
    }

    #[test]
    fn a_type_is_seen_through_its_alias() {
        let caps = caps!(io::Result<u8>);
        assert_eq!(class(caps, &Err(io::ErrorKind::TimedOut.into())), Class::Timeout);
        assert!(caps.reject.is_some());
    }

    #[test]
    fn boxed_and_anyhow_errors_are_classified_by_their_chain_and_can_carry_a_refusal() {
        let boxed = caps!(Result<u8, Box<dyn StdError + Send + Sync>>);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(class(boxed, &Err(Box::new(refused()))), Class::Network { sent: false });
        assert!(boxed.reject.is_some());
        let anyhow = caps!(anyhow::Result<u8>);
        assert_eq!(class(anyhow, &Err(refused().into())), Class::Network { sent: false });
        assert!(anyhow.reject.is_some());
    }

    #[test]
    fn an_error_nothing_is_known_of_is_transient_and_cannot_be_refused_with() {
        let caps = caps!(Result<u8, Opaque>);
        assert_eq!(class(caps, &Err(Opaque)), Class::Transient);
        assert!(caps.reject.is_none());
    }

    #[test]
    fn no_result_is_only_observed() {
        let caps = caps!(Option<u8>);
        assert_eq!(class(caps, &None), Class::Success);
        assert!(caps.reject.is_none());
    }

    #[test]
    fn the_last_attempt_takes_the_arguments_themselves() {
        let original = std::rc::Rc::new(1);
        let mut argument = repeatable(&original).again(original.clone());
        assert_eq!(std::rc::Rc::strong_count(&argument.next(false)), 3);
        assert_eq!(std::rc::Rc::strong_count(&argument.next(true)), 2);
    }
}
