//! Replays the changes of resources against the learned freshness.
//!
//! Requests come at random, once in a mean interval. What was kept is given while it is fresh; one hit in fifty is asked
//! for again all the same, so that young answers are seen as well. The second half of each trace is measured, and held
//! against the best constant freshness in hindsight that keeps the same share of hits in date.

use super::bench::{mean, refetched, wall};
use super::report::{Figure, Form, Goal};
use super::traces::{self, DAY};
use super::{Error, Options, Tell};
use crate::random::{SplitMix64, hash};
use poet_runtime::Profile;
use poet_runtime::evidence::age_bin;
use poet_runtime::workbench::Workbench;
use std::cmp::Ordering;
use std::time::Duration;

/// The share of hits that may be out of date.
const ALLOWED: f64 = 0.05;
/// What is still within it.
const TOLERANCE: f64 = 1.2;
/// Of the hits this share is asked for again.
const REVALIDATED: f64 = 0.02;
/// Minutes between requests, in the mean.
const INTERVALS: [f64; 2] = [2.0, 10.0];
/// The longest stretch of a trace that is replayed, in minutes.
const LONGEST: f64 = 20.0 * DAY;
/// Hits without which a stated interval is not judged.
const FEWEST: f64 = 200.0;

/// When a resource changed, in minutes after the first change, which was so long after 1970.
struct Trace {
    first: f64,
    changes: Vec<f64>,
}

/// How a share of requests was answered.
#[derive(Clone, Copy, Default)]
struct Tally {
    requests: f64,
    hits: f64,
    stale: f64,
}

impl Tally {
    fn hit_rate(self) -> f64 {
        self.hits / self.requests.max(1.0)
    }

    fn stale_share(self) -> f64 {
        self.stale / self.hits.max(1.0)
    }
}

/// The hits since a move, by the answer that was kept.
#[derive(Default)]
struct Since {
    hits: f64,
    stale: f64,
    /// Hits of the answer that is kept now.
    of_this: f64,
    /// The sum of the squares of the hits of each answer before it.
    squares: f64,
}

impl Since {
    fn hit(&mut self, stale: f64) {
        self.hits += 1.0;
        self.stale += stale;
        self.of_this += 1.0;
    }

    /// Another answer is kept from now on.
    fn refetched(&mut self) {
        self.squares += self.of_this * self.of_this;
        self.of_this = 0.0;
    }

    /// Where the share of hits that are out of date stands to an interval, give or take its own chance: of 20 shares that
    /// are truly at an end of it, one is taken for one beyond. Hits of one answer go out of date together. Where that is
    /// rare and happens at any age alike, its variance is two thirds of what it would be if all of them went at once.
    fn stands(&self, (low, high): (f64, f64)) -> Ordering {
        let together = (2.0 / 3.0 * (self.squares + self.of_this * self.of_this)).max(self.hits);
        let chance = |share: f64| 1.645 * (share * (1.0 - share) * together).sqrt() / self.hits;
        let share = self.stale / self.hits;
        match () {
            () if share + chance(low) < low => Ordering::Less,
            () if share - chance(high) > high => Ordering::Greater,
            () => Ordering::Equal,
        }
    }
}

/// One resource at one interval.
#[derive(Default)]
struct Run {
    stale: f64,
    of_oracle: f64,
    /// Stated intervals of what is out of date, those where less was, and those where more was.
    stated: u64,
    less: u64,
    more: u64,
}

pub(super) fn figures(options: &Options, tell: Tell<'_>) -> Result<Vec<Figure>, Error> {
    let mut runs: Vec<Vec<Run>> = Vec::new();
    for path in traces::files(&options.data.join("changes"))? {
        let name = traces::name(&path);
        let trace = Trace::new(&traces::changes(&path)?);
        tell(&format!("{name} ({} changes)", trace.changes.len()));
        for interval in INTERVALS {
            let drawn = |seed| trace.replay(&name, interval, SplitMix64::of(seed, 2, hash(&name)));
            runs.push((0..options.seeds).map(drawn).collect());
        }
    }
    Ok(report(&runs))
}

