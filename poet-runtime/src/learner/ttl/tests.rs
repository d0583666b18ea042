use super::*;
use crate::learner::tests::World;
use crate::outcome::{Ending, Finished, Record, Shown, TargetId};
use std::time::Instant;

/// Answers that change at random, once in a mean time, and a cache that keeps them as long as is learned.
struct Page {
    world: World,
    /// Seconds between changes, in the mean.
    lasts: f64,
    now: f64,
    fetched: Option<f64>,
    changed_at: f64,
    next_change: f64,
}

impl Page {
    fn new(lasts: f64) -> Self {
        let mut world = World::about("cache.");
        world.profile.staleness = 0.05;
        Self { world, lasts, now: 0.0, fetched: None, changed_at: 0.0, next_change: 0.0 }
    }

    fn waits(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.world.random()).ln()
    }

    /// Requests that come once in ten seconds, in the mean; one in fifty is not answered from the cache.
    fn requests(&mut self, count: usize) {
        let hour = self.world.hour - (self.now / 3_600.0) as i64;
        let mut refetches = 0;
        for _ in 0..count {
            self.now += self.waits(10.0);
            while self.next_change <= self.now {
                self.changed_at = self.next_change;
                self.next_change += self.waits(self.lasts);
            }
            self.world.hour = hour + (self.now / 3_600.0) as i64;
            let ttl = self.ttl();
            let fresh = self.fetched.is_some_and(|fetched| self.now - fetched < ttl);
            if fresh && self.world.random() > 0.02 {
                continue;
            }
            if let Some(fetched) = self.fetched {
                self.refetched(self.now - fetched, self.changed_at > fetched, Ending::Done);
            }
            self.fetched = Some(self.now);
            refetches += 1;
            if refetches % 15 == 0 {
                self.world.update();
            }
        }
    }

    fn refetched(&mut self, age: f64, changed: bool, ending: Ending) {
        let shown = Shown::Refetched { age: age_bin(Duration::from_secs_f64(age)), changed };
        let call = Finished { shown: Some(shown), ..Finished::of(ending) };
        let record = Record { call: Some(call), ..Record::new(TargetId(0), 1, Instant::now()) };
        self.world.history.observe(self.world.hour, &record);
    }

    fn ttl(&self) -> f64 {
        self.world.values.cache_ttl.as_secs_f64()
    }

    /// The share of hits that are out of date under the freshness in force, if they come at every age alike.
    fn stale(&self) -> f64 {
        let x = self.ttl() / self.lasts;
        if x > 0.0 { 1.0 - (1.0 - (-x).exp()) / x } else { 0.0 }
    }
}

#[test]
fn a_page_is_kept_for_as_long_as_little_enough_of_it_is_out_of_date() {
    for lasts in [300.0, 3_600.0, 36_000.0] {
        let mut page = Page::new(lasts);
        page.requests(40_000);
        assert!((0.015..0.06).contains(&page.stale()), "{lasts}: {} s, {}", page.ttl(), page.stale());
    }
}

#[test]
fn a_page_that_begins_to_change_more_often_is_kept_shorter_and_then_longer_again() {
    let mut page = Page::new(36_000.0);
    page.requests(40_000);
    let calm = page.ttl();
    page.lasts = 600.0;
    page.next_change = page.now;
    page.requests(10_000);
    assert!((0.02..0.06).contains(&page.stale()), "{} s, {}", page.ttl(), page.stale());
    let busy = page.ttl();
    page.lasts = 36_000.0;
    page.requests(100_000);
    assert!(page.ttl() > 8.0 * busy && page.stale() < 0.06, "{calm} {busy} {}", page.ttl());
}

#[test]
fn a_page_that_stays_as_it_is_keeps_its_freshness_nearly_all_the_time() {
    let mut page = Page::new(3_600.0);
    page.requests(60_000);
    let learned = page.ttl();
    let rows = page.world.learned.len();
    page.requests(60_000);
    assert!((0.6..1.6).contains(&(page.ttl() / learned)), "{learned} {}", page.ttl());
    assert_eq!(page.world.learned.len(), rows);
}

