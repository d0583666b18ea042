//! Learns `concurrency.limit` from how attempts fare by how many others are under way when they begin.
//!
//! A service works on so many calls at once; whatever is sent beyond that waits there instead of here, and is given up
//! on there. In each hour, the attempts that began at the lowest load say how long one takes that waits for nothing. The
//! *efficiency* of a load is that time over the time at this load, times the share that does not fail for it; so many of
//! the calls under way are really worked on. By Little's law their number is `load · efficiency`, and twice the most that
//! was reached is the limit: enough to keep the service busy through every pause between an answer and the next call.
//!
//! * **The unit is the hour**, not the attempt. A service that gets slow for reasons of its own has more calls under way
//!   as well, by the same law, so a slow time looks like load. Compared within an hour, what lasts for hours cancels out;
//!   what does not must come again and again: five hours at least, and so many of the last twenty that more than half
//!   of all hours are like them with 95 % certainty. An hour in which the circuit opened says nothing: calls that hang
//!   pile up.
//! * *Down* only by hours that were saturated: attempts at the highest load took twice as long, or half of them failed.
//!   Hours that reached that load and were not saturated speak against it. A load that was never reached is no reason.
//! * *Up* by hours in which the limit was met by a tenth of the attempts, and those took hardly longer than at the lowest
//!   load.
//! * **The limit of it**: what is under way is counted in this process. Several processes each learn what is theirs of a
//!   service that all of them load, from evidence they share.

use super::Subject;
use super::guard::{Proposal, rounded, step};
use super::posterior::Posterior;
use crate::evidence::{Circuit, Key, LOAD_BINS, LoadSum, load_bin};
use crate::parameter::CONCURRENCY_LIMIT;
use serde_json::json;
use std::collections::BTreeMap;

/// Attempts that say how long one takes at a load.
const FEWEST: f64 = 10.0;

/// Hours that a move rests on, and the newest that are looked at.
const FEWEST_HOURS: u64 = 5;
const MOST_HOURS: usize = 20;

/// Powers of two by which the highest load of an hour exceeds the lowest, for it to say something.
const APART: usize = 2;

/// The efficiency below which a service is saturated, and from which it is not.
const SATURATED: f64 = 0.5;
const FREE: f64 = 0.75;

/// The share of attempts that meet a limit which holds others back.
const MEETS: f64 = 0.1;

/// How many calls may be under way for each one that is worked on.
const SLACK: f64 = 2.0;

const BINS: usize = LOAD_BINS as usize;

pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    let old = subject.before(&CONCURRENCY_LIMIT, None);
    let hours = read(subject, old);
    lower(old, &hours).or_else(|| raise(old, &hours)).into_iter().collect()
}

/// What one hour showed.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// Seconds that an attempt takes at the lowest load, and at the highest.
    alone: f64,
    crowded: f64,
    /// The highest load that enough attempts began at, and its efficiency.
    load: f64,
    efficiency: f64,
    /// The most calls that were really worked on.
    worked: f64,
    /// Whether the limit held others back.
    meets_limit: bool,
}

impl Shown {
    fn is_saturated(&self) -> bool {
        self.efficiency < SATURATED
    }
}

/// Sums over the attempts of one hour that began at one load.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    answered: f64,
    seconds: f64,
    failed: f64,
}

impl Sums {
    fn attempts(&self) -> f64 {
        self.answered + self.failed
    }

    fn mean(&self) -> f64 {
        self.seconds / self.answered.max(1.0)
    }

    /// The share that was answered; half an attempt on either side keeps it from being none.
    fn answers(&self) -> f64 {
        (self.answered + 0.5) / (self.attempts() + 1.0)
    }

    fn and(self, other: &Self) -> Self {
        Self {
            answered: self.answered + other.answered,
            seconds: self.seconds + other.seconds,
            failed: self.failed + other.failed,
        }
    }
}

