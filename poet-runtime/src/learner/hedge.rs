//! Learns `hedge.delay`: after how long a second copy of an attempt is worth its price (Dean and Barroso 2013).
//!
//! With S the survival of the latency (Kaplan and Meier, attempts given up on as censored), an attempt that is not done
//! after d goes on for R with P(R > t) = S(d + t) / S(d); a copy takes L' with P(L' > t) = S(t). Until the limit of the
//! attempt the copy saves `E[R] − E[min(R, L')]` seconds, and where the first copy would not be done by then at all, what
//! a timeout costs: a retry and its waiting, or the call where it is not retried. The best delay is the one with the
//! highest `min(S(d), 2 %) · (gain − call)`: more than one in fifty is never raced. Where that is negative everywhere,
//! hedging is off.
//!
//! * **Both copies may be slow for the same reason.** How often the second copy wins is counted; the gain shrinks with
//!   it, from as often as it would win if the two were independent, which is believed as much as four races.
//! * **A race that the second copy won censors the first**: hedging does not hide the tail it is there for.
//! * **The sample** is what was seen of attempts that took longer than the delay, thirty at least.
//! * **Forgetting**: a half-life of 5,000 attempts.

use super::Subject;
use super::draws::{DRAWS, Draws, quantile};
use super::guard::{MIN_CONFIDENCE, MIN_SAMPLE, Proposal, rounded};
use super::posterior::Posterior;
use super::regime;
use crate::evidence::{Key, Sketch};
use crate::outcome::FailureKind;
use crate::parameter::HEDGE_DELAY;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Half as much is believed of an attempt after this many newer ones.
const HALF_LIFE: f64 = 5_000.0;

/// A second copy is sent of one in ten attempts at most, by the delay alone, and of one in fifty at any rate.
const MOST_BEYOND: f64 = 0.1;
const MOST_RACED: f64 = 0.02;

/// Beyond fewer than one in a thousand there is nothing to gain.
const LEAST_BEYOND: f64 = 0.001;

/// Races that the independence of two copies is believed as.
const INDEPENDENT: f64 = 4.0;

/// A delay that is off by less than this factor stays.
const CLOSE: f64 = 1.5;

const BUCKETS: usize = Sketch::BUCKETS;

pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    let tail = Tail::read(subject);
    let old = subject.before(&HEDGE_DELAY, None);
    let best = tail.best();
    let proposal = match best {
        Some(best) if old == 0.0 || !(1.0 / CLOSE..=CLOSE).contains(&(best / old)) => {
            Some(tail.proposal(old, best, best, tail.sure(best)))
        }
        _ => None,
    };
    let proposal = proposal.filter(|proposal| proposal.confidence >= MIN_CONFIDENCE).or_else(|| tail.off(old));
    proposal.into_iter().collect()
}

/// What is known about slow attempts.
struct Tail {
    sketch: Sketch,
    survival: [f64; BUCKETS],
    /// Races that the second copy won, and others.
    won: f64,
    lost: f64,
    /// The limit of an attempt in seconds.
    limit: f64,
    /// The prices of a second, of a call, and of an attempt that is not done by its limit.
    second: f64,
    call: f64,
    timeout: f64,
}

/// What a second copy brings that is sent after a delay.
#[derive(Clone, Copy, Debug)]
struct Gain {
    /// What it is worth if both copies are independent.
    worth: f64,
    /// How often it then wins.
    wins: f64,
}

impl Tail {
    fn read(subject: &Subject<'_>) -> Self {
        let mut attempts: BTreeMap<i64, u64> = BTreeMap::new();
        let (mut won, mut lost) = (0.0, 0.0);
        for (hour, key, count) in subject.history.cells() {
            match key {
                Key::Answered(_) | Key::Silent(_) | Key::Censored(_) => *attempts.entry(hour).or_default() += count,
                Key::Hedged(true) => won += count as f64,
                Key::Hedged(false) => lost += count as f64,
                _ => {}
            }
        }
        let weights = regime::weights(attempts.values().rev().copied(), HALF_LIFE);
        let weight: BTreeMap<i64, f64> = attempts.keys().rev().copied().zip(weights).collect();
        let sketch = Sketch::of_silence(subject.history, |hour| weight.get(&hour).copied().unwrap_or(0.0));
        let utility = subject.profile.utility;
        let again = utility.cost(1.0, sketch.mean().unwrap_or(0.0));
        let retried = subject.values.max_retries[FailureKind::Timeout.index()] > 0;
        Self {
            survival: sketch.survival(),
            sketch,
            won,
            lost,
            limit: subject.values.attempt_timeout.as_secs_f64(),
            second: utility.second,
            call: utility.call,
            timeout: if retried { again } else { utility.value },
        }
    }

    /// P(latency > seconds).
    fn beyond(&self, seconds: f64) -> f64 {
        self.survival[bucket(seconds)]
    }

