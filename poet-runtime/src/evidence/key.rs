//! What is counted, each kind under a stable name.

use crate::outcome::{Ending, FailureKind};
use std::time::Duration;

/// Retries beyond this many share one counter.
pub const MAX_COUNTED_RETRY: u8 = 15;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An attempt whose work was done, with a latency in this bucket of [`Sketch`].
    Answered(u8),
    /// An attempt given up on after a time in this bucket: a censored latency.
    Censored(u8),
    /// Those of [`Key::Censored`] that the deadline of the call ended before their own limit did: no time was left to
    /// try again.
    AtDeadline(u8),
    /// An attempt of this class; all attempts outside probes, whether answered or not.
    Attempt(AttemptClass),
    /// A retry, the n-th of its call (1 for the second attempt), made after a failure of this kind.
    Retried(u8, FailureKind),
    /// The same, where the retry succeeded.
    Recovered(u8, FailureKind),
    /// A call that ended so.
    Call(Ending),
    /// An answer that was asked for again at an age in this bin of [`age_bin`], and was still the same.
    Unchanged(u8),
    /// The same, where it was another one.
    Changed(u8),
    /// A sum over the calls made for several items at once.
    Batch(BatchSum),
}

/// The sums from which the time of a batch is fitted as `a + b * items` by least squares: they add up like counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BatchSum {
    /// Calls.
    Calls,
    /// Items.
    Items,
    /// The squares of the items.
    ItemsSquared,
    /// Microseconds.
    Micros,
    /// Items times microseconds.
    ItemMicros,
}

impl BatchSum {
    /// Every sum, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Calls, Self::Items, Self::ItemsSquared, Self::Micros, Self::ItemMicros];
}

/// How many bins of age there are.
pub const AGE_BINS: u8 = 48;

/// The youngest age with a bin of its own.
const YOUNGEST: Duration = Duration::from_millis(100);

/// The bin of an age: half octaves (each 1.41 times as long as the one before) from 100 ms to about 19 days.
///
/// # Examples
///
/// ```
/// use poet_runtime::evidence::{age_bin, bin_age};
/// use std::time::Duration;
///
/// let bin = age_bin(Duration::from_secs(60));
/// assert!(bin_age(bin) <= Duration::from_secs(60) && bin_age(bin + 1) > Duration::from_secs(60));
/// ```
#[must_use]
pub fn age_bin(age: Duration) -> u8 {
    let octaves = (age.as_secs_f64() / YOUNGEST.as_secs_f64()).log2();
    // A hair up, so that the age a bin begins with is in it whatever rounding did.
    (octaves * 2.0 + 1e-9).floor().clamp(0.0, f64::from(AGE_BINS - 1)) as u8
}

/// The age a bin of [`age_bin`] begins with.
#[must_use]
pub fn bin_age(bin: u8) -> Duration {
    YOUNGEST.mul_f64((f64::from(bin.min(AGE_BINS)) / 2.0).exp2())
}

/// The class of an attempt without its details: `None` in [`Class::failure`] splits into success and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptClass {
    /// The service did what was asked.
    Success,
    /// Asking again cannot help.
    Permanent,
    /// A failure a retry may mend.
    Failure(FailureKind),
}

impl Key {
    /// The kind and index under which the key is stored: stable names, never to be reused.
    #[must_use]
    pub fn encode(self) -> (&'static str, u16) {
        let pair = |n: u8, kind: FailureKind| u16::from(n) * 16 + kind.index() as u16;
        match self {
            Self::Answered(bucket) => ("answered", u16::from(bucket)),
            Self::Censored(bucket) => ("censored", u16::from(bucket)),
            Self::AtDeadline(bucket) => ("at_deadline", u16::from(bucket)),
            Self::Attempt(AttemptClass::Success) => ("attempt", 0),
            Self::Attempt(AttemptClass::Permanent) => ("attempt", 1),
            Self::Attempt(AttemptClass::Failure(kind)) => ("attempt", 2 + kind.index() as u16),
            Self::Retried(n, kind) => ("retried", pair(n, kind)),
            Self::Recovered(n, kind) => ("recovered", pair(n, kind)),
            Self::Call(ending) => ("call", ending as u16),
            Self::Unchanged(bin) => ("unchanged", u16::from(bin)),
            Self::Changed(bin) => ("changed", u16::from(bin)),
            Self::Batch(sum) => ("batch", sum as u16),
        }
    }

    /// The key of that kind and index; `None` for one that a newer version may have written.
    #[must_use]
    pub fn decode(kind: &str, index: u16) -> Option<Self> {
        let byte = || u8::try_from(index).ok();
        let pair = || {
            let n = u8::try_from(index / 16).ok().filter(|n| *n <= MAX_COUNTED_RETRY)?;
            Some((n, *FailureKind::ALL.get(usize::from(index % 16))?))
        };
        Some(match kind {
            "answered" => Self::Answered(byte()?),
            "censored" => Self::Censored(byte()?),
            "at_deadline" => Self::AtDeadline(byte()?),
            "attempt" => Self::Attempt(match index {
                0 => AttemptClass::Success,
                1 => AttemptClass::Permanent,
                n => AttemptClass::Failure(*FailureKind::ALL.get(usize::from(n) - 2)?),
            }),
            "retried" => pair().map(|(n, kind)| Self::Retried(n, kind))?,
            "recovered" => pair().map(|(n, kind)| Self::Recovered(n, kind))?,
            "call" => Self::Call(*Ending::ALL.get(usize::from(index))?),
            "unchanged" => Self::Unchanged(byte().filter(|bin| *bin < AGE_BINS)?),
            "changed" => Self::Changed(byte().filter(|bin| *bin < AGE_BINS)?),
            "batch" => Self::Batch(*BatchSum::ALL.get(usize::from(index))?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_back_as_it_was_written() {
        let mut keys = vec![Key::Answered(0), Key::Answered(159), Key::Censored(7), Key::AtDeadline(7)];
        keys.extend([AttemptClass::Success, AttemptClass::Permanent].map(Key::Attempt));
        for kind in FailureKind::ALL {
            keys.push(Key::Attempt(AttemptClass::Failure(kind)));
            keys.extend([1, MAX_COUNTED_RETRY].map(|n| Key::Retried(n, kind)));
            keys.push(Key::Recovered(2, kind));
        }
        keys.extend(Ending::ALL.map(Key::Call));
        keys.extend([0, AGE_BINS - 1].into_iter().flat_map(|bin| [Key::Unchanged(bin), Key::Changed(bin)]));
        keys.extend(BatchSum::ALL.map(Key::Batch));
        for key in keys {
            let (kind, index) = key.encode();
            assert_eq!(Key::decode(kind, index), Some(key), "{kind} {index}");
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_no_key() {
        assert_eq!(Key::decode("hedged", 1), None);
        assert_eq!(Key::decode("call", 999), None);
    }
}
