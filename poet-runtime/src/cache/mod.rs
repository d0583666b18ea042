//! Keeps answers in memory, within bounds; how fresh they are is decided in [`policy`](crate::policy).
//!
//! The table is `quick_cache`: a hit costs a tenth of one of `moka`, because it only bounds and evicts. What it lacks is
//! decided here, in our clock: an answer is dated by the moment its fetch *began*, and every operation knows the moment
//! before which nothing that was fetched is worth anything. A write moves that moment to its own end, so that a read
//! that raced it is neither given nor kept. Both bounds are one: an answer weighs its bytes, and never less than its
//! share of them, so that as many as are allowed fill the table.

mod handle;
mod table;

pub use handle::{Cache, CacheStats};

use crate::config::{CacheBounds, CacheConfig, ToolConfig};
use crate::evidence::age_bin;
use crate::key::CacheKey;
use crate::lock::lock;
use crate::outcome::Shown;
use crate::policy::cache::Rules;
use crate::profile::Profile;
use crate::target::Target;
use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use table::Table;

/// Answers that are fetched in the background at once, in one process.
const MOST_REFRESHES: usize = 64;
/// Insertions after which what has expired is swept out.
const SWEEP_EVERY: u64 = 1_024;

/// What an answer takes beside itself: its key, its place in the table twice over, since the table has room to spare,
/// its entry, and the counts of two `Arc`s.
const PLACE: u64 = (size_of::<CacheKey>() + 2 * size_of::<Arc<Entry>>() + size_of::<Entry>() + 32) as u64;

/// What was fetched, whatever its type.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// An answer as it is handed over to be kept.
pub(crate) struct Parcel {
    pub(crate) value: Value,
    /// What tells it from another answer; `None` where nobody can tell.
    pub(crate) fingerprint: Option<u64>,
    /// About the bytes it takes.
    pub(crate) bytes: usize,
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A moment in nanoseconds since the cache was made; 0 is before every other.
pub(crate) type Moment = u64;

/// A kept answer.
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// The operation that gave it, where a request is answered without looking for it.
    pub(crate) target: Option<Arc<Target>>,
    /// When its fetch began.
    pub(crate) fetched: Moment,
    /// From when on nobody may use it.
    pub(crate) gone: Moment,
    pub(crate) fingerprint: Option<u64>,
    /// How long the service said that it is valid.
    pub(crate) valid_for: Option<Duration>,
    pub(crate) bytes: u64,
}

impl Entry {
    #[inline]
    pub(crate) fn age(&self, now: Moment) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.fetched))
    }
}

/// What an operation knows about its own answers.
#[derive(Debug, Default)]
pub(crate) struct Caching {
    /// What is configured; `None` where it is not declared cacheable.
    pub(crate) declared: Option<CacheConfig>,
    /// The operations whose kept answers a call of this one makes worthless, as configured.
    pub(crate) invalidates: Vec<String>,
    /// Whether how long its answers stay fresh is learned, so that it has to be measured.
    pub(crate) measured: bool,
    /// The last moment at which a fetch may have begun for nothing.
    valid_after: AtomicU64,
    /// Whether the service has ever said how long an answer is valid.
    server_tells: AtomicBool,
    /// Whether it was said that a write cannot be cached.
    complained: AtomicBool,
}

impl Caching {
    pub(crate) fn new(tool: Option<&ToolConfig>, measured: bool) -> Self {
        let invalidates = tool.map(|tool| tool.invalidates.clone()).unwrap_or_default();
        Self { declared: tool.and_then(|tool| tool.cache), invalidates, measured, ..Self::default() }
    }

    /// What was fetched at this moment or before it is worthless from now on.
    pub(crate) fn invalidate(&self, until: Moment) {
        self.valid_after.fetch_max(until, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn server_tells(&self) -> bool {
        self.server_tells.load(Ordering::Relaxed)
    }

    pub(crate) fn note_server_tells(&self) {
        self.server_tells.store(true, Ordering::Relaxed);
    }

    /// Whether nobody complained before.
    pub(crate) fn complains_first(&self) -> bool {
        !self.complained.swap(true, Ordering::Relaxed)
    }

    /// The rules of an answer that is fresh for `ttl`.
    #[inline]
    pub(crate) fn rules(&self, ttl: Duration, profile: &Profile) -> Rules {
        let declared = self.declared.unwrap_or_default();
        Rules {
            ttl,
            stale_while_revalidate: declared.stale_while_revalidate.unwrap_or(profile.stale_while_revalidate),
            stale_if_error: declared.stale_if_error.unwrap_or(profile.stale_if_error),
        }
    }
}

/// The answers of a runtime.
#[derive(Debug)]
pub(crate) struct Answers {
    epoch: Instant,
    enabled: AtomicBool,
    table: Table,
    /// As [`Caching::valid_after`], for every operation.
    cleared: AtomicU64,
    /// What is being fetched in the background.
    refreshing: Mutex<HashSet<CacheKey>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    stale_hits: AtomicU64,
    misses: AtomicU64,
    insertions: AtomicU64,
    invalidations: AtomicU64,
    revalidations: AtomicU64,
}

/// How a call that may be answered from the cache was, if not by a fresh answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Stale,
    Not,
}

impl Answers {
    pub(crate) fn new(bounds: &CacheBounds, epoch: Instant, is_virtual: bool) -> Self {
        Self {
            epoch,
            enabled: AtomicBool::new(bounds.enabled && bounds.max_entries > 0 && bounds.max_bytes > 0),
            table: Table::new(bounds, is_virtual),
            cleared: AtomicU64::new(0),
            refreshing: Mutex::default(),
            counts: Counts::default(),
        }
    }