#[test]
fn what_is_another_one_every_time_is_not_kept_and_comes_back_when_it_settles() {
    let mut page = Page::new(0.5);
    page.requests(2_000);
    assert_eq!(page.ttl(), 0.0);
    page.lasts = 36_000.0;
    page.next_change = page.now;
    page.requests(70_000);
    assert!(page.ttl() > 60.0, "{}", page.ttl());
}

#[test]
fn nothing_is_learned_from_no_refetch_or_from_a_few() {
    let mut page = Page::new(1.0);
    assert_eq!(page.world.learn(), []);
    for _ in 0..MIN_SAMPLE - 1 {
        page.refetched(60.0, true, Ending::Done);
    }
    assert_eq!(page.world.learn(), []);
    page.refetched(60.0, true, Ending::Done);
    let change = page.world.learn().remove(0);
    assert_eq!((change.old, change.new.value, change.new.sample), (Some(300.0), 150.0, MIN_SAMPLE));
    assert!(change.new.reason.starts_with("30 of 30 answers that were asked for again were other ones; kept up to"));
    let evidence: serde_json::Value = serde_json::from_str(&change.new.evidence).unwrap();
    assert_eq!((&evidence["refetched"], &evidence["ages"][0]["changed"]), (&json!(30), &json!(30.0)));
}

#[test]
fn a_page_is_never_kept_longer_than_answers_were_seen_to_last() {
    let mut page = Page::new(1.0);
    for _ in 0..10_000 {
        page.refetched(400.0, false, Ending::Done);
    }
    page.world.settle();
    assert!((400.0..=600.0).contains(&page.ttl()), "{}", page.ttl());
}

#[test]
fn hits_refusals_dropped_calls_and_failed_refetches_move_nothing() {
    let mut page = Page::new(3_600.0);
    page.requests(40_000);
    page.world.settle();
    let before = page.world.values.clone();
    for _ in 0..2_000 {
        for ending in [Ending::Failed, Ending::Cancelled, Ending::Fallback, Ending::CircuitOpen, Ending::Cached] {
            page.refetched(1.0, true, ending);
        }
    }
    for ending in Ending::ALL {
        page.world.history.add(page.world.hour, Key::Call(ending), 10_000);
    }
    assert_eq!(page.world.settle(), []);
    assert_eq!(page.world.values, before);
}

#[test]
fn changes_in_bursts_are_counted_by_days() {
    let ages = |bursts: bool| {
        let mut page = Page::new(1.0);
        for day in 0..20 {
            page.world.hour += 24;
            for n in 0..100 {
                page.refetched(60.0, if bursts { day % 5 == 0 && n < 50 } else { n < 5 }, Ending::Done);
            }
        }
        page.world.with_subject(Ages::read).unwrap()
    };
    assert_eq!(ages(false).spread, 1.0);
    assert!(ages(true).spread > 2.0, "{}", ages(true).spread);
}

#[test]
fn bins_that_fall_are_pooled_by_their_weights() {
    let mut shares = [(0.0, 0.0); BINS];
    shares[0] = (0.1, 10.0);
    shares[1] = (0.4, 30.0);
    shares[2] = (0.0, 10.0);
    shares[3] = (0.9, 1.0);
    let curve = pooled(&shares);
    assert_eq!(curve[0], 0.1);
    assert!((curve[1] - 0.3).abs() < 1e-12 && curve[1] == curve[2]);
    assert_eq!((curve[3], curve[BINS - 1]), (0.9, 0.9));
}

#[test]
fn what_is_out_of_date_is_the_mean_of_the_curve() {
    let mut share = [0.0; BINS];
    share[10..].fill(0.5);
    let curve = Curve::new(share);
    assert_eq!(curve.stale_up_to(edge(10)), 0.0);
    assert!((curve.stale_up_to(2.0 * edge(10)) - 0.25).abs() < 1e-9);
}