/// The newest hours that say something, newest first.
fn read(subject: &Subject<'_>, limit: f64) -> Vec<Shown> {
    let mut hours: BTreeMap<i64, Option<[Sums; BINS]>> = BTreeMap::new();
    for (hour, key, count) in subject.history.cells() {
        let entry = hours.entry(hour).or_insert_with(|| Some([Sums::default(); BINS]));
        match key {
            Key::Circuit(Circuit::Opened) => *entry = None,
            Key::Load(sum, bin) => {
                let Some(bins) = entry else { continue };
                let sums = &mut bins[usize::from(bin)];
                match sum {
                    LoadSum::Answered => sums.answered += count as f64,
                    LoadSum::Micros => sums.seconds += count as f64 / 1e6,
                    LoadSum::Failed => sums.failed += count as f64,
                }
            }
            _ => {}
        }
    }
    hours.values().rev().flatten().filter_map(|bins| show(bins, limit)).take(MOST_HOURS).collect()
}

fn show(bins: &[Sums; BINS], limit: f64) -> Option<Shown> {
    let mut lowest = (0, Sums::default());
    for (bin, sums) in bins.iter().enumerate() {
        lowest = (bin, lowest.1.and(sums));
        if lowest.1.answered >= FEWEST {
            break;
        }
    }
    let (from, alone) = lowest;
    let enough = |sums: &Sums| sums.attempts() >= FEWEST && sums.answered >= 1.0;
    let top = bins.iter().rposition(enough).filter(|top| *top >= from + APART && alone.answered >= FEWEST)?;
    let efficiency =
        |sums: &Sums| ((alone.mean() / sums.mean().max(1e-9)) * (sums.answers() / alone.answers())).min(1.0);
    let load = |bin: usize| {
        let least = f64::from(1_u32 << bin);
        // The middle of the bin, or the limit where that cuts it short.
        (1.5 * least - 0.5).min(limit.max(least))
    };
    let worked = |bin: usize| if enough(&bins[bin]) { load(bin) * efficiency(&bins[bin]) } else { 0.0 };
    let all: f64 = bins.iter().map(Sums::attempts).sum();
    Some(Shown {
        alone: alone.mean(),
        crowded: bins[top].mean(),
        load: load(top),
        efficiency: efficiency(&bins[top]),
        worked: (from..=top).map(worked).fold(1.0, f64::max),
        meets_limit: top >= usize::from(load_bin(limit as u32)) && bins[top].attempts() >= MEETS * all,
    })
}

fn lower(old: f64, hours: &[Shown]) -> Option<Proposal> {
    let saturated: Vec<Shown> = hours.iter().filter(|hour| hour.is_saturated()).copied().collect();
    let worked = Worked::of(&saturated)?;
    let target = (SLACK * worked.mean).ceil();
    if target >= old {
        return None;
    }
    let against = hours.iter().filter(|hour| !hour.is_saturated() && hour.load >= target).count();
    let new = step(&CONCURRENCY_LIMIT, old, target, (CONCURRENCY_LIMIT.min, CONCURRENCY_LIMIT.max));
    Some(proposal(old, new, &saturated, against, &worked, "sending more makes them wait there"))
}

fn raise(old: f64, hours: &[Shown]) -> Option<Proposal> {
    let met = |hour: &&Shown| hour.meets_limit;
    let free: Vec<Shown> = hours.iter().filter(met).filter(|hour| hour.efficiency >= FREE).copied().collect();
    let worked = Worked::of(&free)?;
    let target = (SLACK * worked.mean).floor();
    if target <= old {
        return None;
    }
    let against = hours.iter().filter(met).count() - free.len();
    let new = step(&CONCURRENCY_LIMIT, old, target, (CONCURRENCY_LIMIT.min, CONCURRENCY_LIMIT.max));
    Some(proposal(old, new, &free, against, &worked, "it has room for more, and the limit holds them back"))
}

