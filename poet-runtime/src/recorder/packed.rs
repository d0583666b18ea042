//! A record as it lies in the ring: one cache line with the ring's own mark.
//!
//! A push is paid by every call, and most of it is the line it touches, so times are microseconds in 32 bits (71
//! minutes, more than any deadline) and classes are bytes. What nobody reads from the ring, the wait that a throttling
//! service asked for, is left out.

use super::{Cached, Needed};
use crate::evidence::WAIT_BINS;
use crate::outcome::{
    Arm, Attempt, Class, Ending, FailureKind, Finished, Hedge, Record, Shown, TargetId, Turn, Withheld,
};
use crate::site::Declaration;
use std::time::{Duration, Instant};

const ATTEMPT: u8 = 1;
const CALL: u8 = 2;
const PROBE: u8 = 4;
const AT_DEADLINE: u8 = 8;
const REFETCHED: u8 = 16;
const CHANGED: u8 = 32;
const BATCH: u8 = 64;
const RELAPSED: u8 = 128;
/// Of `ordinal`, the part that counts attempts; above it the bin of the wait before, one up.
const ORDINAL: u8 = 31;
const WAITED: u32 = 5;
/// The part of `ended` that is too fine to date anything by, and carries marks instead.
const MARKS: u64 = 0xff;
/// In the marks: the load in the lower half, then the arm, then the hedge.
const ARM: u32 = 4;
const HEDGE: u32 = 6;
/// No failure before this attempt; no reason why there was no other. Half a byte, as what it stands for.
const NONE: u8 = 15;

/// The highest byte of `execution` in what is neither an attempt nor a call, where it holds something: what a circuit
/// did that opened, or what a function needed.
const OPENED: u8 = 1;
const NEEDED: u8 = 2;
/// Of what a function needed: that it called more than is told apart, that the call failed, that itself did.
const BEYOND: u8 = 1;
const CALL_FAILED: u8 = 2;
const FAILED: u8 = 4;

/// A [`Record`] in 56 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    function: Option<&'static Declaration>,
    execution: u64,
    /// Nanoseconds after the recorder's start, in steps of 256; marks in the lowest byte.
    ended: u64,
    target: u32,
    attempt_took: u32,
    call_took: u32,
    timeout: u32,
    revision: u32,
    /// The longest silence of an attempt that was not silent throughout, at least one; else 0.
    silent: u32,
    holds: u8,
    /// The class in the lower half, the failure before in the upper.
    class_after: u8,
    ordinal: u8,
    attempts: u8,
    /// The ending in the lower half, the reason why there was no other attempt in the upper.
    ending_withheld: u8,
    retries: u8,
    /// The age of the answer before, or the items of a batch.
    shown: u16,
}

impl Packed {
    #[inline]
    pub(super) fn pack(record: &Record, epoch: Instant) -> Self {
        let mut packed = Self {
            function: record.function,
            execution: record.execution,
            ended: nanos(record.ended.saturating_duration_since(epoch)) & !MARKS,
            target: record.target.0,
            attempt_took: 0,
            call_took: 0,
            timeout: 0,
            revision: 0,
            silent: 0,
            holds: 0,
            class_after: NONE << 4,
            ordinal: 0,
            attempts: 0,
            ending_withheld: NONE << 4,
            retries: 0,
            shown: 0,
        };
        if let Some(attempt) = &record.attempt {
            packed.holds |= ATTEMPT;
            packed.holds |= if attempt.probe { PROBE } else { 0 };
            packed.holds |= if attempt.at_deadline { AT_DEADLINE } else { 0 };
            packed.class_after = class_code(attempt.class) | attempt.after.map_or(NONE, |kind| kind as u8) << 4;
            packed.ordinal =
                attempt.ordinal.min(ORDINAL) | attempt.waited.map_or(0, |bin| bin.min(WAIT_BINS - 1) + 1) << WAITED;
            packed.ended |= u64::from(attempt.load.min(15)) | u64::from(attempt.hedge as u8) << HEDGE;
            packed.attempt_took = micros(attempt.elapsed);
            packed.silent = attempt.silent.map_or(0, |silent| micros(silent).max(1));
        }
        if let Some(call) = &record.call {
            packed.holds |= CALL;
            packed.ending_withheld = call.ending as u8 | call.withheld.map_or(NONE, |reason| reason as u8) << 4;
            packed.attempts = call.attempts;
            packed.retries = call.retries;
            packed.ended |= u64::from(call.arm as u8) << ARM;
            match call.shown {
                None => {}
                Some(Shown::Refetched { age, changed }) => {
                    packed.holds |= REFETCHED | if changed { CHANGED } else { 0 };
                    packed.shown = u16::from(age);
                }
                Some(Shown::Batch { items }) => {
                    packed.holds |= BATCH;
                    packed.shown = items;
                }
            }
            packed.call_took = micros(call.elapsed);
            packed.timeout = micros(call.timeout);
            packed.revision = u32::try_from(call.revision).unwrap_or(u32::MAX);
        }
        if let Some(turn) = &record.turn {
            packed.turn(turn);
        }
        packed
    }

