//! What bounds the process: its cache and its queue.

use super::path::Path;
use super::read::{Field, Hints, Reader};
use super::{CacheBounds, QueueConfig, bytes, duration};
use std::ops::RangeInclusive;
use std::time::Duration;

const ENTRIES: RangeInclusive<u32> = 1..=10_000_000;
const CONCURRENCY: RangeInclusive<u32> = 1..=256;
const LEASE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
const BACKOFF: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);
const ATTEMPTS: RangeInclusive<u32> = 1..=1_000;
const KEPT: RangeInclusive<Duration> = Duration::from_secs(1)..=duration::LONGEST;

const CACHE_HINTS: Hints = &[
    ("max_size", "there is no such key; write `max_entries` or `max_bytes`"),
    ("ttl", "there is no such key; write `cache = \"5m\"` of a tool, or `pin.\"cache.ttl\"` of a service"),
    ("type", "other caches than memory are not built yet; remove the key"),
];
const QUEUE_HINTS: Hints = &[("max_retries", "there is no such key; write `max_attempts`")];

/// What is written, over `bounds`.
pub(super) fn cache(reader: &mut Reader<'_>, field: &Field<'_>, mut bounds: CacheBounds) -> CacheBounds {
    let Some(mut table) = reader.table(field) else {
        return bounds;
    };
    if let Some(enabled) = table.take("enabled").and_then(|field| reader.flag(&field)) {
        bounds.enabled = enabled;
    }
    if let Some(most) = table.take("max_entries").and_then(|field| reader.count(&field, ENTRIES)) {
        bounds.max_entries = u64::from(most);
    }
    if let Some(most) = table.take("max_bytes").and_then(|field| reader.bytes(&field)) {
        bounds.max_bytes = most;
    }
    reader.refuse_rest(&table, CACHE_HINTS);
    bounds
}

/// What is written, over `queue`.
pub(super) fn queue(reader: &mut Reader<'_>, field: &Field<'_>, mut queue: QueueConfig) -> QueueConfig {
    let Some(mut table) = reader.table(field) else {
        return queue;
    };
    if let Some(work) = table.take("work").and_then(|field| reader.flag(&field)) {
        queue.work = work;
    }
    if let Some(jobs) = table.take("concurrency").and_then(|field| reader.count(&field, CONCURRENCY)) {
        queue.concurrency = jobs as usize;
    }
    if let Some(lease) = table.take("lease").and_then(|field| reader.duration(&field, &LEASE)) {
        queue.lease = lease;
    }
    if let Some(most) = table.take("max_pending").and_then(|field| reader.count(&field, ENTRIES)) {
        queue.max_pending = u64::from(most);
    }
    if let Some(wait) = table.take("backoff").and_then(|field| reader.duration(&field, &BACKOFF)) {
        queue.backoff = wait;
    }
    if let Some(most) = table.take("max_attempts").and_then(|field| reader.count(&field, ATTEMPTS)) {
        queue.max_attempts = most;
    }
    if let Some(age) = table.take("expire_after").and_then(|field| reader.duration(&field, &KEPT)) {
        queue.expire_after = age;
    }
    if let Some(age) = table.take("keep").and_then(|field| reader.duration(&field, &KEPT)) {
        queue.keep = age;
    }
    reader.refuse_rest(&table, QUEUE_HINTS);
    queue
}

/// What a program set beyond what a file may say.
pub(super) fn problems(cache: &CacheBounds, queue: &QueueConfig) -> Vec<String> {
    let max_bytes = (!bytes::is_allowed(cache.max_bytes))
        .then(|| format!("cache.max_bytes: expected {}, found {}", bytes::ALLOWED, cache.max_bytes));
    [
        count("cache", "max_entries", cache.max_entries, &ENTRIES),
        max_bytes,
        count("queue", "concurrency", queue.concurrency as u64, &CONCURRENCY),
        length(&Path::of(&["queue", "lease"]), queue.lease, &LEASE),
        count("queue", "max_pending", queue.max_pending, &ENTRIES),
        length(&Path::of(&["queue", "backoff"]), queue.backoff, &BACKOFF),
        count("queue", "max_attempts", u64::from(queue.max_attempts), &ATTEMPTS),
        length(&Path::of(&["queue", "expire_after"]), queue.expire_after, &KEPT),
        length(&Path::of(&["queue", "keep"]), queue.keep, &KEPT),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is wrong with a number that a program set.
pub(super) fn count(table: &str, key: &str, found: u64, allowed: &RangeInclusive<u32>) -> Option<String> {
    let (from, to) = (*allowed.start(), *allowed.end());
    let fits = (u64::from(from)..=u64::from(to)).contains(&found);
    (!fits).then(|| format!("{table}.{key}: expected a whole number from {from} to {to}, found {found}"))
}

/// What is wrong with a duration that a program set.
pub(super) fn length(path: &Path, found: Duration, allowed: &RangeInclusive<Duration>) -> Option<String> {
    let said = || format!("{path}: expected {}, found \"{}\"", duration::allowed(allowed), duration::show(found));
    (!allowed.contains(&found)).then(said)
}
