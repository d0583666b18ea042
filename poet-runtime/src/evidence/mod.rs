//! What was seen, as counts in time buckets.
//!
//! Evidence is addition: merging two histories, of two processes or of two machines, adds their counts. Decay is
//! applied when reading, never when writing, so that an estimate stays a pure function of evidence and time.

mod sketch;
mod vitals;

pub use sketch::Sketch;
pub use vitals::{Tried, Vitals};

use crate::outcome::{Class, Ending, FailureKind, Record, Shown};
use std::collections::BTreeMap;
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

/// The counts of one service and operation, by hour since 1970-01-01 UTC.
///
/// # Examples
///
/// ```
/// use poet_runtime::evidence::{History, Key};
/// use poet_runtime::Ending;
///
/// let mut here = History::default();
/// here.add(480_000, Key::Call(Ending::Done), 3);
/// let mut elsewhere = History::default();
/// elsewhere.add(480_000, Key::Call(Ending::Done), 2);
/// here.merge(&elsewhere);
/// assert_eq!(here.total(Key::Call(Ending::Done)), 5);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    cells: BTreeMap<(i64, Key), u64>,
}

impl History {
    /// Adds `count` to a cell.
    pub fn add(&mut self, hour: i64, key: Key, count: u64) {
        *self.cells.entry((hour, key)).or_default() += count;
    }

