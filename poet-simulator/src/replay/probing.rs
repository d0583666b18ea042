//! Replays outages against the circuit and what is learned about it.
//!
//! An outage costs the probes that fail while it lasts, and the calls that are refused after it has ended: one call each,
//! which is what the learner is told as well; the profiles have probes cheaper than answers.
//! A circuit that opened when the outage began is asked for its probes as they fall due, which is how a call meets it
//! that comes at that moment. What is learned rests on what the circuit saw itself, between which two probes the service
//! came back, never on the truth. It is held against the best constant interval of each service in hindsight, which
//! knows all its outages beforehand but may not vary.

use super::bench::{quantile, steps, turn, wall};
use super::report::{Figure, Form, Goal};
use super::traces::{self, DAY, Outage};
use super::{Error, Options, Tell};
use crate::random::{SplitMix64, hash};
use poet_runtime::evidence::{AttemptClass, Key};
use poet_runtime::workbench::{Circuit, Passage, Workbench};
use poet_runtime::{Ending, FailureKind, Profile, Turn};
use std::time::{Duration, Instant};

/// Calls a minute, and the cost that is aimed at in times of the best constant.
const RATES: [(f64, f64); 3] = [(0.1, 1.1), (1.0, 1.1), (10.0, 1.35)];

/// Outages without which the best constant in hindsight says nothing.
const FEWEST: usize = 5;
/// The newest outages of a service that are replayed; few services would be most of the sum otherwise.
const MOST: usize = 60;

/// How long before an outage its calls are counted, in hours.
const CALLS_BEFORE: f64 = 7.0 * 24.0;

/// How often it is learned, at most, from the calls before an outage, and from the outage.
const LEARNED_BETWEEN: usize = 8;

const DOWN: AttemptClass = AttemptClass::Failure(FailureKind::Transient);

/// What the outages of one service cost.
#[derive(Default)]
struct Cost {
    learned: f64,
    constant: f64,
    outages: usize,
    open_for: Option<f64>,
}

pub(super) fn figures(options: &Options, tell: Tell<'_>) -> Result<Vec<Figure>, Error> {
    let services = traces::outages(&options.data.join("outages.csv"))?;
    let mut figures = Vec::new();
    for (rate, goal) in RATES {
        tell(&format!("{} services at {rate} calls a minute", services.len()));
        let mut costs = Vec::new();
        for seed in 0..options.seeds {
            for (service, outages) in &services {
                let drawn = lengths(outages, SplitMix64::of(seed, 1, hash(service)));
                if drawn.len() >= FEWEST {
                    costs.push(replay(service, &drawn, rate));
                }
            }
        }
        figures.push(figure(rate, goal, &costs));
    }
    Ok(figures)
}

fn figure(rate: f64, goal: f64, costs: &[Cost]) -> Figure {
    let sum = |costs: &mut dyn Iterator<Item = &Cost>| {
        costs.fold((0.0, 0.0, 0), |sum, cost| (sum.0 + cost.learned, sum.1 + cost.constant, sum.2 + cost.outages))
    };
    let (learned, constant, outages) = sum(&mut costs.iter());
    let half = |odd: usize| {
        let (learned, constant, _) = sum(&mut costs.iter().skip(odd).step_by(2));
        learned / constant
    };
    let mut waits: Vec<f64> = costs.iter().filter_map(|cost| cost.open_for).collect();
    let moved = if waits.is_empty() {
        "no value of `breaker.open_for` moved, so its default is what was measured".to_owned()
    } else {
        let moved = waits.len();
        format!(
            "`breaker.open_for` moved for {moved} of {}, to {:.1} min in the median",
            costs.len(),
            quantile(&mut waits, 0.5)
        )
    };
    let each = |sum: f64| sum / outages as f64;
    let note = format!(
        "{:.1} calls an outage, the best constant {:.1}; halves of the services {:.2} and {:.2}; {moved}",
        each(learned),
        each(constant),
        half(0),
        half(1),
    );
    let value = (outages > 0).then(|| learned / constant);
    Figure::new(format!("cost of an outage at {rate} calls a minute"), Goal::AtMost(goal), Form::Times, value, note)
}

/// The outages with lengths in minutes, where they can be known or are longer than a day.
fn lengths(outages: &[Outage], mut random: SplitMix64) -> Vec<(i64, f64)> {
    let newest = &outages[outages.len().saturating_sub(MOST)..];
    newest
        .iter()
        .filter_map(|outage| {
            let length = match outage.at_most {
                // A length in whole minutes lies half a minute about them.
                Some(most) if most <= outage.at_least => most + random.unit() - 0.5,
                Some(most) => outage.at_least + (most - outage.at_least) * random.unit(),
                None if outage.at_least >= DAY => DAY,
                None => return None,
            };
            Some((outage.start, length.clamp(0.2, DAY)))
        })
        .collect()
}

fn replay(service: &str, outages: &[(i64, f64)], rate: f64) -> Cost {
    let mut profile = *Profile::GENERAL;
    profile.utility.call = profile.utility.value;
    let mut bench = Workbench::new(service, profile).only("breaker.");
    let mut cost = Cost { outages: outages.len(), constant: best_constant(outages, rate), ..Cost::default() };
    let mut free_since = f64::NEG_INFINITY;
    for &(start, length) in outages {
        let start = start as f64;
        calls(&mut bench, free_since.max(start - CALLS_BEFORE * 60.0), start, rate);
        learn(&mut bench, start);
        let seen = probe(&bench, length);
        cost.learned += seen.failed as f64 + rate * (seen.back - length);
        free_since = start + seen.back;
        note(&mut bench, start, &seen, rate);
        learn(&mut bench, free_since);
    }
    let moved = bench.learned().iter().any(|row| row.key.name == "breaker.open_for" && row.is_applied());
    cost.open_for = moved.then(|| bench.values().open_for.as_secs_f64() / 60.0);
    cost
}

