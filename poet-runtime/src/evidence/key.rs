//! What is counted, each kind under a stable name.

use super::Situation;
use crate::outcome::{Arm, Ending, FailureKind};
use std::time::Duration;

/// Retries beyond this many share one counter.
pub const MAX_COUNTED_RETRY: u8 = 15;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An attempt whose work was done, with a latency in this bucket of [`Sketch`](super::Sketch).
    Answered(u8),
    /// An attempt given up on after a time in this bucket: a censored latency.
    Censored(u8),
    /// Those of [`Key::Censored`] that the deadline of the call ended before their own limit did: no time was left to
    /// try again.
    AtDeadline(u8),
    /// An attempt whose work was done and that gave signs of life meanwhile, by the longest time it gave none: what a
    /// limit of waiting would have had to be. Not counted as [`Key::Answered`].
    Silent(u8),
    /// The same attempts by their latency.
    Took(u8),
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
    /// A first retry made after a wait in this bin of [`wait_bin`], after a failure of this kind.
    Waited(u8, FailureKind),
    /// The same, where the retry succeeded.
    WaitHelped(u8, FailureKind),
    /// A failure of this kind that opened the circuit: it belongs to an outage. Also counted as [`Key::Attempt`].
    Blamed(FailureKind),
    /// What a circuit did.
    Circuit(Circuit),
    /// A probe of this class, made while the circuit was open.
    Probed(AttemptClass),
    /// An outage that lasted for a time in this bin of [`outage_bin`].
    Outage(u8),
    /// A sum over answered attempts that began while so many were under way, as a bin of [`load_bin`].
    Load(LoadSum, u8),
    /// Attempts that were raced by a second copy, and how the race ended.
    Hedged(bool),
    /// A sum over the calls made with values of one revision.
    Effect(Effect),
    /// An attempt made in a situation, probes included, and whether it failed.
    Next(Situation, bool),
    /// Executions of a function that called more operations than are told apart: what the others did to it is in no
    /// [`Felt`](super::Felt).
    Untold,
}

/// What a circuit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Circuit {
    /// It opened.
    Opened,
    /// Those of the openings that came so shortly after it had closed that the service was not back after all.
    Relapsed,
}

impl Circuit {
    /// Every case, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Opened, Self::Relapsed];
}

/// What is summed up by load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LoadSum {
    /// Attempts that were answered.
    Answered,
    /// Their microseconds.
    Micros,
    /// Attempts that failed in a way that load can cause: timeouts, throttling, transient failures.
    Failed,
}

impl LoadSum {
    /// Every sum, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Answered, Self::Micros, Self::Failed];
}

/// One sum over the calls that were made with values of one revision: what a move brought is the difference between
/// the arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Effect {
    /// The revision, modulo [`Effect::SLOTS`]: moves are so rare that no two of them share one within the life of
    /// what is compared.
    pub slot: u16,
    /// Which values the calls were made with.
    pub arm: Arm,
    /// What is summed up.
    pub sum: EffectSum,
}

/// What is summed up over the calls of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EffectSum {
    /// Calls that reached the service.
    Calls,
    /// What they were worth, in millionths of the range from the worst (0) to the best (1).
    Worth,
    /// The squares of it, in millionths.
    WorthSquared,
    /// Calls that never reached the service, because a circuit was open or too many were under way. Whoever made them
    /// shares that with all others, so they say nothing about the arm they were made in.
    Refused,
}

impl EffectSum {
    /// Every sum, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Calls, Self::Worth, Self::WorthSquared, Self::Refused];
}

impl Effect {
    /// How many revisions have a slot of their own.
    pub const SLOTS: u64 = 4_096;

    /// The slot of a revision.
    #[must_use]
    pub const fn slot(revision: u64) -> u16 {
        (revision % Self::SLOTS) as u16
    }

    fn encode(self) -> u16 {
        self.slot * 16 + self.arm as u16 * 4 + self.sum as u16
    }

    fn decode(index: u16) -> Option<Self> {
        let arm = *Arm::ALL.get(usize::from(index / 4 % 4))?;
        let sum = *EffectSum::ALL.get(usize::from(index % 4))?;
        Some(Self { slot: index / 16, arm, sum })
    }
}

/// How many bins of waits there are.
pub const WAIT_BINS: u8 = 6;

/// Where the bins of waits end, in seconds; the last has no end.
pub(crate) const WAITS: [f64; WAIT_BINS as usize - 1] = [0.03, 0.1, 0.3, 1.0, 3.0];

/// The bin of the wait before a retry: up to 30 ms, 100 ms, 300 ms, 1 s, 3 s, and longer.
#[must_use]
pub fn wait_bin(wait: Duration) -> u8 {
    let seconds = wait.as_secs_f64();
    WAITS.iter().take_while(|end| seconds >= **end).count() as u8
}

