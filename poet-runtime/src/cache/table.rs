//! The bounded table that answers lie in.

use super::Entry;
use crate::config::CacheBounds;
use crate::key::CacheKey;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest part of the table that is under one lock, so that one large answer has room in it.
const SHARD_BYTES: u64 = 4 << 20;

pub(super) struct Table {
    cache: Cache<CacheKey, Arc<Entry>, Share, HashedBefore, Tally>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    evictions: AtomicU64,
}

impl Counts {
    fn leaves(&self, entry: &Entry) {
        self.bytes.fetch_sub(entry.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("entries", &self.len()).field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Table {
    /// What is evicted where there are several shards depends on which of them a key is hashed to, and the hash is
    /// secret: with one shard it depends on the calls alone.
    pub(super) fn new(bounds: &CacheBounds, one_shard: bool) -> Self {
        let (entries, bytes) = (bounds.max_entries.max(1), bounds.max_bytes.max(1));
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let shards = if one_shard { 1 } else { (cores * 4).min(bytes / SHARD_BYTES).max(1) };
        // A power of two that divides the bytes: the table rounds both up.
        let shards = 1 << shards.ilog2();
        let mut options = OptionsBuilder::new();
        options
            .shards(shards as usize)
            .estimated_items_capacity(usize::try_from(entries).unwrap_or(usize::MAX))
            .weight_capacity((bytes / shards * shards).max(1));
        // The table refuses what weighs more than its hot part, which one of few answers does.
        if entries < 64 {
            options.hot_allocation(1.0);
        }
        let options = options.build().expect("both capacities are given");
        let counts = Arc::<Counts>::default();
        let least = bytes.div_ceil(entries);
        Self { cache: Cache::with_options(options, Share { least }, HashedBefore, Tally(counts.clone())), counts }
    }

    #[inline]
    pub(super) fn get(&self, key: CacheKey) -> Option<Arc<Entry>> {
        self.cache.get(&key)
    }

    /// [`get`](Self::get) without counting as a use.
    pub(super) fn peek(&self, key: CacheKey) -> Option<Arc<Entry>> {
        self.cache.peek(&key)
    }

    pub(super) fn insert(&self, key: CacheKey, entry: Arc<Entry>) {
        self.counts.bytes.fetch_add(entry.bytes, Ordering::Relaxed);
        let mut displaced = Displaced { by: Some((key, entry.fetched)), entries: Vec::new() };
        self.cache.insert_with_lifecycle(key, entry, &mut displaced);
    }

    pub(super) fn remove_if(&self, key: CacheKey, expired: impl FnOnce(&Entry) -> bool) {
        if let Some((_, entry)) = self.cache.remove_if(&key, |entry| expired(entry)) {
            self.counts.leaves(&entry);
        }
    }

    pub(super) fn retain(&self, stays: impl Fn(&Entry) -> bool) {
        self.cache.retain(|_, entry| {
            let stays = stays(entry);
            if !stays {
                self.counts.leaves(entry);
            }
            stays
        });
    }

    pub(super) fn len(&self) -> u64 {
        self.cache.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn evictions(&self) -> u64 {
        self.counts.evictions.load(Ordering::Relaxed)
    }
}

/// What an answer weighs.
#[derive(Clone)]
struct Share {
    least: u64,
}

impl Weighter<CacheKey, Arc<Entry>> for Share {
    fn weight(&self, _: &CacheKey, entry: &Arc<Entry>) -> u64 {
        entry.bytes.max(self.least)
    }
}

/// Counts what leaves the table to make room.
#[derive(Clone)]
struct Tally(Arc<Counts>);

/// What one insertion displaced, dropped after the lock is.
#[derive(Default)]
struct Displaced {
    by: Option<(CacheKey, u64)>,
    entries: Vec<Arc<Entry>>,
}

impl Lifecycle<CacheKey, Arc<Entry>> for Tally {
    type RequestState = Displaced;

    fn on_evict(&self, displaced: &mut Displaced, key: CacheKey, entry: Arc<Entry>) {
        self.0.leaves(&entry);
        // An answer that takes the place of an older one to the same call evicts nothing.
        let replaced = displaced.by.is_some_and(|(by, fetched)| by == key && entry.fetched < fetched);
        if !replaced {
            self.0.evictions.fetch_add(1, Ordering::Relaxed);
        }
        displaced.entries.push(entry);
    }
}

/// Keys are hashes already.
#[derive(Clone)]
struct HashedBefore;

impl BuildHasher for HashedBefore {
    type Hasher = Half;

    #[inline]
    fn build_hasher(&self) -> Half {
        Half(0)
    }
}

/// Takes half of a key, which is as good as random.
struct Half(u64);

impl Hasher for Half {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
