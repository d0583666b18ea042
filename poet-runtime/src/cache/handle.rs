//! The cache as programs see it: counts, and a way to empty it or switch it off.

use super::Answers;
use crate::runtime::Runtime;
use std::sync::atomic::Ordering;

/// The cache of a [`Runtime`], from [`Runtime::cache`].
///
/// # Examples
///
/// ```
/// use poet_runtime::Runtime;
///
/// # fn main() -> Result<(), poet_runtime::Error> {
/// let runtime = Runtime::builder().in_memory().build()?;
/// let cache = runtime.cache();
/// assert_eq!(cache.stats().hit_rate(), None);
/// cache.set_enabled(false);
/// assert!(!cache.is_enabled());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cache(Runtime);

/// What the cache has done since the process started, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Calls that a fresh answer was found for.
    pub hits: u64,
    /// Calls that an answer past its freshness was given for, while a new one was fetched.
    pub stale_hits: u64,
    /// Calls that might have been answered from the cache, and were not.
    pub misses: u64,
    /// Answers that were kept.
    pub insertions: u64,
    /// Answers that gave way to others, or were too large.
    pub evictions: u64,
    /// Operations whose kept answers were made worthless, counted each time.
    pub invalidations: u64,
    /// Answers that were fetched anew in the background.
    pub revalidations: u64,
    /// Answers that are kept, those included that nobody may use any more and that were not met yet.
    pub entries: u64,
    /// About the bytes they take.
    pub bytes: u64,
}

impl CacheStats {
    /// The share of calls that were answered from the cache, of those that might have been; `None` before the first.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let hits = self.hits + self.stale_hits;
        let asked = hits + self.misses;
        (asked > 0).then(|| hits as f64 / asked as f64)
    }
}

impl Cache {
    /// What it has done, and what it holds.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let Answers { counts, table, .. } = self.answers();
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: read(&counts.hits),
            stale_hits: read(&counts.stale_hits),
            misses: read(&counts.misses),
            insertions: read(&counts.insertions),
            evictions: table.evictions(),
            invalidations: read(&counts.invalidations),
            revalidations: read(&counts.revalidations),
            entries: table.len(),
            bytes: table.bytes(),
        }
    }

    /// Forgets every answer, and keeps none that was asked for before.
    pub fn clear(&self) {
        let answers = self.answers();
        answers.cleared.fetch_max(answers.moment(self.0.clock().now()), Ordering::AcqRel);
        answers.table.retain(|_| false);
    }

    /// Switches the cache off, or on again. While it is off, nothing is given and nothing is kept; what was kept before
    /// is given again afterwards if it is still good.
    pub fn set_enabled(&self, enabled: bool) {
        self.answers().enabled.store(enabled, Ordering::Relaxed);
    }

    /// Whether anything is kept or given.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.answers().is_enabled()
    }

    /// Makes worthless what is kept of one operation, and what was asked for before. Returns whether the operation was
    /// called in this process at all.
    pub fn invalidate(&self, service: &str, operation: &str) -> bool {
        let target = self.0.0.registry.known(service, operation);
        let known = target.is_some();
        self.0.0.invalidate(target, self.now());
        known
    }

    /// [`invalidate`](Self::invalidate) for every operation of a service. Returns how many there were.
    pub fn invalidate_service(&self, service: &str) -> usize {
        let targets = self.0.0.registry.of_service(service);
        let known = targets.len();
        self.0.0.invalidate(targets, self.now());
        known
    }

    fn now(&self) -> u64 {
        self.answers().moment(self.0.clock().now())
    }

    fn answers(&self) -> &Answers {
        &self.0.0.answers
    }
}

impl Runtime {
    /// The cache of answers.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache(self.clone())
    }
}
