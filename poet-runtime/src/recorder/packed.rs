//! A record as it lies in the ring: one cache line with the ring's own mark.
//!
//! A push is paid by every call, and most of it is the line it touches, so times are microseconds in 32 bits (71
//! minutes, more than any deadline) and classes are bytes. What nobody reads from the ring, the wait that a throttling
//! service asked for, is left out.

use crate::outcome::{Attempt, Class, Ending, FailureKind, Finished, Record, TargetId, Withheld};
use crate::site::Declaration;
use std::time::{Duration, Instant};

const ATTEMPT: u8 = 1;
const CALL: u8 = 2;
const PROBE: u8 = 4;
const AT_DEADLINE: u8 = 8;
/// No failure before this attempt; no reason why there was no other.
const NONE: u8 = u8::MAX;

/// A [`Record`] in 56 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    function: Option<&'static Declaration>,
    execution: u64,
    /// Nanoseconds after the recorder's start.
    ended: u64,
    target: u32,
    attempt_took: u32,
    call_took: u32,
    timeout: u32,
    revision: u32,
    holds: u8,
    class: u8,
    after: u8,
    ordinal: u8,
    ending: u8,
    attempts: u8,
    retries: u8,
    withheld: u8,
}

impl Packed {
    #[inline]
    pub(super) fn pack(record: &Record, epoch: Instant) -> Self {
        let mut packed = Self {
            function: record.function,
            execution: record.execution,
            ended: nanos(record.ended.saturating_duration_since(epoch)),
            target: record.target.0,
            attempt_took: 0,
            call_took: 0,
            timeout: 0,
            revision: 0,
            holds: 0,
            class: 0,
            after: NONE,
            ordinal: 0,
            ending: 0,
            attempts: 0,
            retries: 0,
            withheld: NONE,
        };
        if let Some(attempt) = &record.attempt {
            packed.holds |= ATTEMPT;
            packed.holds |= if attempt.probe { PROBE } else { 0 };
            packed.holds |= if attempt.at_deadline { AT_DEADLINE } else { 0 };
            packed.class = class_code(attempt.class);
            packed.after = attempt.after.map_or(NONE, |kind| kind as u8);
            packed.ordinal = attempt.ordinal;
            packed.attempt_took = micros(attempt.elapsed);
        }
        if let Some(call) = &record.call {
            packed.holds |= CALL;
            packed.ending = call.ending as u8;
            packed.attempts = call.attempts;
            packed.retries = call.retries;
            packed.withheld = call.withheld.map_or(NONE, |reason| reason as u8);
            packed.call_took = micros(call.elapsed);
            packed.timeout = micros(call.timeout);
            packed.revision = u32::try_from(call.revision).unwrap_or(u32::MAX);
        }
        packed
    }

    pub(super) fn unpack(&self, epoch: Instant) -> Record {
        let holds = |what: u8| self.holds & what != 0;
        let took = |micros: u32| Duration::from_micros(u64::from(micros));
        Record {
            target: TargetId(self.target),
            function: self.function,
            execution: self.execution,
            ended: epoch + Duration::from_nanos(self.ended),
            attempt: holds(ATTEMPT).then(|| Attempt {
                ordinal: self.ordinal,
                class: class_of(self.class),
                elapsed: took(self.attempt_took),
                after: FailureKind::ALL.get(usize::from(self.after)).copied(),
                probe: holds(PROBE),
                at_deadline: holds(AT_DEADLINE),
            }),
            call: holds(CALL).then(|| Finished {
                ending: Ending::ALL[usize::from(self.ending)],
                attempts: self.attempts,
                elapsed: took(self.call_took),
                timeout: took(self.timeout),
                retries: self.retries,
                revision: u64::from(self.revision),
                withheld: Withheld::ALL.get(usize::from(self.withheld)).copied(),
            }),
        }
    }
}

#[inline]
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

#[inline]
fn micros(duration: Duration) -> u32 {
    let micros = duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()));
    u32::try_from(micros).unwrap_or(u32::MAX)
}

/// Every class a record can hold, at the place of its code.
const CLASSES: [Class; 9] = [
    Class::Success,
    Class::Transient,
    Class::Network { sent: false },
    Class::Network { sent: true },
    Class::Timeout,
    Class::Throttled { retry_after: None },
    Class::Permanent,
    Class::Invalid,
    Class::Cancelled,
];

#[inline]
const fn class_code(class: Class) -> u8 {
    match class {
        Class::Success => 0,
        Class::Transient => 1,
        Class::Network { sent: false } => 2,
        Class::Network { sent: true } => 3,
        Class::Timeout => 4,
        Class::Throttled { .. } => 5,
        Class::Permanent => 6,
        Class::Invalid => 7,
        Class::Cancelled => 8,
    }
}

fn class_of(code: u8) -> Class {
    CLASSES[usize::from(code)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &Record, b: &Record) -> bool {
        format!("{a:?}") == format!("{b:?}")
    }

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let epoch = Instant::now();
        let attempt = Attempt {
            ordinal: 2,
            class: Class::Timeout,
            elapsed: Duration::from_micros(1_234_567),
            after: Some(FailureKind::Lost),
            probe: true,
            at_deadline: true,
        };
        let call = Finished {
            ending: Ending::Fallback,
            attempts: 2,
            elapsed: Duration::from_secs(1_800),
            timeout: Duration::from_millis(300),
            retries: 3,
            revision: 77,
            withheld: Some(Withheld::ServiceBudget),
        };
        let ended = epoch + Duration::from_nanos(123_456_789_012);
        for (attempt, call) in [(Some(attempt), Some(call)), (Some(attempt), None), (None, Some(call))] {
            let record = Record { target: TargetId(9), function: None, execution: u64::MAX, ended, attempt, call };
            assert!(same(&Packed::pack(&record, epoch).unpack(epoch), &record));
        }
    }

    #[test]
    fn every_class_and_ending_has_a_code() {
        for (code, class) in CLASSES.into_iter().enumerate() {
            assert_eq!(usize::from(class_code(class)), code);
        }
        for (code, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, code);
        }
    }

    #[test]
    fn with_the_mark_of_the_ring_it_fills_one_cache_line() {
        assert_eq!(size_of::<Packed>() + size_of::<usize>(), 64);
    }

    #[test]
    fn what_is_longer_than_the_longest_stays_the_longest() {
        assert_eq!(micros(Duration::MAX), u32::MAX);
    }
}