    /// Neither an attempt nor a call: what it holds is what a circuit did.
    #[cold]
    fn turn(&mut self, turn: &Turn) {
        self.holds = 0;
        match *turn {
            Turn::Opened { blamed, relapsed } => {
                let mut bytes = [0; 8];
                bytes[..blamed.len()].copy_from_slice(&blamed);
                bytes[7] = OPENED;
                self.execution = u64::from_le_bytes(bytes);
                self.holds = if relapsed { RELAPSED } else { 0 };
            }
            Turn::Closed { down_for, back_after } => {
                self.execution = 0;
                (self.attempt_took, self.call_took) = (millis(down_for), millis(back_after));
            }
        }
    }

    fn turned(&self) -> Turn {
        let bytes = self.execution.to_le_bytes();
        if bytes[7] != OPENED {
            let took = |millis: u32| Duration::from_millis(u64::from(millis));
            return Turn::Closed { down_for: took(self.attempt_took), back_after: took(self.call_took) };
        }
        let mut blamed = [0; FailureKind::ALL.len()];
        blamed.copy_from_slice(&bytes[..FailureKind::ALL.len()]);
        Turn::Opened { blamed, relapsed: self.holds & RELAPSED != 0 }
    }

    /// [`pack`](Self::pack) of a call that the cache answered.
    #[inline]
    pub(super) fn cached(cached: &Cached) -> Self {
        Self {
            function: cached.function,
            execution: cached.execution,
            ended: cached.ended & !MARKS,
            target: cached.target.0,
            attempt_took: 0,
            call_took: 0,
            timeout: 0,
            revision: u32::try_from(cached.revision).unwrap_or(u32::MAX),
            silent: 0,
            holds: CALL,
            class_after: NONE << 4,
            ordinal: 0,
            attempts: 0,
            ending_withheld: Ending::Cached as u8 | NONE << 4,
            retries: 0,
            shown: 0,
        }
    }

    /// What a function needed. Neither an attempt nor a call either.
    #[cold]
    pub(super) fn needed(needed: &Needed, epoch: Instant) -> Self {
        let mut packed = Self::pack(&Record::new(needed.function, 0, needed.ended), epoch);
        let (operation, mut marks) = match needed.operation {
            None => (0, BEYOND),
            Some((operation, failed)) => (operation.0, if failed { CALL_FAILED } else { 0 }),
        };
        marks |= if needed.failed { FAILED } else { 0 };
        let [a, b, c, d] = operation.to_le_bytes();
        packed.execution = u64::from_le_bytes([a, b, c, d, marks, 0, 0, NEEDED]);
        packed
    }

    /// What a function needed, where it is that.
    #[inline]
    pub(super) fn as_needed(&self, epoch: Instant) -> Option<Needed> {
        if self.holds & (ATTEMPT | CALL) != 0 {
            return None;
        }
        let [a, b, c, d, marks, _, _, NEEDED] = self.execution.to_le_bytes() else { return None };
        let operation = (TargetId(u32::from_le_bytes([a, b, c, d])), marks & CALL_FAILED != 0);
        Some(Needed {
            function: TargetId(self.target),
            operation: (marks & BEYOND == 0).then_some(operation),
            failed: marks & FAILED != 0,
            ended: epoch + Duration::from_nanos(self.ended & !MARKS),
        })
    }