/// Learns as often as it would in the time, or until nothing moves any more.
fn learn(bench: &mut Workbench, minute: f64) {
    for _ in 0..LEARNED_BETWEEN {
        if bench.learn(wall(minute)).is_empty() {
            break;
        }
    }
}

/// What a circuit saw of an outage, in minutes after it opened.
struct Seen {
    failed: u64,
    /// The last probe that failed.
    down: f64,
    /// The first one that did not.
    back: f64,
}

fn probe(bench: &Workbench, length: f64) -> Seen {
    let (mut circuit, values) = (Circuit::default(), bench.values());
    let opened = Instant::now();
    let mut now = opened;
    while circuit.is_closed() {
        circuit.record(None, false, values, now);
    }
    let mut seen = Seen { failed: 0, down: 0.0, back: f64::NAN };
    while !circuit.is_closed() {
        let minutes = (now - opened).as_secs_f64() / 60.0;
        match circuit.admit(values, now) {
            Passage::Free => break,
            Passage::Refused(wait) => now += wait.unwrap_or(Duration::from_secs(1)),
            Passage::Probe(ticket) => {
                let is_back = minutes >= length;
                circuit.record(Some(ticket), is_back, values, now);
                if is_back {
                    seen.back = seen.back.min(minutes);
                } else {
                    seen.failed += 1;
                    seen.down = minutes;
                }
            }
        }
    }
    seen
}

/// Counts the calls of the hours in which the service was up.
fn calls(bench: &mut Workbench, from: f64, until: f64, rate: f64) {
    let mut hour = from;
    while hour + 60.0 <= until {
        let count = (rate * 60.0).round() as u64;
        bench.add(wall(hour), Key::Attempt(AttemptClass::Success), count);
        bench.add(wall(hour), Key::Call(Ending::Done), count);
        hour += 60.0;
    }
}

/// Counts an outage as the recorder would.
fn note(bench: &mut Workbench, start: f64, seen: &Seen, rate: f64) {
    let failures = bench.values().failure_threshold[FailureKind::Transient.index()];
    let mut blamed = [0; FailureKind::ALL.len()];
    blamed[FailureKind::Transient.index()] = u8::try_from(failures).unwrap_or(u8::MAX);
    let (opened, closed) = (wall(start), wall(start + seen.back));
    bench.add(opened, Key::Attempt(DOWN), u64::from(failures));
    bench.add(opened, Key::Call(Ending::Failed), u64::from(failures));
    bench.observe(opened, &turn(Turn::Opened { blamed, relapsed: false }));
    bench.add(closed, Key::Probed(DOWN), seen.failed);
    bench.add(closed, Key::Probed(AttemptClass::Success), u64::from(bench.values().success_threshold));
    bench.add(closed, Key::Call(Ending::CircuitOpen), (rate * seen.back).round() as u64);
    let minutes = |minutes: f64| Duration::from_secs_f64(minutes * 60.0);
    bench.observe(closed, &turn(Turn::Closed { down_for: minutes(seen.down), back_after: minutes(seen.back) }));
}

/// What the best constant interval in hindsight would have cost.
fn best_constant(outages: &[(i64, f64)], rate: f64) -> f64 {
    let cost = |interval: f64| {
        let each = outages.iter().map(|(_, length)| {
            let probes = (length / interval).ceil().max(1.0);
            probes - 1.0 + rate * (probes * interval - length)
        });
        each.sum::<f64>()
    };
    steps(0.1, DAY, 1.08).into_iter().map(cost).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_of_one_length_cost_the_best_constant_nothing() {
        let interval = steps(0.1, DAY, 1.08)[60];
        let outages = vec![(1_000, interval), (9_000, interval)];
        assert!(best_constant(&outages, 1.0) < 1e-9);
    }

    #[test]
    fn a_circuit_that_is_probed_every_minute_fails_once_for_each_minute() {
        let bench = Workbench::new("web", *Profile::GENERAL);
        let seen = probe(&bench, 4.5);
        assert_eq!((seen.failed, seen.down.round(), seen.back.round()), (4, 4.0, 5.0));
    }

    #[test]
    fn what_was_seen_is_counted_as_one_outage_of_about_its_length() {
        let mut bench = Workbench::new("web", *Profile::GENERAL);
        let seen = probe(&bench, 4.5);
        note(&mut bench, 1_000.0, &seen, 1.0);
        let outages: Vec<_> =
            bench.history().cells().filter(|(_, key, _)| matches!(key, Key::Outage(_))).map(|(.., n)| n).collect();
        assert_eq!(outages, [1]);
    }

    #[test]
    fn a_length_is_drawn_between_its_bounds_and_an_unseen_end_counts_only_beyond_a_day() {
        let outage = |at_least, at_most| Outage { start: 0, at_least, at_most };
        let given =
            [outage(10.0, Some(40.0)), outage(30.0, None), outage(2_000.0, None), outage(9_000.0, Some(9_000.0))];
        let drawn = lengths(&given, SplitMix64::new(1));
        assert_eq!(drawn.len(), 3);
        assert!((10.0..40.0).contains(&drawn[0].1), "{drawn:?}");
        assert_eq!((drawn[1].1, drawn[2].1), (DAY, DAY));
        assert_eq!(drawn, lengths(&given, SplitMix64::new(1)));
    }

    #[test]
    fn nothing_to_replay_is_no_measurement() {
        assert_eq!(figure(1.0, 1.1, &[]).reached, None);
    }
}