    /// How many attempts were seen that took longer.
    fn seen_beyond(&self, seconds: f64) -> f64 {
        let next = bucket(seconds) + 1;
        self.sketch.answered_in(next..BUCKETS) + self.sketch.censored_from(next)
    }

    fn gain(&self, delay: f64) -> Gain {
        let alive = self.beyond(delay).max(1e-9);
        let (mut saved, mut wins) = (0.0, 0.0);
        let (mut from, mut copy) = (0.0, 1.0);
        for edge in (0..BUCKETS).map(Sketch::upper_edge) {
            let to = edge.min(self.limit - delay);
            if to <= from {
                break;
            }
            let first = self.beyond(delay + f64::midpoint(from, to)) / alive;
            let still = self.beyond(to);
            saved += first * (1.0 - f64::midpoint(copy, still)) * (to - from);
            wins += first * (copy - still).max(0.0);
            (from, copy) = (to, still);
        }
        let rescued = self.beyond(self.limit) / alive * (1.0 - self.beyond(self.limit - delay));
        Gain { worth: self.second * saved + self.timeout * rescued, wins }
    }

    /// The share of the gain that is left where copies win less often than independent ones would.
    fn kept(&self, wins: f64) -> f64 {
        let seen = (INDEPENDENT * wins + self.won) / (INDEPENDENT + self.won + self.lost);
        (seen / wins.max(1e-9)).min(1.0)
    }

    /// What hedging after this delay brings for each call.
    fn net(&self, delay: f64) -> f64 {
        let gain = self.gain(delay);
        self.beyond(delay).min(MOST_RACED) * (gain.worth * self.kept(gain.wins) - self.call)
    }

    /// The delay that brings most, if any brings something.
    fn best(&self) -> Option<f64> {
        let delays = (0..BUCKETS).map(Sketch::upper_edge).filter(|delay| {
            *delay < self.limit
                && (LEAST_BEYOND..=MOST_BEYOND).contains(&self.beyond(*delay))
                && self.seen_beyond(*delay) >= MIN_SAMPLE as f64
        });
        let nets = delays.map(|delay| (delay, self.net(delay)));
        nets.filter(|(_, net)| *net > 0.0).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(delay, _)| delay)
    }

    /// P(a copy after this delay is worth its price).
    fn sure(&self, delay: f64) -> f64 {
        let (gain, seen) = (self.gain(delay), self.seen_beyond(delay));
        let mut draws = Draws::new();
        let pays = (0..DRAWS).filter(|_| {
            // How long slow attempts take beyond the delay is spread as widely as it is long.
            let tail = draws.gamma(seen) / seen.max(1.0);
            let wins =
                draws.beta(INDEPENDENT * gain.wins + self.won, INDEPENDENT * (1.0 - gain.wins).max(0.0) + self.lost);
            // Before any race was seen, independence is taken for granted.
            let kept = if self.won + self.lost > 0.0 { (wins / gain.wins.max(1e-9)).min(1.0) } else { 1.0 };
            gain.worth * tail * kept > self.call
        });
        pays.count() as f64 / DRAWS as f64
    }

    /// Switches it off where it surely does not pay, or where too many attempts take longer than the delay.
    fn off(&self, old: f64) -> Option<Proposal> {
        if old == 0.0 {
            return None;
        }
        let (all, beyond) = (self.sketch.answered() + self.sketch.censored(), self.seen_beyond(old));
        let ordinary = Posterior::new(1.0 + beyond, 1.0 + all - beyond).above(MOST_BEYOND);
        Some(self.proposal(old, 0.0, old, ordinary.max(1.0 - self.sure(old))))
    }

    fn proposal(&self, old: f64, new: f64, judged: f64, confidence: f64) -> Proposal {
        let gain = self.gain(judged);
        let seen = self.seen_beyond(judged);
        let mut draws = Draws::new();
        let mut delays: Vec<f64> = (0..DRAWS)
            .map(|_| {
                let all = (self.sketch.answered() + self.sketch.censored()).max(seen + 1.0);
                let share = draws.beta(1.0 + seen, 1.0 + all - seen);
                (0..BUCKETS).find(|bucket| self.survival[*bucket] <= share).map_or(judged, Sketch::upper_edge)
            })
            .collect();
        let show = |seconds| HEDGE_DELAY.unit.show(seconds);
        let share = 100.0 * self.beyond(judged);
        let races = if self.won + self.lost > 0.0 {
            format!(", and won {:.0} of {:.0} races", self.won, self.won + self.lost)
        } else {
            String::new()
        };
        let worth = gain.worth * self.kept(gain.wins);
        let verdict = if new > 0.0 { "more than" } else { "not surely more than" };
        Proposal {
            parameter: &HEDGE_DELAY,
            after: None,
            old,
            new,
            bounds: (HEDGE_DELAY.min, HEDGE_DELAY.max),
            sample: seen as u64,
            fewest: MIN_SAMPLE,
            interval: (quantile(&mut delays, 0.05), quantile(&mut delays, 0.95)),
            confidence,
            predicted: Some(self.net(judged) * if new > 0.0 { 1.0 } else { -1.0 }),
            act: true,
            reason: format!(
                "{share:.1} % of attempts take longer than {}; a second copy of those is worth {worth:.2}{races}, {verdict} the \
                 {:.2} it costs",
                show(judged),
                self.call,
            ),
            evidence: json!({
                "beyond": rounded(self.beyond(judged)),
                "seen_beyond": seen as u64,
                "worth": rounded(worth),
                "wins_expected": rounded(gain.wins),
                "won": self.won,
                "lost": self.lost,
            }),
        }
    }
}

