//! Claims about entries of the audit on their way to the store.

use super::tests::{Book, Moody, start};
use super::*;
use crate::audit::{AuditEntry, AuditFilter};
use crate::config::Secret;
use crate::store::conformance;
use crate::store::{MemoryStore, Store};

/// An entry of today, which is not too old to be kept.
fn entry(n: u64) -> AuditEntry {
    const TODAY: i64 = 4_000_000_000_000;
    conformance::entry(&format!("run-{n}"), TODAY + n.cast_signed())
}

async fn written(store: &mut impl Store) -> Vec<AuditEntry> {
    store.audit(&AuditFilter::default(), usize::MAX).await.unwrap()
}

#[tokio::test]
async fn what_was_promised_is_in_the_store_before_whoever_waits_goes_on() {
    let mut store = MemoryStore::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    for n in 1..=5 {
        recorder.promise(entry(n)).await.unwrap();
        assert_eq!(written(&mut store).await.len() as u64, n);
    }
}

#[tokio::test]
async fn what_nobody_waits_for_is_in_the_store_after_a_flush_and_by_itself_soon_after() {
    let mut store = MemoryStore::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    recorder.write_down(entry(1));
    recorder.flush().await.unwrap();
    assert_eq!(written(&mut store).await, [entry(1)]);
    recorder.write_down(entry(2));
    let give_up = Instant::now() + Duration::from_secs(10);
    while written(&mut store).await.len() < 2 {
        assert!(Instant::now() < give_up, "it was not written by itself");
        thread::yield_now();
    }
}

#[tokio::test]
async fn a_promise_that_a_store_does_not_take_is_an_error_and_is_not_kept_later() {
    let mut store = Moody::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    store.breaks(true);
    let error = recorder.promise(entry(1)).await.unwrap_err();
    assert!(error.to_string().contains("no mood"), "{error}");
    store.breaks(false);
    recorder.flush().await.unwrap();
    assert_eq!(written(&mut store).await, []);
    recorder.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(recorder.promise(entry(2)).await.unwrap_err().to_string().contains("stopped"));
}

#[tokio::test]
async fn entries_outlast_a_store_that_fails_and_those_that_do_not_fit_are_counted_in_it() {
    const MANY: u64 = 8_192 + 3;
    let mut store = Moody::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    store.breaks(true);
    let held = store.gate.clone();
    let held = lock(&held);
    for n in 0..MANY {
        recorder.write_down(entry(n));
    }
    drop(held);
    recorder.flush().await.unwrap_err();
    // Those that the writer had taken out when the rest came push out as many when they come back.
    let dropped = recorder.health().audit_dropped;
    assert!((3..=MANY - 8_192 + 1_000).contains(&dropped), "{dropped}");
    store.breaks(false);
    recorder.flush().await.unwrap();
    assert_eq!(written(&mut store).await.len() as u64 + dropped, MANY);
    assert_eq!(store.audit_counts().await.unwrap().dropped, dropped);
}

#[tokio::test]
async fn arguments_are_hashed_with_the_key_of_the_configuration_else_with_that_of_the_store() {
    let store = MemoryStore::new();
    let keyed = |audit_key| {
        let settings = RecorderSettings { audit_key, ..RecorderSettings::default() };
        start(&store, &Book::silent(), settings).audit_key()
    };
    assert_eq!(keyed(KeyOf::Nobody), None);
    let first = keyed(KeyOf::Store);
    assert!(first.is_some() && keyed(KeyOf::Store) == first, "two processes have one key");
    let own = AuditKey::of(&Secret::new("a key of the configuration"));
    assert_eq!(keyed(KeyOf::Configuration(own)), Some(own));
}