    /// Adds every count of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (&(hour, key), &count) in &other.cells {
            self.add(hour, key, count);
        }
    }

    /// Adds what one record says. Returns without adding anything for what is no evidence.
    pub fn observe(&mut self, hour: i64, record: &Record) {
        if let Some(attempt) = &record.attempt
            && let Some(class) = counted(attempt.class)
        {
            if let Some(latency) = latency_key(attempt.class, attempt.elapsed) {
                self.add(hour, latency, 1);
                if let (Key::Censored(bucket), true) = (latency, attempt.at_deadline) {
                    self.add(hour, Key::AtDeadline(bucket), 1);
                }
            }
            // What happens while an outage is probed says nothing about the service when it is up.
            if !attempt.probe {
                self.add(hour, Key::Attempt(class), 1);
                // A permanent refusal says that the request is wrong, not whether asking again helps.
                if let Some(after) = attempt.after
                    && class != AttemptClass::Permanent
                {
                    let n = attempt.ordinal.saturating_sub(1).clamp(1, MAX_COUNTED_RETRY);
                    self.add(hour, Key::Retried(n, after), 1);
                    if class == AttemptClass::Success {
                        self.add(hour, Key::Recovered(n, after), 1);
                    }
                }
            }
        }
        if let Some(call) = &record.call {
            self.add(hour, Key::Call(call.ending), 1);
            match call.shown {
                // What was not answered cannot be compared.
                Some(Shown::Refetched { age, changed }) if matches!(call.ending, Ending::Done | Ending::Batched) => {
                    self.add(hour, if changed { Key::Changed(age) } else { Key::Unchanged(age) }, 1);
                }
                // A batch that failed, or took more than one attempt, says nothing about how long one takes.
                Some(Shown::Batch { items }) if call.ending == Ending::Done && call.attempts == 1 => {
                    let (items, micros) = (u64::from(items), u64::try_from(call.elapsed.as_micros()).unwrap_or(0));
                    for sum in BatchSum::ALL {
                        let value = match sum {
                            BatchSum::Calls => 1,
                            BatchSum::Items => items,
                            BatchSum::ItemsSquared => items * items,
                            BatchSum::Micros => micros,
                            BatchSum::ItemMicros => items.saturating_mul(micros),
                        };
                        self.add(hour, Key::Batch(sum), value);
                    }
                }
                Some(Shown::Refetched { .. } | Shown::Batch { .. }) | None => {}
            }
        }
    }

    /// Every cell, oldest hour first.
    pub fn cells(&self) -> impl DoubleEndedIterator<Item = (i64, Key, u64)> + '_ {
        self.cells.iter().map(|(&(hour, key), &count)| (hour, key, count))
    }

    /// The count of a key over all hours.
    #[must_use]
    pub fn total(&self, key: Key) -> u64 {
        self.cells.iter().filter(|((_, k), _)| *k == key).map(|(_, count)| count).sum()
    }

    /// Attempts of any class over all hours, probes left out.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.cells.iter().filter(|((_, k), _)| matches!(k, Key::Attempt(_))).map(|(_, count)| count).sum()
    }

    /// Forgets every hour before `hour`.
    pub fn forget_before(&mut self, hour: i64) {
        self.cells.retain(|&(h, _), _| h >= hour);
    }

    /// Forgets `hour` and every hour after it.
    pub fn forget_from(&mut self, hour: i64) {
        // The first key of an hour.
        self.cells.split_off(&(hour, Key::Answered(0)));
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

fn counted(class: Class) -> Option<AttemptClass> {
    match class {
        Class::Success => Some(AttemptClass::Success),
        Class::Permanent => Some(AttemptClass::Permanent),
        Class::Cancelled => None,
        other => other.failure().map(AttemptClass::Failure),
    }
}

/// How long the service takes to do its work: a refused connection, a quick 503 or a 404 would say it is fast.
fn latency_key(class: Class, elapsed: Duration) -> Option<Key> {
    let bucket = Sketch::bucket(elapsed);
    match class {
        Class::Success | Class::Invalid => Some(Key::Answered(bucket)),
        Class::Timeout => Some(Key::Censored(bucket)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Attempt, Finished, TargetId};
    use std::time::Instant;

    fn record(attempt: Option<Attempt>, ending: Option<Ending>) -> Record {
        Record {
            target: TargetId(0),
            function: None,
            execution: 1,
            ended: Instant::now(),
            attempt,
            call: ending.map(|ending| Finished {
                ending,
                attempts: 1,
                elapsed: Duration::ZERO,
                timeout: Duration::ZERO,
                retries: 0,
                revision: 0,
                withheld: None,
                shown: None,
            }),
        }
    }

    fn attempt(class: Class) -> Attempt {
        Attempt {
            ordinal: 2,
            class,
            elapsed: Duration::from_millis(5),
            after: Some(FailureKind::Lost),
            probe: false,
            at_deadline: false,
        }
    }

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
    fn forgetting_from_an_hour_on_leaves_the_hours_before_it_whole() {
        let mut history = History::default();
        for hour in 1..=3 {
            for key in [Key::Answered(0), Key::Censored(9), Key::Call(Ending::Cancelled)] {
                history.add(hour, key, 1);
            }
        }
        history.forget_from(2);
        assert_eq!(history.cells().map(|(hour, ..)| hour).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn a_kind_of_a_newer_version_is_no_key() {
        assert_eq!(Key::decode("hedged", 1), None);
        assert_eq!(Key::decode("call", 999), None);
    }

    #[test]
    fn a_retry_that_succeeded_counts_as_tried_and_recovered() {
        let mut history = History::default();
        history.observe(1, &record(Some(attempt(Class::Success)), None));
        assert_eq!(history.total(Key::Retried(1, FailureKind::Lost)), 1);
        assert_eq!(history.total(Key::Recovered(1, FailureKind::Lost)), 1);
    }

    #[test]
    fn a_timeout_is_a_censored_latency_and_not_a_latency() {
        let mut history = History::default();
        history.observe(1, &record(Some(attempt(Class::Timeout)), None));
        let bucket = Sketch::bucket(Duration::from_millis(5));
        assert_eq!(history.total(Key::Censored(bucket)), 1);
        assert_eq!(history.total(Key::Answered(bucket)), 0);
    }

    #[test]
    fn a_wrong_request_says_nothing_about_latency_or_retries() {
        let mut history = History::default();
        history.observe(1, &record(Some(attempt(Class::Permanent)), None));
        assert_eq!(history.cells().collect::<Vec<_>>(), [(1, Key::Attempt(AttemptClass::Permanent), 1)]);
    }

    #[test]
    fn an_attempt_that_the_deadline_ended_is_counted_as_one() {
        let mut history = History::default();
        history.observe(1, &record(Some(Attempt { at_deadline: true, ..attempt(Class::Timeout) }), None));
        history.observe(1, &record(Some(Attempt { at_deadline: true, ..attempt(Class::Success) }), None));
        let bucket = Sketch::bucket(Duration::from_millis(5));
        assert_eq!((history.total(Key::Censored(bucket)), history.total(Key::AtDeadline(bucket))), (1, 1));
    }

    #[test]
    fn a_refusal_or_a_cancelled_attempt_is_no_evidence_about_the_service() {
        let mut history = History::default();
        history.observe(1, &record(None, Some(Ending::CircuitOpen)));
        history.observe(1, &record(Some(attempt(Class::Cancelled)), Some(Ending::Cancelled)));
        assert_eq!(history.attempts(), 0);
        assert_eq!(history.total(Key::Call(Ending::CircuitOpen)), 1);
    }

    #[test]
    fn a_probe_adds_its_latency_but_no_failure_of_the_service_when_it_is_up() {
        let mut history = History::default();
        history.observe(1, &record(Some(Attempt { probe: true, ..attempt(Class::Invalid) }), None));
        assert_eq!(history.attempts(), 0);
        assert_eq!(history.total(Key::Answered(Sketch::bucket(Duration::from_millis(5)))), 1);
    }
}