    #[inline]
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn moment(&self, at: Instant) -> Moment {
        let since = at.saturating_duration_since(self.epoch);
        // One more, so that no moment is 0; 584 years fit.
        (since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos())).saturating_add(1)
    }

    /// Nanoseconds from the start of the cache, which is the recorder's, to a moment.
    #[inline]
    pub(crate) fn since_epoch(&self, moment: Moment) -> u64 {
        moment.saturating_sub(1)
    }

    /// The kept answer, unless something has made it worthless.
    #[inline]
    pub(crate) fn get(&self, key: CacheKey, caching: &Caching) -> Option<Arc<Entry>> {
        if !key.is_some() {
            return None;
        }
        self.table.get(key).filter(|entry| self.is_valid(entry.fetched, caching))
    }

    /// The kept answer to a request, with the operation that gave it, unless something has made it worthless.
    #[inline]
    pub(crate) fn of_request(&self, key: CacheKey) -> Option<Arc<Entry>> {
        if !key.is_some() {
            return None;
        }
        self.table
            .get(key)
            .filter(|entry| entry.target.as_ref().is_some_and(|target| self.is_valid(entry.fetched, &target.caching)))
    }

    #[inline]
    fn is_valid(&self, fetched: Moment, caching: &Caching) -> bool {
        fetched > self.valid_after(caching)
    }

    /// The last moment at which a fetch of this operation may have begun for nothing.
    #[inline]
    fn valid_after(&self, caching: &Caching) -> Moment {
        caching.valid_after.load(Ordering::Acquire).max(self.cleared.load(Ordering::Acquire))
    }

    /// The key under which calls that begin now share one: who asks after a write does not join who asked before it.
    /// `None` while a write may still be executed, when nobody joins.
    pub(crate) fn shared_key(&self, key: CacheKey, caching: &Caching, now: Moment) -> Option<CacheKey> {
        let valid_after = self.valid_after(caching);
        (key.is_some() && valid_after < now).then(|| key.with(valid_after))
    }

    /// Keeps an answer that was asked for at `entry.fetched`, unless it is worthless by now or older than the kept one.
    /// Returns what it shows beside the one before.
    pub(crate) fn keep(&self, key: CacheKey, mut entry: Entry, caching: &Caching, now: Moment) -> Option<Shown> {
        if !key.is_some() || !self.is_enabled() || !self.is_valid(entry.fetched, caching) {
            return None;
        }
        // One that a write has made worthless was changed by us, which says nothing about how fast the world does it.
        let before = self.table.peek(key).filter(|before| self.is_valid(before.fetched, caching));
        if before.as_ref().is_some_and(|before| before.fetched > entry.fetched) {
            return None;
        }
        let shown = before.and_then(|before| refetched(&before, &entry));
        if entry.gone > now {
            entry.bytes = entry.bytes.saturating_add(PLACE);
            self.table.insert(key, Arc::new(entry));
            let insertions = self.counts.insertions.fetch_add(1, Ordering::Relaxed) + 1;
            if insertions.is_multiple_of(SWEEP_EVERY) {
                self.table.retain(|entry| entry.gone > now);
            }
        }
        shown
    }

    /// Removes an answer that nobody may use any more.
    pub(crate) fn remove_expired(&self, key: CacheKey, now: Moment) {
        self.table.remove_if(key, |entry| entry.gone <= now);
    }

    /// Counts a call that a fresh answer was found for, and gives it the number of its execution: one addition for
    /// both, because it is a tenth of what such a call costs. The numbers are odd; those of other calls are even.
    #[inline]
    pub(crate) fn next_hit(&self) -> u64 {
        self.counts.hits.fetch_add(1, Ordering::Relaxed) << 1 | 1
    }

