//! What is believed about a service before it was seen: what the other services of its domain showed.
//!
//! Whoever learns about a new service starts from something. Where three other services of its domain are known, that is
//! their mean (empirical Bayes, by the method of moments): of how often a first retry helps after each kind of failure,
//! and of how long outages last. Each service counts alike however much was seen of it, and all of them together for no
//! more than [`STRENGTH`] observations, because services differ from each other as much as one does from day to day:
//! what is seen of the service itself soon outweighs them.
//!
//! A pure function of what the store holds: every process that shares it starts from the same.

use crate::evidence::{History, Key, OUTAGE_BINS};
use crate::outcome::FailureKind;
use crate::store::TargetKey;
use std::collections::BTreeMap;

/// How many observations the other services stand for.
pub(crate) const STRENGTH: f64 = 4.0;

/// The fewest other services that say anything about a new one.
const FEWEST: usize = 3;

/// The fewest retries after one kind of failure by which a service is known, and what it is taken to have shown besides:
/// a rate of all or nothing is a small sample more often than the truth.
const MIN_TRIED: u64 = 10;
const BEFORE: (f64, f64) = (1.0, 2.0);

const KINDS: usize = FailureKind::ALL.len();
const BINS: usize = OUTAGE_BINS as usize;

/// What the other services of a domain showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Siblings {
    retries: [Option<f64>; KINDS],
    outages: Option<Box<[f64; BINS]>>,
}

impl Siblings {
    /// Of a service that is the first of its domain.
    pub(crate) const NONE: &'static Self = &Self { retries: [None; KINDS], outages: None };

    /// Pseudo-counts of first retries after this kind of failure that succeeded, and that failed.
    pub(crate) fn retry(&self, after: FailureKind) -> Option<(f64, f64)> {
        self.retries[after.index()].map(|share| (STRENGTH * share, STRENGTH * (1.0 - share)))
    }

    /// Pseudo-counts of outages by [`outage_bin`](crate::evidence::outage_bin).
    pub(crate) fn outages(&self) -> Option<&[f64]> {
        self.outages.as_deref().map(<[f64; BINS]>::as_slice)
    }

    fn of<'a>(services: impl Iterator<Item = &'a Summary> + Clone) -> Self {
        let retries = FailureKind::ALL.map(|kind| {
            let known = services.clone().filter_map(|service| service.retry(kind));
            mean(known.map(|share| [share])).map(|[share]| share)
        });
        let outages = mean(services.filter_map(Summary::outages));
        Self { retries, outages: outages.map(|shares| Box::new(shares.map(|share| STRENGTH * share))) }
    }
}

/// The mean of what at least [`FEWEST`] services showed.
fn mean<const N: usize>(shown: impl Iterator<Item = [f64; N]>) -> Option<[f64; N]> {
    let (mut sum, mut services) = ([0.0; N], 0);
    for shares in shown {
        services += 1;
        for (sum, share) in sum.iter_mut().zip(shares) {
            *sum += share;
        }
    }
    (services >= FEWEST).then(|| sum.map(|sum| sum / services as f64))
}

/// What one service showed.
#[derive(Clone, Debug)]
struct Summary {
    /// First retries by the kind of failure before them, and those of them that succeeded.
    retried: [(u64, u64); KINDS],
    outages: [u64; BINS],
}

impl Summary {
    const EMPTY: Self = Self { retried: [(0, 0); KINDS], outages: [0; BINS] };

    fn of(history: &History) -> Self {
        let mut summary = Self::EMPTY;
        for (_, key, count) in history.cells() {
            match key {
                Key::Retried(1, kind) => summary.retried[kind.index()].0 += count,
                Key::Recovered(1, kind) => summary.retried[kind.index()].1 += count,
                Key::Outage(bin) => summary.outages[usize::from(bin).min(BINS - 1)] += count,
                _ => {}
            }
        }
        summary
    }

    fn add(&mut self, other: &Self) {
        for (own, other) in self.retried.iter_mut().zip(other.retried) {
            *own = (own.0 + other.0, own.1 + other.1);
        }
        for (own, other) in self.outages.iter_mut().zip(other.outages) {
            *own += other;
        }
    }

    fn retry(&self, kind: FailureKind) -> Option<f64> {
        let (tried, recovered) = self.retried[kind.index()];
        let share = (recovered.min(tried) as f64 + BEFORE.0) / (tried as f64 + BEFORE.1);
        (tried >= MIN_TRIED).then_some(share)
    }

    fn outages(&self) -> Option<[f64; BINS]> {
        let all: u64 = self.outages.iter().sum();
        (all > 0).then(|| self.outages.map(|count| count as f64 / all as f64))
    }
}