    pub(super) fn unpack(&self, epoch: Instant) -> Record {
        let holds = |what: u8| self.holds & what != 0;
        let took = |micros: u32| Duration::from_micros(u64::from(micros));
        let marks = self.ended & MARKS;
        let is_turn = !holds(ATTEMPT) && !holds(CALL);
        Record {
            target: TargetId(self.target),
            function: self.function,
            execution: if is_turn { 0 } else { self.execution },
            ended: epoch + Duration::from_nanos(self.ended & !MARKS),
            turn: is_turn.then(|| self.turned()),
            attempt: holds(ATTEMPT).then(|| Attempt {
                ordinal: self.ordinal & ORDINAL,
                class: class_of(self.class_after & 15),
                elapsed: took(self.attempt_took),
                after: FailureKind::ALL.get(usize::from(self.class_after >> 4)).copied(),
                probe: holds(PROBE),
                at_deadline: holds(AT_DEADLINE),
                waited: (self.ordinal >> WAITED).checked_sub(1),
                load: (marks & 15) as u8,
                hedge: Hedge::ALL[((marks >> HEDGE) as usize & 3).min(Hedge::ALL.len() - 1)],
                silent: Some(took(self.silent)).filter(|silent| !silent.is_zero()),
            }),
            call: holds(CALL).then(|| Finished {
                ending: Ending::ALL[usize::from(self.ending_withheld & 15)],
                attempts: self.attempts,
                elapsed: took(self.call_took),
                timeout: took(self.timeout),
                retries: self.retries,
                revision: u64::from(self.revision),
                withheld: Withheld::ALL.get(usize::from(self.ending_withheld >> 4)).copied(),
                shown: match (holds(REFETCHED), holds(BATCH)) {
                    (true, _) => Some(Shown::Refetched { age: self.shown as u8, changed: holds(CHANGED) }),
                    (_, true) => Some(Shown::Batch { items: self.shown }),
                    _ => None,
                },
                arm: Arm::ALL[((marks >> ARM) as usize & 3).min(Arm::ALL.len() - 1)],
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

#[inline]
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
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
            waited: Some(WAIT_BINS - 1),
            load: 10,
            hedge: Hedge::Won,
            silent: Some(Duration::from_millis(300)),
        };
        let call = Finished {
            ending: Ending::Fallback,
            attempts: 2,
            elapsed: Duration::from_secs(1_800),
            timeout: Duration::from_millis(300),
            retries: 3,
            revision: 77,
            withheld: Some(Withheld::ServiceBudget),
            shown: Some(Shown::Refetched { age: 47, changed: true }),
            arm: Arm::HeldOut,
        };
        let ended = epoch + Duration::from_nanos(123_456_789_012 / 256 * 256);
        let batch =
            Finished { shown: Some(Shown::Batch { items: 1_000 }), withheld: None, ending: Ending::Queued, ..call };
        for (attempt, call) in
            [(Some(attempt), Some(call)), (Some(attempt), None), (None, Some(call)), (Some(attempt), Some(batch))]
        {
            let record =
                Record { target: TargetId(9), function: None, execution: u64::MAX, ended, attempt, call, turn: None };
            assert!(same(&Packed::pack(&record, epoch).unpack(epoch), &record));
        }
    }

    #[test]
    fn what_a_circuit_did_comes_out_as_it_went_in() {
        let epoch = Instant::now();
        let opened = |relapsed| Turn::Opened { blamed: [0, 255, 1, 4, 0, 9], relapsed };
        let closed =
            Turn::Closed { down_for: Duration::from_secs(86_400 * 3), back_after: Duration::from_secs(86_400 * 4) };
        for turn in [opened(true), opened(false), closed] {
            let record = Record {
                target: TargetId(9),
                function: None,
                execution: 0,
                ended: epoch,
                attempt: None,
                call: None,
                turn: Some(turn),
            };
            assert!(same(&Packed::pack(&record, epoch).unpack(epoch), &record), "{turn:?}");
        }
    }

    #[test]
    fn an_answer_from_the_cache_is_packed_as_any_other_record_of_one() {
        let epoch = Instant::now();
        let cached = Cached {
            target: TargetId(9),
            function: None,
            execution: 7,
            ended: 1_234_567_890 / 256 * 256,
            revision: 77,
        };
        let record = Record {
            target: cached.target,
            function: cached.function,
            execution: cached.execution,
            ended: epoch + Duration::from_nanos(cached.ended),
            attempt: None,
            call: Some(Finished {
                ending: Ending::Cached,
                attempts: 0,
                elapsed: Duration::ZERO,
                timeout: Duration::ZERO,
                retries: 0,
                revision: cached.revision,
                withheld: None,
                shown: None,
                arm: Arm::InForce,
            }),
            turn: None,
        };
        assert!(same(&Packed::cached(&cached).unpack(epoch), &record));
        assert_eq!(format!("{:?}", Packed::cached(&cached)), format!("{:?}", Packed::pack(&record, epoch)));
    }

    #[test]
    fn what_a_function_needed_comes_out_as_it_went_in_and_is_told_from_all_else() {
        let epoch = Instant::now();
        let ended = epoch + Duration::from_nanos(123_456_789_012 / 256 * 256);
        let operations = [None, Some((TargetId(0), false)), Some((TargetId(u32::MAX), true))];
        for (operation, failed) in operations.into_iter().flat_map(|operation| [(operation, true), (operation, false)])
        {
            let needed = Needed { function: TargetId(9), operation, failed, ended };
            assert_eq!(Packed::needed(&needed, epoch).as_needed(epoch), Some(needed));
        }
        let opened = Turn::Opened { blamed: [2; FailureKind::ALL.len()], relapsed: false };
        let closed = Turn::Closed { down_for: Duration::ZERO, back_after: Duration::ZERO };
        for turn in [opened, closed] {
            let record = Record { turn: Some(turn), ..Record::new(TargetId(9), 0, epoch) };
            assert_eq!(Packed::pack(&record, epoch).as_needed(epoch), None);
        }
        let call = Record {
            call: Some(Finished::of(Ending::Done)),
            ..Record::new(TargetId(9), u64::from(NEEDED) << 56, epoch)
        };
        assert_eq!(Packed::pack(&call, epoch).as_needed(epoch), None);
    }

    #[test]
    fn every_class_and_ending_has_a_code() {
        for (code, class) in CLASSES.into_iter().enumerate() {
            assert_eq!(usize::from(class_code(class)), code);
        }
        for (code, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, code);
        }
        assert!(Ending::ALL.len() <= 16 && Withheld::ALL.len() < 16 && CLASSES.len() <= 16, "each has half a byte");
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
