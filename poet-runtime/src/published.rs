//! The values in force, as every call reads them: a version and a few words, without a lock and without a reference.
//!
//! A sequence lock (Boehm 2012, "Can seqlocks get along with programming language memory models?"): the writer makes
//! the version odd, writes, and makes it even; a reader that saw an odd version, or two different ones, reads again.
//! Every word is an atomic, so a torn read is only ever discarded. Reading costs a third of an `ArcSwap` load, which is
//! paid by every call; writing is rare, and whoever writes holds the lock of the learned rows.

use crate::outcome::FailureKind;
use crate::parameter::{Growth, Values};
use std::hint;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

const WORDS: usize = 15;
const REVISION: usize = 7;
const CACHE_TTL: usize = 8;
const NANOS: u32 = 30;

/// One set of [`Values`], published.
#[derive(Debug)]
pub(crate) struct Published {
    version: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Published {
    pub(crate) fn new(values: &Values) -> Self {
        Self { version: AtomicU64::new(0), words: encode(values).map(AtomicU64::new) }
    }

    /// The values in force.
    #[inline]
    pub(crate) fn load(&self) -> Values {
        decode(&self.read(|words| words.each_ref().map(|word| word.load(Ordering::Relaxed))))
    }

    /// How long an answer is fresh, and the revision of the values in force: all that an answer from the cache needs.
    #[inline]
    pub(crate) fn cache_ttl(&self) -> (Duration, u64) {
        let [ttl, revision] =
            self.read(|words| [CACHE_TTL, REVISION].map(|index| words[index].load(Ordering::Relaxed)));
        (duration(ttl), revision)
    }

    #[inline]
    fn read<R>(&self, words: impl Fn(&[AtomicU64; WORDS]) -> R) -> R {
        loop {
            let before = self.version.load(Ordering::Acquire);
            let read = words(&self.words);
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return read;
            }
            hint::spin_loop();
        }
    }