/// What each resource came to at each interval, by seed.
fn report(resources: &[Vec<Run>]) -> Vec<Figure> {
    let runs: Vec<&Run> = resources.iter().flatten().collect();
    let within = |stale: f64| stale <= TOLERANCE * ALLOWED;
    let stale: Vec<f64> =
        resources.iter().map(|runs| mean(&runs.iter().map(|run| run.stale).collect::<Vec<_>>())).collect();
    let kept = stale.iter().filter(|stale| within(**stale)).count();
    let kept_runs = runs.iter().filter(|run| within(run.stale)).count();
    let worst = runs.iter().map(|run| run.stale).fold(f64::NAN, f64::max);
    let shares: Vec<f64> = runs.iter().map(|run| run.of_oracle).collect();
    let budget = Figure::new(
        "resources whose staleness is kept",
        Goal::AtLeast(0.95),
        Form::Percent,
        (!runs.is_empty()).then(|| kept as f64 / stale.len() as f64),
        format!(
            "{kept} of {} resources at two paces of requests, {kept_runs} of {} single runs, within {TOLERANCE} times the {:.0} % that are allowed, the worst at {:.1} %; the traces know \
             changes to their own polls only",
            stale.len(),
            runs.len(),
            100.0 * ALLOWED,
            100.0 * worst,
        ),
    );
    let hits = Figure::new(
        "hits of the best constant freshness",
        Goal::AtLeast(0.80),
        Form::Percent,
        (!runs.is_empty()).then(|| mean(&shares)),
        "the best in hindsight; what is learned stays below while the evidence is thin".to_owned(),
    );
    let sum = |of: fn(&Run) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
    let (stated, less, more) = (sum(|run| run.stated), sum(|run| run.less), sum(|run| run.more));
    let held = stated - less - more;
    let interval = Figure::new(
        "90 % intervals of what is out of date that hold",
        Goal::Within(0.85, 0.95),
        Form::Percent,
        (stated > 0).then(|| held as f64 / stated as f64),
        format!(
            "{held} of {stated} rises with {FEWEST:.0} hits before the next move, less was out of date after {less} and more \
             after {more}; a rise is chosen for its upper bound"
        ),
    );
    vec![budget, hits, interval]
}

impl Trace {
    fn new(minutes: &[i64]) -> Self {
        let first = minutes.first().copied().unwrap_or(0) as f64;
        let after = minutes.iter().map(|minute| *minute as f64 - first);
        Self { first, changes: after.take_while(|minute| *minute <= LONGEST).collect() }
    }

    fn end(&self) -> f64 {
        self.changes.last().copied().unwrap_or(0.0)
    }

    fn changed(&self, fetched: f64, now: f64) -> bool {
        self.changes.partition_point(|change| *change <= fetched)
            != self.changes.partition_point(|change| *change <= now)
    }

    fn requests(&self, interval: f64, random: &mut SplitMix64) -> Vec<f64> {
        let mut at = 0.0;
        std::iter::from_fn(|| {
            at -= interval * (1.0 - random.unit()).ln();
            (at < self.end()).then_some(at)
        })
        .collect()
    }

    /// The second half under a constant freshness.
    fn constant(&self, requests: &[f64], ttl: f64) -> Tally {
        let mut tally = Tally::default();
        let mut fetched = f64::NEG_INFINITY;
        for &now in requests.iter().filter(|at| **at >= self.end() / 2.0) {
            tally.requests += 1.0;
            if now - fetched < ttl {
                tally.hits += 1.0;
                tally.stale += f64::from(u8::from(self.changed(fetched, now)));
            } else {
                fetched = now;
            }
        }
        tally
    }

