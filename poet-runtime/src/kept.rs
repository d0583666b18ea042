//! How the answers of an annotated function are kept, found by their type.
//!
//! Of a `Result` only the value is kept, so that its error need be nothing in particular; anything else is kept whole.
//! Whether two answers differ is seen by what serde sees of them, or else by their `Hash`. Where there is neither, they
//! are kept all the same, and how long they stay fresh is not learned.

use crate::__private::Probe;
use crate::cache::Parcel;
use crate::key::digest;
use once_cell::sync::OnceCell;
use serde::Serialize;
use std::any::Any;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

/// What is known of an answer that was looked at: what tells it from another one, and about the bytes it takes.
pub type Print = (u64, usize);

/// How answers of a type are kept and given: one word, because every call of a function may carry it.
#[derive(Debug)]
pub struct Keeps<T>(fn() -> Ways<T>);

struct Ways<T> {
    keep: fn(&T) -> Option<Arc<dyn Any + Send + Sync>>,
    give: fn(&(dyn Any + Send + Sync)) -> Option<T>,
    print: fn(&T) -> Option<Print>,
    /// What a value takes without what it holds elsewhere.
    size: usize,
}

impl<T> Clone for Keeps<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Keeps<T> {}

impl<T> Keeps<T> {
    /// The answer as it is kept; `None` for a failure.
    pub(crate) fn keep(&self, answer: &T) -> Option<Parcel> {
        let ways = (self.0)();
        let value = (ways.keep)(answer)?;
        let print = (ways.print)(answer);
        Some(Parcel {
            value,
            fingerprint: print.map(|(fingerprint, _)| fingerprint),
            bytes: ways.size + print.map_or(0, |(_, bytes)| bytes),
        })
    }

    /// The answer of what was kept; `None` if that was of another type.
    #[inline]
    pub(crate) fn give(&self, kept: &(dyn Any + Send + Sync)) -> Option<T> {
        ((self.0)().give)(kept)
    }
}

/// A value that can be kept and given again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in the cache",
    label = "`cache` needs the value of this type to be `Clone + Send + Sync + 'static`",
    note = "return a value that can be shared, such as one in an `Arc`, or take `cache` away from `#[poet]`"
)]
pub trait KeptValue: Clone + Send + Sync + 'static {}

impl<V: Clone + Send + Sync + 'static> KeptValue for V {}

/// The answer is a `Result`, whose value is kept.
#[derive(Clone, Copy, Debug)]
pub struct OfResult;

/// The answer is kept itself.
#[derive(Clone, Copy, Debug)]
pub struct Itself;

/// Tells a `Result` from other answers.
pub trait Wraps {
    /// [`OfResult`] or [`Itself`].
    type Way;
    /// Which of the two.
    fn wraps(&self) -> Self::Way;
}

impl<V, E> Wraps for &Probe<Result<V, E>> {
    type Way = OfResult;
    fn wraps(&self) -> OfResult {
        OfResult
    }
}

impl<T> Wraps for Probe<T> {
    type Way = Itself;
    fn wraps(&self) -> Itself {
        Itself
    }
}

/// An answer that can be kept in this way.
pub trait Keepable<Way>: Sized {
    /// What is kept of it.
    type Value;
    /// The value, unless the answer is a failure.
    fn value(&self) -> Option<&Self::Value>;
    /// The answer with this value.
    fn with(value: Self::Value) -> Self;
}

impl<V, E> Keepable<OfResult> for Result<V, E> {
    type Value = V;
    fn value(&self) -> Option<&V> {
        self.as_ref().ok()
    }
    fn with(value: V) -> Self {
        Ok(value)
    }
}

impl<T> Keepable<Itself> for T {
    type Value = T;
    fn value(&self) -> Option<&T> {
        Some(self)
    }
    fn with(value: T) -> Self {
        value
    }
}

/// Compiles only for an answer that can be kept.
pub fn keeps_of<T, Way, P>(_: Way, _: P) -> Keeps<T>
where
    T: Keepable<Way>,
    // Asked for here and not where it is implemented, so that what is wrong is said of the value.
    T::Value: KeptValue,
    P: Prints<T>,
{
    Keeps(|| Ways {
        keep: |answer| Some(Arc::new(answer.value()?.clone())),
        give: |kept| Some(T::with(kept.downcast_ref::<T::Value>()?.clone())),
        print: P::print,
        size: size_of::<T::Value>(),
    })
}

/// A way to look at answers.
pub trait Prints<T> {
    /// Looks at an answer; `None` where nobody can tell it from another one.
    fn print(answer: &T) -> Option<Print>;
}

/// Who tells answers apart.
pub trait Fingerprints {
    /// Looks at the answers.
    type By;
    /// The way.
    fn fingerprints(&self) -> Self::By;
}