    /// Puts values in force. One writer at a time.
    pub(crate) fn store(&self, values: &Values) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(encode(values)) {
            word.store(value, Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

fn encode(values: &Values) -> [u64; WORDS] {
    let mut retries = [0; 8];
    retries[..FailureKind::ALL.len()].copy_from_slice(&values.max_retries);
    retries[6] = values.held_out;
    retries[7] = u8::from(values.attempt_timeout_pinned) | u8::from(values.progress_extends) << 1;
    let [a, b, c, d, e, f] = values.failure_threshold;
    [
        u64::from_le_bytes(retries),
        word(values.attempt_timeout),
        word(values.base_delay),
        word(values.max_delay),
        word(values.deadline),
        word(values.open_for),
        four([a, b, c, d]),
        values.revision,
        word(values.cache_ttl),
        word(values.batch_window),
        u64::from(values.batch_threshold) << 32 | u64::from(values.batch_max_size),
        four([e, f, share(values.success_credit), thousandths(values.open_growth)]),
        four([
            values.concurrency_limit,
            thousandths(values.open_ratio),
            step(values.growth),
            u16::try_from(values.success_threshold).unwrap_or(u16::MAX),
        ]),
        word(values.hedge_delay),
        u64::from(values.defer_hours) << 32 | u64::from(values.defer_weekdays) << 16 | u64::from(values.defer_monthly),
    ]
}

#[inline]
fn decode(words: &[u64; WORDS]) -> Values {
    let retries = words[0].to_le_bytes();
    let mut max_retries = [0; FailureKind::ALL.len()];
    max_retries.copy_from_slice(&retries[..FailureKind::ALL.len()]);
    Values {
        max_retries,
        attempt_timeout: duration(words[1]),
        attempt_timeout_pinned: retries[7] & 1 != 0,
        progress_extends: retries[7] & 2 != 0,
        base_delay: duration(words[2]),
        max_delay: duration(words[3]),
        growth: growth(quarter(words[12], 2)),
        deadline: duration(words[4]),
        open_for: duration(words[5]),
        failure_threshold: [
            quarter(words[6], 0),
            quarter(words[6], 1),
            quarter(words[6], 2),
            quarter(words[6], 3),
            quarter(words[11], 0),
            quarter(words[11], 1),
        ],
        success_credit: f64::from(quarter(words[11], 2)) / f64::from(u16::MAX),
        open_growth: f64::from(quarter(words[11], 3)) / 1_000.0,
        open_ratio: f64::from(quarter(words[12], 1)) / 1_000.0,
        success_threshold: u32::from(quarter(words[12], 3)),
        concurrency_limit: quarter(words[12], 0),
        revision: words[REVISION],
        cache_ttl: duration(words[CACHE_TTL]),
        batch_window: duration(words[9]),
        batch_threshold: (words[10] >> 32) as u32,
        batch_max_size: words[10] as u32,
        hedge_delay: duration(words[13]),
        defer_hours: (words[14] >> 32) as u32,
        defer_weekdays: quarter(words[14], 1) as u8,
        defer_monthly: quarter(words[14], 0),
        held_out: retries[6],
    }
}

/// Milliseconds; 0 stands for doubling.
fn step(growth: Growth) -> u16 {
    match growth {
        Growth::Doubling => 0,
        Growth::By(step) => u16::try_from(step.as_millis()).unwrap_or(u16::MAX).max(1),
    }
}

#[inline]
fn growth(step: u16) -> Growth {
    if step == 0 { Growth::Doubling } else { Growth::By(Duration::from_millis(u64::from(step))) }
}

fn four(parts: [u16; 4]) -> u64 {
    parts.into_iter().rev().fold(0, |word, part| word << 16 | u64::from(part))
}

#[inline]
fn quarter(word: u64, index: u32) -> u16 {
    (word >> (16 * index)) as u16
}

/// Of 65,535 parts. Finer than any estimate.
fn share(part: f64) -> u16 {
    (part * f64::from(u16::MAX)).round() as u16
}

fn thousandths(factor: f64) -> u16 {
    (factor * 1_000.0).round() as u16
}

/// Seconds above nanoseconds, so that neither way needs a division; 544 years at most.
fn word(duration: Duration) -> u64 {
    duration.as_secs().min((1 << (64 - NANOS)) - 1) << NANOS | u64::from(duration.subsec_nanos())
}

#[inline]
fn duration(word: u64) -> Duration {
    Duration::new(word >> NANOS, (word & ((1 << NANOS) - 1)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use std::sync::Arc;

    fn values(n: u32) -> Values {
        Values {
            max_retries: [n as u8; FailureKind::ALL.len()],
            attempt_timeout: Duration::new(u64::from(n), n),
            attempt_timeout_pinned: n % 2 == 1,
            progress_extends: n % 3 == 1,
            base_delay: Duration::from_millis(u64::from(n)),
            max_delay: Duration::from_micros(u64::from(n)),
            growth: growth(n as u16),
            deadline: Duration::from_secs(u64::from(n)),
            failure_threshold: [n as u16, 1, 2, n as u16, 4, n as u16],
            success_credit: 1.0 / f64::from(1 << (n % 2)),
            open_growth: f64::from(n % 3 + 1),
            open_ratio: f64::from(n % 5) / 8.0,
            open_for: Duration::new(7, n),
            success_threshold: n.min(9_999),
            revision: u64::from(n),
            cache_ttl: Duration::new(u64::from(n), 1),
            batch_threshold: n,
            batch_window: Duration::new(1, n),
            batch_max_size: n + 1,
            hedge_delay: Duration::from_millis(u64::from(n)),
            concurrency_limit: n as u16,
            defer_hours: n,
            defer_weekdays: n as u8,
            defer_monthly: n as u16,
            held_out: n as u8,
        }
    }

    /// A share is published as one of 65,535.
    fn same(read: &Values, written: &Values) {
        assert!((read.success_credit - written.success_credit).abs() < 1e-4);
        assert_eq!(Values { success_credit: written.success_credit, ..read.clone() }, *written);
    }

    #[test]
    fn what_is_published_is_what_is_read() {
        let published = Published::new(&Values::of(Profile::GENERAL));
        assert_eq!(published.load(), Values::of(Profile::GENERAL));
        for n in [0, 1, 250, 999_999_999] {
            published.store(&values(n));
            same(&published.load(), &values(n));
            assert_eq!(published.cache_ttl(), (values(n).cache_ttl, values(n).revision));
        }
    }

    #[test]
    fn a_reader_never_sees_half_of_a_change() {
        let published = Arc::new(Published::new(&values(0)));
        let writer = published.clone();
        let writing = std::thread::spawn(move || (0..200_000).for_each(|n| writer.store(&values(n % 200))));
        while !writing.is_finished() {
            let read = published.load();
            same(&read, &values(read.success_threshold));
        }
        writing.join().unwrap();
    }
}