    /// The hit rate of the best constant freshness in hindsight.
    fn oracle(&self, requests: &[f64]) -> f64 {
        let tallies = (0..160).map(|n| self.constant(requests, 0.05 * 1.1_f64.powi(n)));
        tallies.filter(|tally| tally.stale_share() <= ALLOWED).map(Tally::hit_rate).fold(0.0, f64::max)
    }

    fn replay(&self, name: &str, interval: f64, mut random: SplitMix64) -> Run {
        let requests = self.requests(interval, &mut random);
        let profile = Profile { staleness: ALLOWED, ..Profile::named("replay") };
        let mut bench = Workbench::new(name, profile).only("cache.");
        let (mut tally, mut since) = (Tally::default(), Since::default());
        let mut stated: Option<(f64, f64)> = None;
        let mut run = Run::default();
        let mut fetched: Option<f64> = None;
        for &now in &requests {
            let measured = f64::from(u8::from(now >= self.end() / 2.0));
            tally.requests += measured;
            let ttl = bench.values().cache_ttl.as_secs_f64() / 60.0;
            if let Some(fetched) = fetched.filter(|fetched| now - fetched < ttl) {
                let stale = f64::from(u8::from(self.changed(fetched, now)));
                tally.hits += measured;
                tally.stale += measured * stale;
                since.hit(stale);
                if random.unit() > REVALIDATED {
                    continue;
                }
            }
            let at = wall(self.first + now);
            if let Some(fetched) = fetched {
                let age = age_bin(Duration::from_secs_f64((now - fetched) * 60.0));
                bench.observe(at, &refetched(age, self.changed(fetched, now)));
            }
            fetched = Some(now);
            since.refetched();
            for change in bench.learn(at).into_iter().filter(|change| change.new.key.name == "cache.ttl") {
                if let Some(interval) = stated.filter(|_| since.hits >= FEWEST) {
                    run.stated += 1;
                    match since.stands(interval) {
                        Ordering::Less => run.less += 1,
                        Ordering::Greater => run.more += 1,
                        Ordering::Equal => {}
                    }
                }
                // What is said when it falls is about the freshness before.
                let rises = change.old.is_none_or(|old| change.new.value > old);
                stated = rises.then_some(change.new.interval);
                since = Since::default();
            }
        }
        run.stale = tally.stale_share();
        run.of_oracle = tally.hit_rate() / self.oracle(&requests).max(1e-9);
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_changes_every_two_hours_is_kept_within_what_may_be_out_of_date() {
        let minutes: Vec<i64> = (0..60).map(|n| 26_000_000 + 120 * n).collect();
        let run = Trace::new(&minutes).replay("page", 4.0, SplitMix64::new(1));
        assert!(run.stale <= TOLERANCE * ALLOWED, "{}", run.stale);
        assert!(run.of_oracle > 0.7, "{}", run.of_oracle);
    }

    #[test]
    fn an_interval_holds_what_chance_alone_may_show_of_answers_that_go_out_of_date_together() {
        // Ten answers with thirty hits each, of which those of two are out of date.
        let mut since = Since::default();
        for n in 0..300 {
            since.hit(f64::from(u8::from(n < 60)));
            if n % 30 == 29 {
                since.refetched();
            }
        }
        assert_eq!(since.stands((0.02, 0.10)), Ordering::Equal);
        assert_eq!(since.stands((0.005, 0.02)), Ordering::Greater);
        assert_eq!(since.stands((0.45, 0.50)), Ordering::Less);
    }

    #[test]
    fn what_is_kept_twice_as_long_as_it_lasts_is_mostly_out_of_date() {
        let minutes: Vec<i64> = (0..200).map(|n| 26_000_000 + 30 * n).collect();
        let trace = Trace::new(&minutes);
        let requests = trace.requests(1.0, &mut SplitMix64::new(1));
        assert!(trace.constant(&requests, 60.0).stale_share() > 0.5);
        assert!(trace.constant(&requests, 0.01).stale_share() < 0.01);
    }
}