/// The ways to look at answers, the best one first. One type each, because a type could be looked at in several.
macro_rules! ways {
    ($($way:ident: [$($bound:tt)*] $probe:ty, $answer:ty => $print:expr;)*) => {$(
        #[doc = concat!("Looks at `", stringify!($answer), "`.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $way;

        impl<$($bound)*> Prints<$answer> for $way {
            fn print(answer: &$answer) -> Option<Print> {
                let print: fn(&$answer) -> Option<Print> = $print;
                print(answer)
            }
        }

        impl<$($bound)*> Fingerprints for $probe {
            type By = $way;
            fn fingerprints(&self) -> $way {
                $way
            }
        }
    )*};
}

ways! {
    ValueBySerde: [V: Serialize, E] &&&&&Probe<Result<V, E>>, Result<V, E> => |answer| serialised(answer.as_ref().ok()?);
    ValueByHash: [V: Hash, E] &&&&Probe<Result<V, E>>, Result<V, E> => |answer| Some(hashed(answer.as_ref().ok()?));
    ValueUntold: [V, E] &&&Probe<Result<V, E>>, Result<V, E> => |_| None;
    WholeBySerde: [T: Serialize] &&Probe<T>, T => serialised;
    WholeByHash: [T: Hash] &Probe<T>, T => |answer| Some(hashed(answer));
    WholeUntold: [T] Probe<T>, T => |_| None;
}

fn serialised<V: Serialize>(value: &V) -> Option<Print> {
    let digest = digest(value)?;
    Some((digest.hash as u64, digest.bytes))
}

fn hashed<V: Hash>(value: &V) -> Print {
    static SECRET: OnceCell<RandomState> = OnceCell::new();
    let hasher = SECRET.get_or_init(RandomState::new).build_hasher();
    let mut counting = Counting { hasher, bytes: 0 };
    value.hash(&mut counting);
    (counting.hasher.finish(), counting.bytes)
}

/// Counts what is hashed, which is about what the value takes.
struct Counting<H> {
    hasher: H,
    bytes: usize,
}

impl<H: Hasher> Hasher for Counting<H> {
    fn finish(&self) -> u64 {
        self.hasher.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.hasher.write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use crate::__private::{Keeps, keeps};
    use std::collections::HashMap;

    struct Opaque;

    #[derive(Clone, Debug, PartialEq)]
    struct Plain(u8);

    #[derive(Clone, Debug, PartialEq, Hash)]
    struct Hashable(u8);

    fn there_and_back<T>(keeps: Keeps<T>, answer: &T) -> Option<T> {
        keeps.give(&*keeps.keep(answer)?.value)
    }

    fn fingerprint<T>(keeps: Keeps<T>, answer: &T) -> Option<u64> {
        keeps.keep(answer)?.fingerprint
    }

    #[test]
    fn only_the_value_of_a_result_is_kept() {
        let keeps = keeps!(Result<u8, Opaque>);
        assert!(matches!(there_and_back(keeps, &Ok(7)), Some(Ok(7))));
        assert!(there_and_back(keeps, &Err(Opaque)).is_none());
        assert_eq!(there_and_back(keeps!(Option<u8>), &None), Some(None));
    }

    #[test]
    fn a_value_of_another_type_is_not_given() {
        let kept = keeps!(Result<u8, Opaque>).keep(&Ok(7)).unwrap();
        assert!(keeps!(u16).give(&*kept.value).is_none());
        assert_eq!(keeps!(u8).give(&*kept.value), Some(7));
    }

    #[test]
    fn answers_are_told_apart_by_serde_or_by_hash_or_not() {
        let map = |n: u8| Ok::<_, Opaque>(HashMap::from([("a", n), ("b", 1)]));
        let of_map = keeps!(Result<HashMap<&'static str, u8>, Opaque>);
        assert_eq!(fingerprint(of_map, &map(1)), fingerprint(of_map, &map(1)));
        assert_ne!(fingerprint(of_map, &map(1)), fingerprint(of_map, &map(2)));
        let of_hash = keeps!(Result<Hashable, Opaque>);
        assert_ne!(fingerprint(of_hash, &Ok(Hashable(1))), fingerprint(of_hash, &Ok(Hashable(2))));
        assert_eq!(fingerprint(of_hash, &Ok(Hashable(1))), fingerprint(of_hash, &Ok(Hashable(1))));
        assert_ne!(fingerprint(keeps!(Hashable), &Hashable(1)), fingerprint(keeps!(Hashable), &Hashable(2)));
        assert_ne!(fingerprint(keeps!(u8), &1), fingerprint(keeps!(u8), &2));
        assert_eq!(fingerprint(keeps!(Result<Plain, Opaque>), &Ok(Plain(1))), None);
        assert_eq!(fingerprint(keeps!(Plain), &Plain(1)), None);
    }
}