    #[inline]
    pub(crate) fn count(&self, answered: Answered) {
        let counter = match answered {
            Answered::Stale => &self.counts.stale_hits,
            Answered::Not => &self.counts.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_invalidation(&self) {
        self.counts.invalidations.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the caller is the one to fetch this answer anew: one at a time for each, and so many in all.
    pub(crate) fn may_refresh(&self, key: CacheKey) -> bool {
        let mut refreshing = lock(&self.refreshing);
        let may = refreshing.len() < MOST_REFRESHES && refreshing.insert(key);
        if may {
            self.counts.revalidations.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    pub(crate) fn refreshed(&self, key: CacheKey) {
        lock(&self.refreshing).remove(&key);
    }
}

fn refetched(before: &Entry, entry: &Entry) -> Option<Shown> {
    let changed = before.fingerprint? != entry.fingerprint?;
    Some(Shown::Refetched { age: age_bin(before.age(entry.fetched)), changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(max_entries: u64, max_bytes: u64) -> Answers {
        Answers::new(&CacheBounds { enabled: true, max_entries, max_bytes }, Instant::now(), false)
    }

    fn entry(fetched: Moment, bytes: u64) -> Entry {
        Entry {
            value: Arc::new(()),
            target: None,
            fetched,
            gone: Moment::MAX,
            fingerprint: None,
            valid_for: None,
            bytes,
        }
    }

    #[test]
    fn neither_bound_is_ever_exceeded() {
        for (max_entries, max_bytes, bytes) in [
            (1, 10_000, 8),
            (2, 10_000, 8),
            (10, 1 << 20, 8),
            (1_000, 1 << 20, 8),
            (1_000, 1 << 20, 5_000),
            (100_000, 16_384, 8),
        ] {
            let (answers, caching) = (answers(max_entries, max_bytes), Caching::default());
            for n in 0..3_000_u32 {
                answers.keep(CacheKey::of(&n), entry(1, bytes), &caching, 1);
                let (entries, bytes) = (answers.table.len(), answers.table.bytes());
                assert!(entries <= max_entries && bytes <= max_bytes, "{entries} of {max_entries}, {bytes}");
            }
            assert!(answers.table.len() > 0, "something is kept within {max_entries} and {max_bytes}");
            assert_eq!(answers.table.len() + answers.table.evictions(), 3_000);
        }
    }

    #[test]
    fn an_answer_too_large_for_the_table_is_not_kept() {
        let (answers, caching) = (answers(10, 1_000), Caching::default());
        answers.keep(CacheKey::of(&1), entry(1, 2_000), &caching, 1);
        assert!(answers.get(CacheKey::of(&1), &caching).is_none());
        assert_eq!((answers.table.len(), answers.table.bytes()), (0, 0));
    }

    #[test]
    fn what_was_asked_for_before_an_invalidation_is_neither_given_nor_kept() {
        let (answers, caching, key) = (answers(10, 1 << 20), Caching::default(), CacheKey::of(&1));
        answers.keep(key, entry(5, 8), &caching, 6);
        assert!(answers.get(key, &caching).is_some());
        caching.invalidate(5);
        assert!(answers.get(key, &caching).is_none());
        answers.keep(key, entry(4, 8), &caching, 6);
        assert!(answers.get(key, &caching).is_none());
        caching.invalidate(3);
        answers.keep(key, entry(6, 8), &caching, 6);
        assert!(answers.get(key, &caching).is_some(), "a moment never moves back");
    }

    #[test]
    fn an_older_answer_does_not_take_the_place_of_a_newer_one() {
        let (answers, caching, key) = (answers(10, 1 << 20), Caching::default(), CacheKey::of(&1));
        answers.keep(key, entry(9, 8), &caching, 10);
        answers.keep(key, entry(4, 8), &caching, 10);
        assert_eq!(answers.get(key, &caching).unwrap().fetched, 9);
    }

    #[test]
    fn what_has_expired_is_swept_out_in_time() {
        let (answers, caching) = (answers(10_000, 64 << 20), Caching::default());
        for n in 0..100 {
            answers.keep(CacheKey::of(&n), Entry { gone: 50, ..entry(1, 8) }, &caching, 1);
        }
        for n in 100..100 + SWEEP_EVERY {
            answers.keep(CacheKey::of(&n), entry(1, 8), &caching, 50);
        }
        // The last of them swept, or the 924th did.
        assert!(answers.table.len() <= SWEEP_EVERY, "{}", answers.table.len());
        assert_eq!(answers.table.evictions(), 0);
    }

    #[test]
    fn an_answer_is_fetched_anew_by_one_caller_at_a_time() {
        let answers = answers(10, 1 << 20);
        let key = CacheKey::of(&1);
        assert!(answers.may_refresh(key) && !answers.may_refresh(key));
        answers.refreshed(key);
        assert!(answers.may_refresh(key));
        let most = (2..1_000).filter(|n| answers.may_refresh(CacheKey::of(n))).count();
        assert_eq!(most, MOST_REFRESHES - 1);
    }
}