fn proposal(old: f64, new: f64, hours: &[Shown], against: usize, worked: &Worked, verdict: &str) -> Proposal {
    let n = hours.len() as f64;
    let mean = |of: fn(&Shown) -> f64| hours.iter().map(of).sum::<f64>() / n;
    let (alone, crowded, load) = (mean(|hour| hour.alone), mean(|hour| hour.crowded), mean(|hour| hour.load));
    let seconds = |seconds| crate::parameter::Unit::Seconds.show(seconds);
    Proposal {
        parameter: &CONCURRENCY_LIMIT,
        after: None,
        old,
        new,
        bounds: (CONCURRENCY_LIMIT.min, CONCURRENCY_LIMIT.max),
        sample: hours.len() as u64,
        fewest: FEWEST_HOURS,
        interval: (SLACK * worked.low, SLACK * worked.high),
        confidence: Posterior::new(1.0 + n, 1.0 + against as f64).above(0.5),
        predicted: None,
        act: true,
        reason: format!(
            "in {} of {} hours an attempt took {} alone and {} with about {load:.0} under way, so that {:.0} were worked on: \
             {verdict}",
            hours.len(),
            hours.len() + against,
            seconds(alone),
            seconds(crowded),
            worked.mean,
        ),
        evidence: json!({
            "hours": hours.len(),
            "hours_against": against,
            "alone_seconds": rounded(alone),
            "crowded_seconds": rounded(crowded),
            "load": rounded(load),
            "efficiency": rounded(mean(|hour| hour.efficiency)),
            "worked_on": rounded(worked.mean),
        }),
    }
}

/// How many calls were really worked on, over several hours: a geometric mean, because loads are known by factors.
struct Worked {
    mean: f64,
    low: f64,
    high: f64,
}

impl Worked {
    /// The deviation of the logarithm that bins alone bring about.
    const COARSE: f64 = 0.2;