/// What is known of all services of a store.
#[derive(Debug, Default)]
pub(crate) struct Families {
    targets: BTreeMap<TargetKey, (&'static str, Summary)>,
}

impl Families {
    /// Adds what was seen of a target of a domain.
    pub(crate) fn add(&mut self, target: TargetKey, domain: &'static str, history: &History) {
        self.targets.insert(target, (domain, Summary::of(history)));
    }

    /// What all others of its domain showed. The operations of one service are one; those of its own service, too.
    pub(crate) fn siblings(&self, target: &TargetKey, domain: &str) -> Siblings {
        let mut services: BTreeMap<&str, Summary> = BTreeMap::new();
        let others = self.targets.iter().filter(|(key, (of, _))| *key != target && *of == domain);
        for (key, (_, summary)) in others {
            services.entry(&key.service).or_insert(Summary::EMPTY).add(summary);
        }
        Siblings::of(services.values())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evidence::outage_bin;
    use std::time::Duration;

    const KIND: FailureKind = FailureKind::Transient;

    fn key(service: &str, operation: &str) -> TargetKey {
        TargetKey { service: service.to_owned(), operation: operation.to_owned() }
    }

    fn retried(tried: u64, recovered: u64) -> History {
        let mut history = History::default();
        history.add(1, Key::Retried(1, KIND), tried);
        history.add(1, Key::Recovered(1, KIND), recovered);
        history
    }

    /// Three siblings of which each showed this.
    pub(crate) fn that_showed(history: &History) -> Siblings {
        let mut families = Families::default();
        for service in ["a", "b", "c"] {
            families.add(key(service, "get"), "web", history);
        }
        families.siblings(&key("new", "get"), "web")
    }

    /// Siblings after whose transient failures this share of a hundred retries each succeeded.
    pub(crate) fn that_recovered(share: f64) -> Siblings {
        that_showed(&retried(100, (100.0 * share) as u64))
    }

    #[test]
    fn two_services_say_nothing_about_a_third() {
        let mut families = Families::default();
        families.add(key("a", "get"), "web", &retried(100, 90));
        families.add(key("b", "get"), "web", &retried(100, 90));
        families.add(key("c", "get"), "mail", &retried(100, 90));
        families.add(key("d", "get"), "web", &retried(9, 9));
        assert_eq!(families.siblings(&key("new", "get"), "web"), *Siblings::NONE);
    }

    #[test]
    fn every_service_counts_alike_however_much_was_seen_of_it_and_however_many_operations_it_has() {
        let mut families = Families::default();
        families.add(key("a", "get"), "web", &retried(1_000_000, 1_000_000));
        families.add(key("a", "put"), "web", &retried(1_000_000, 1_000_000));
        families.add(key("b", "get"), "web", &retried(98, 0));
        families.add(key("c", "get"), "web", &retried(98, 0));
        let (good, bad) = families.siblings(&key("new", "get"), "web").retry(KIND).unwrap();
        assert!((good + bad - STRENGTH).abs() < 1e-9);
        assert!((good / STRENGTH - (1.0 + 0.01 + 0.01) / 3.0).abs() < 1e-3, "{good}");
        assert_eq!(families.siblings(&key("new", "get"), "web").retry(FailureKind::Lost), None);
    }

    #[test]
    fn nobody_is_a_sibling_of_itself() {
        let mut families = Families::default();
        for service in ["a", "b", "c"] {
            families.add(key(service, "get"), "web", &retried(100, 90));
        }
        assert_eq!(families.siblings(&key("a", "get"), "web"), *Siblings::NONE);
        assert!(families.siblings(&key("a", "put"), "web").retry(KIND).is_some());
    }

    #[test]
    fn outages_are_believed_as_four_of_the_lengths_that_others_had() {
        let mut families = Families::default();
        let (short, long) = (outage_bin(Duration::from_secs(10)), outage_bin(Duration::from_secs(3_600)));
        for (service, bin, count) in [("a", short, 1_000), ("b", long, 1), ("c", long, 2), ("d", long, 1)] {
            let mut history = History::default();
            history.add(1, Key::Outage(bin), count);
            families.add(key(service, "get"), "web", &history);
        }
        let siblings = families.siblings(&key("new", "get"), "web");
        let outages = siblings.outages().unwrap();
        assert!((outages[usize::from(short)] - 1.0).abs() < 1e-9 && (outages[usize::from(long)] - 3.0).abs() < 1e-9);
        assert!((outages.iter().sum::<f64>() - STRENGTH).abs() < 1e-9);
    }
}