/// The wait a bin of [`wait_bin`] stands for: the geometric middle of it.
#[must_use]
pub fn bin_wait(bin: u8) -> Duration {
    const MIDDLES: [f64; WAIT_BINS as usize] = [0.015, 0.055, 0.173, 0.548, 1.732, 5.0];
    Duration::from_secs_f64(MIDDLES[usize::from(bin.min(WAIT_BINS - 1))])
}

/// How many bins of outages there are.
pub const OUTAGE_BINS: u8 = 96;

/// The shortest outage with a bin of its own.
const SHORTEST: Duration = Duration::from_secs(1);

/// The bin of the length of an outage: quarter octaves (each 19 % longer than the one before) from 1 s to 194 days.
///
/// # Examples
///
/// ```
/// use poet_runtime::evidence::{bin_outage, outage_bin};
/// use std::time::Duration;
///
/// let bin = outage_bin(Duration::from_secs(300));
/// assert!(bin_outage(bin) <= Duration::from_secs(300) && bin_outage(bin + 1) > Duration::from_secs(300));
/// ```
#[must_use]
pub fn outage_bin(length: Duration) -> u8 {
    quarter_octave(length, SHORTEST, OUTAGE_BINS)
}

/// The length a bin of [`outage_bin`] begins with.
#[must_use]
pub fn bin_outage(bin: u8) -> Duration {
    beginning(bin, SHORTEST, OUTAGE_BINS)
}

/// In which quarter octave a time is, counted from the first time with one of its own; the last has all that is longer.
fn quarter_octave(time: Duration, first: Duration, bins: u8) -> u8 {
    let octaves = (time.as_secs_f64() / first.as_secs_f64()).log2();
    // A hair up, so that the time a bin begins with is in it whatever rounding did.
    (octaves * 4.0 + 1e-9).floor().clamp(0.0, f64::from(bins - 1)) as u8
}

/// The time a [`quarter_octave`] begins with.
fn beginning(bin: u8, first: Duration, bins: u8) -> Duration {
    first.mul_f64((f64::from(bin.min(bins)) / 4.0).exp2())
}

/// How many bins of load there are.
pub const LOAD_BINS: u8 = 11;

/// The bin of a number of attempts under way: powers of two, from 1 to 1,024 and more.
///
/// # Examples
///
/// ```
/// use poet_runtime::evidence::load_bin;
///
/// assert_eq!([0, 1, 2, 3, 4, 63, 64, 5_000].map(load_bin), [0, 0, 1, 1, 2, 5, 6, 10]);
/// ```
#[must_use]
pub const fn load_bin(under_way: u32) -> u8 {
    match under_way.checked_ilog2() {
        None => 0,
        Some(bin) if bin >= LOAD_BINS as u32 => LOAD_BINS - 1,
        Some(bin) => bin as u8,
    }
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
pub const AGE_BINS: u8 = 96;

/// The youngest age with a bin of its own.
const YOUNGEST: Duration = Duration::from_millis(100);

/// The bin of an age: quarter octaves (each 1.19 times as long as the one before) from 100 ms to about 19 days.
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
    quarter_octave(age, YOUNGEST, AGE_BINS)
}

/// The age a bin of [`age_bin`] begins with.
#[must_use]
pub fn bin_age(bin: u8) -> Duration {
    beginning(bin, YOUNGEST, AGE_BINS)
}

/// The class of an attempt without its details: `None` in [`Class::failure`](crate::outcome::Class::failure) splits into success and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptClass {
    /// The service did what was asked.
    Success,
    /// Asking again cannot help.
    Permanent,
    /// A failure a retry may mend.
    Failure(FailureKind),
}