    fn of(hours: &[Shown]) -> Option<Self> {
        let n = hours.len() as f64;
        if hours.is_empty() {
            return None;
        }
        let mean = hours.iter().map(|hour| hour.worked.ln()).sum::<f64>() / n;
        let variance = hours.iter().map(|hour| (hour.worked.ln() - mean).powi(2)).sum::<f64>() / n;
        let error = 1.645 * variance.sqrt().max(Self::COARSE) / n.sqrt();
        Some(Self { mean: mean.exp(), low: (mean - error).exp(), high: (mean + error).exp() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::tests::World;
    use crate::outcome::{Attempt, Class, Ending};
    use std::time::Duration;

    fn attempt(class: Class, load: u32, elapsed: f64) -> Attempt {
        Attempt { load: load_bin(load), ..Attempt::first(class, Duration::from_secs_f64(elapsed)) }
    }

    fn limit(world: &World) -> u32 {
        u32::from(world.values.concurrency_limit)
    }

    /// Hours in which the load goes up to `peak`, or to the limit, at a service that works on `capacity` calls at once.
    fn live(world: &mut World, hours: usize, peak: u32, capacity: f64) {
        world.pins = vec!["timeout.attempt", "retry.max_retries"];
        for _ in 0..hours {
            world.hour += 1;
            for i in 0..600 {
                // Spread over the octaves, as load is over a day.
                let most = f64::from(peak.min(limit(world)));
                let load = most.powf(world.random()).round();
                let load = if i % 4 == 0 { most } else { load };
                let noise = 0.7 + 0.6 * world.random();
                let latency = 0.05 * noise * (load / capacity).max(1.0);
                world.record(Some(attempt(Class::Success, load as u32, latency)), None);
            }
            world.update();
        }
    }

    #[test]
    fn a_service_that_works_on_ten_at_once_is_sent_about_twenty() {
        let mut world = World::about("concurrency.");
        live(&mut world, 40, 64, 10.0);
        assert!((14..=28).contains(&limit(&world)), "{}", limit(&world));
    }

    #[test]
    fn a_service_that_has_room_gets_more_where_the_limit_holds_calls_back() {
        let mut world = World::about("concurrency.");
        live(&mut world, 40, 300, 1e9);
        assert!(limit(&world) >= 200, "{}", limit(&world));
    }

    #[test]
    fn a_limit_that_is_never_met_stays_whatever_the_load() {
        for peak in [1, 4, 20, 31] {
            let mut world = World::about("concurrency.");
            live(&mut world, 40, peak, 1e9);
            assert_eq!(limit(&world), 64, "{peak}");
        }
    }

    #[test]
    fn the_limit_follows_a_service_that_gets_smaller_and_larger_again() {
        let mut world = World::about("concurrency.");
        live(&mut world, 40, 64, 10.0);
        let small = limit(&world);
        live(&mut world, 80, 64, 1e9);
        assert!(limit(&world) > small, "{small} {}", limit(&world));
        live(&mut world, 80, 64, 6.0);
        assert!(limit(&world) < small.max(24), "{small} {}", limit(&world));
    }

    #[test]
    fn a_service_that_is_slow_for_a_few_hours_or_fails_at_any_load_is_no_crowded_one() {
        let mut world = World::about("concurrency.");
        live(&mut world, 10, 20, 1e9);
        // Three times as slow at the same rate: three times as many under way, and each of them slow.
        for _ in 0..4 {
            world.hour += 1;
            for _ in 0..200 {
                let load = (60.0_f64).powf(world.random()).round() as u32;
                world.record(Some(attempt(Class::Success, load, 0.15)), None);
                world.record(Some(attempt(Class::Transient, load, 0.15)), None);
            }
            assert_eq!(world.update(), []);
        }
        assert_eq!(limit(&world), 64);
    }

    #[test]
    fn an_outage_in_which_calls_pile_up_is_none_either() {
        let mut world = World::about("concurrency.");
        for _ in 0..20 {
            world.hour += 1;
            for _ in 0..100 {
                world.record(Some(attempt(Class::Success, 1, 0.05)), None);
                world.record(Some(attempt(Class::Success, 40, 9.0)), None);
                world.record(Some(attempt(Class::Timeout, 40, 10.0)), None);
            }
            world.history.add(world.hour, Key::Circuit(Circuit::Opened), 1);
            world.pins = vec!["timeout.attempt", "retry.max_retries"];
            assert!(world.update().iter().all(|change| change.new.key.name != CONCURRENCY_LIMIT.name));
        }
    }

    #[test]
    fn what_reached_no_service_moves_nothing() {
        let mut world = World::about("concurrency.");
        live(&mut world, 10, 20, 1e9);
        for _ in 0..10 {
            world.hour += 1;
            for _ in 0..100 {
                world.record(Some(attempt(Class::Success, 1, 0.05)), None);
                // A caller's mistake, a call that was dropped, a refused connection, a probe: all of them under load.
                world.record(Some(attempt(Class::Permanent, 40, 5.0)), None);
                world.record(Some(attempt(Class::Cancelled, 40, 5.0)), None);
                world.record(Some(attempt(Class::Network { sent: false }, 40, 5.0)), None);
                world.record(Some(Attempt { probe: true, ..attempt(Class::Success, 40, 5.0) }), None);
                for ending in [Ending::Crowded, Ending::Cached, Ending::CircuitOpen, Ending::Cancelled] {
                    world.history.add(world.hour, Key::Call(ending), 1);
                }
            }
            world.update();
        }
        assert_eq!(limit(&world), 64);
    }

    #[test]
    fn a_move_says_what_it_was_made_of() {
        let mut world = World::about("concurrency.");
        for hour in 0..6 {
            for (bin, micros) in [(0, 50_000), (5, 250_000)] {
                world.history.add(world.hour - hour, Key::Load(LoadSum::Answered, bin), 100);
                world.history.add(world.hour - hour, Key::Load(LoadSum::Micros, bin), 100 * micros);
            }
        }
        let change = &world.learn()[0].new;
        assert_eq!((change.value, change.sample), (43.0, 6));
        assert_eq!(
            change.reason,
            "in 6 of 6 hours an attempt took 50 ms alone and 250 ms with about 48 under way, so that 10 were worked on: \
             sending more makes them wait there"
        );
        assert!(change.interval.0 < 20.0 && change.interval.1 > 18.0, "{:?}", change.interval);
    }
}