fn bucket(seconds: f64) -> usize {
    usize::from(Sketch::bucket(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::tests::World;
    use crate::outcome::{Attempt, Class, Ending, Hedge};

    fn observe(world: &mut World, class: Class, elapsed: f64, hedge: Hedge) {
        let first = Attempt::first(class, Duration::from_secs_f64(elapsed));
        world.record(Some(Attempt { hedge, ..first }), None);
    }

    fn delay(world: &World) -> f64 {
        world.values.hedge_delay.as_secs_f64()
    }

    /// Hours of calls of which this share takes 8 s and the rest 100 ms, raced as the delay in force says; the copy of
    /// a slow one is slow as well with the chance `together`.
    fn live(world: &mut World, hours: usize, slow: f64, together: f64) {
        world.pins = vec!["timeout.attempt", "retry.max_retries"];
        for _ in 0..hours {
            world.hour += 1;
            let mut races = 0;
            for call in 0..1_000 {
                let is_slow = world.random() < slow;
                let first = if is_slow { 8.0 } else { 0.1 * (0.8 + 0.4 * world.random()) };
                let after = delay(world);
                if after == 0.0 || first <= after || races * 50 > call {
                    observe(world, Class::Success, first, Hedge::None);
                    continue;
                }
                races += 1;
                let shared = is_slow && world.random() < together;
                let copy = after + if shared { 8.0 } else { 0.1 };
                let hedge = if copy < first { Hedge::Won } else { Hedge::Lost };
                observe(world, Class::Success, first.min(copy), hedge);
            }
            world.update();
        }
    }

    #[test]
    fn a_service_that_stalls_now_and_then_is_raced_soon_after_its_usual_time() {
        let mut world = World::about("hedge.");
        live(&mut world, 10, 0.02, 0.0);
        assert!((0.1..1.0).contains(&delay(&world)), "{}", delay(&world));
        assert!(world.learned.iter().any(|row| row.key.name == HEDGE_DELAY.name && row.sample >= 30));
    }

    #[test]
    fn a_service_whose_slowest_are_hardly_slower_is_never_raced() {
        let mut world = World::about("hedge.");
        live(&mut world, 20, 0.0, 0.0);
        assert_eq!(delay(&world), 0.0);
    }

    #[test]
    fn hedging_ends_where_both_copies_are_slow_together() {
        let mut world = World::about("hedge.");
        live(&mut world, 10, 0.02, 0.0);
        assert!(delay(&world) > 0.0);
        live(&mut world, 30, 0.02, 1.0);
        assert_eq!(delay(&world), 0.0);
    }

    #[test]
    fn hedging_ends_where_all_of_the_service_is_slow() {
        let mut world = World::about("hedge.");
        live(&mut world, 10, 0.02, 0.0);
        live(&mut world, 20, 0.6, 0.0);
        assert_eq!(delay(&world), 0.0);
    }

    #[test]
    fn a_delay_stays_while_nothing_changes() {
        let mut world = World::about("hedge.");
        live(&mut world, 10, 0.02, 0.0);
        let before = delay(&world);
        live(&mut world, 30, 0.02, 0.0);
        assert_eq!(delay(&world), before);
    }

    #[test]
    fn what_reached_no_service_or_was_a_callers_mistake_starts_no_races() {
        let mut world = World::about("hedge.");
        for _ in 0..2_000 {
            observe(&mut world, Class::Success, 0.1, Hedge::None);
        }
        for _ in 0..100 {
            observe(&mut world, Class::Permanent, 9.0, Hedge::None);
            observe(&mut world, Class::Cancelled, 9.0, Hedge::None);
            observe(&mut world, Class::Transient, 9.0, Hedge::None);
            observe(&mut world, Class::Network { sent: false }, 9.0, Hedge::None);
            for ending in [Ending::Cached, Ending::CircuitOpen, Ending::Crowded, Ending::Cancelled] {
                world.history.add(world.hour, Key::Call(ending), 1);
            }
        }
        world.update();
        assert_eq!(delay(&world), 0.0);
    }

    #[test]
    fn a_few_slow_attempts_are_none_to_learn_from() {
        let mut world = World::about("hedge.");
        for call in 0..1_000 {
            observe(&mut world, Class::Success, if call % 50 == 0 { 9.0 } else { 0.1 }, Hedge::None);
        }
        world.update();
        assert_eq!(delay(&world), 0.0, "twenty");
    }
}