impl AttemptClass {
    /// Every class.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Success, Self::Permanent].into_iter().chain(FailureKind::ALL.map(Self::Failure))
    }

    fn encode(self) -> u16 {
        match self {
            Self::Success => 0,
            Self::Permanent => 1,
            Self::Failure(kind) => 2 + kind.index() as u16,
        }
    }

    fn decode(index: u16) -> Option<Self> {
        Self::all().find(|class| class.encode() == index)
    }
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
            Self::Silent(bucket) => ("silent", u16::from(bucket)),
            Self::Took(bucket) => ("took", u16::from(bucket)),
            Self::Attempt(class) => ("attempt", class.encode()),
            Self::Retried(n, kind) => ("retried", pair(n, kind)),
            Self::Recovered(n, kind) => ("recovered", pair(n, kind)),
            Self::Call(ending) => ("call", ending as u16),
            Self::Unchanged(bin) => ("unchanged", u16::from(bin)),
            Self::Changed(bin) => ("changed", u16::from(bin)),
            Self::Batch(sum) => ("batch", sum as u16),
            Self::Waited(bin, kind) => ("waited", pair(bin, kind)),
            Self::WaitHelped(bin, kind) => ("wait_helped", pair(bin, kind)),
            Self::Blamed(kind) => ("blamed", kind.index() as u16),
            Self::Circuit(what) => ("circuit", what as u16),
            Self::Probed(class) => ("probed", class.encode()),
            Self::Outage(bin) => ("outage", u16::from(bin)),
            Self::Load(sum, bin) => ("load", u16::from(bin) * 4 + sum as u16),
            Self::Hedged(won) => ("hedged", u16::from(won)),
            Self::Effect(effect) => ("effect", effect.encode()),
            Self::Next(situation, failed) => ("next", situation.index() as u16 * 2 + u16::from(failed)),
            Self::Untold => ("untold", 0),
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
            "silent" => Self::Silent(byte()?),
            "took" => Self::Took(byte()?),
            "attempt" => Self::Attempt(AttemptClass::decode(index)?),
            "retried" => pair().map(|(n, kind)| Self::Retried(n, kind))?,
            "recovered" => pair().map(|(n, kind)| Self::Recovered(n, kind))?,
            "call" => Self::Call(*Ending::ALL.get(usize::from(index))?),
            "unchanged" => Self::Unchanged(byte().filter(|bin| *bin < AGE_BINS)?),
            "changed" => Self::Changed(byte().filter(|bin| *bin < AGE_BINS)?),
            "batch" => Self::Batch(*BatchSum::ALL.get(usize::from(index))?),
            "waited" => pair().filter(|(bin, _)| *bin < WAIT_BINS).map(|(bin, kind)| Self::Waited(bin, kind))?,
            "wait_helped" => {
                pair().filter(|(bin, _)| *bin < WAIT_BINS).map(|(bin, kind)| Self::WaitHelped(bin, kind))?
            }
            "blamed" => Self::Blamed(*FailureKind::ALL.get(usize::from(index))?),
            "circuit" => Self::Circuit(*Circuit::ALL.get(usize::from(index))?),
            "probed" => Self::Probed(AttemptClass::decode(index)?),
            "outage" => Self::Outage(byte().filter(|bin| *bin < OUTAGE_BINS)?),
            "load" => {
                let bin = u8::try_from(index / 4).ok().filter(|bin| *bin < LOAD_BINS)?;
                Self::Load(*LoadSum::ALL.get(usize::from(index % 4))?, bin)
            }
            "hedged" => Self::Hedged(index == 1),
            "effect" => Self::Effect(Effect::decode(index)?),
            "next" => Self::Next(Situation::from_index(usize::from(index / 2))?, index % 2 == 1),
            "untold" if index == 0 => Self::Untold,
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
        keys.extend([0, 159].into_iter().flat_map(|bucket| [Key::Silent(bucket), Key::Took(bucket)]));
        keys.extend([AttemptClass::Success, AttemptClass::Permanent].map(Key::Attempt));
        for kind in FailureKind::ALL {
            keys.push(Key::Attempt(AttemptClass::Failure(kind)));
            keys.extend([1, MAX_COUNTED_RETRY].map(|n| Key::Retried(n, kind)));
            keys.push(Key::Recovered(2, kind));
        }
        keys.extend(Ending::ALL.map(Key::Call));
        keys.extend([0, AGE_BINS - 1].into_iter().flat_map(|bin| [Key::Unchanged(bin), Key::Changed(bin)]));
        keys.extend(BatchSum::ALL.map(Key::Batch));
        for kind in FailureKind::ALL {
            keys.extend([Key::Blamed(kind), Key::Waited(0, kind), Key::WaitHelped(WAIT_BINS - 1, kind)]);
        }
        keys.extend(Circuit::ALL.map(Key::Circuit));
        keys.extend(AttemptClass::all().map(Key::Probed));
        keys.extend([0, OUTAGE_BINS - 1].map(Key::Outage));
        keys.extend(LoadSum::ALL.into_iter().flat_map(|sum| [0, LOAD_BINS - 1].map(|bin| Key::Load(sum, bin))));
        keys.extend([false, true].map(Key::Hedged));
        keys.push(Key::Untold);
        keys.extend(Situation::all().flat_map(|situation| [false, true].map(|failed| Key::Next(situation, failed))));
        for (arm, sum) in Arm::ALL.into_iter().flat_map(|arm| EffectSum::ALL.map(|sum| (arm, sum))) {
            keys.extend([0, 4_095].map(|slot| Key::Effect(Effect { slot, arm, sum })));
        }
        for key in keys {
            let (kind, index) = key.encode();
            assert_eq!(Key::decode(kind, index), Some(key), "{kind} {index}");
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_no_key() {
        assert_eq!(Key::decode("foreseen", 1), None);
        assert_eq!(Key::decode("call", 999), None);
    }
}
