//! Chooses the endpoint of a call. Pure: what is known of the endpoints and the chance come from outside.

use poet_runtime::config::Balance;
use std::cmp::Ordering;
use std::collections::HashMap;

/// An endpoint that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Tells it from the others, for as long as the service is known.
    pub(super) id: u64,
    pub(super) weight: u32,
    pub(super) in_flight: u32,
    /// Recent seconds of a call.
    pub(super) latency: f64,
    /// The recent share of calls that succeeded.
    pub(super) health: f64,
}

impl Candidate {
    fn weight(&self) -> f64 {
        f64::from(self.weight.max(1))
    }

    /// The calls it would have with this one, for its weight.
    fn load(&self) -> f64 {
        f64::from(self.in_flight + 1) / self.weight()
    }
}

/// What the strategies that go round remember.
#[derive(Debug, Default)]
pub(super) struct Rota {
    turn: u64,
    /// When each was chosen last, and how much it is owed.
    kept: HashMap<u64, (u64, i64)>,
}

impl Rota {
    /// Forgets an endpoint that was removed.
    pub(super) fn forget(&mut self, id: u64) {
        self.kept.remove(&id);
    }

    /// The place of the one chosen; `None` where there is none. `chance` draws a fraction.
    pub(super) fn choose(
        &mut self,
        strategy: Balance,
        candidates: &[Candidate],
        mut chance: impl FnMut() -> f64,
    ) -> Option<usize> {
        // Those that are as good take turns.
        self.turn += 1;
        let last = |candidate: &Candidate| self.kept.get(&candidate.id).map_or(0, |kept| kept.0);
        let least = |cost: fn(&Candidate) -> f64| {
            let places = 0..candidates.len();
            let order = |&a: &usize, &b: &usize| {
                let (a, b) = (&candidates[a], &candidates[b]);
                cost(a).total_cmp(&cost(b)).then_with(|| last(a).cmp(&last(b)))
            };
            places.min_by(order)
        };
        let chosen = match strategy {
            _ if candidates.len() < 2 => (!candidates.is_empty()).then_some(0),
            Balance::RoundRobin => least(|_| 0.0),
            Balance::LeastConnections => least(Candidate::load),
            Balance::HealthBased => least(|candidate| -(candidate.health * 20.0).round()),
            Balance::ResponseTimeBased => least(|candidate| candidate.latency),
            Balance::Random => Some(drawn(candidates, None, chance())),
            Balance::WeightedRoundRobin => self.owed_most(candidates),
            // Peak EWMA, and what will be added to the strategies.
            _ => {
                let one = drawn(candidates, None, chance());
                let other = drawn(candidates, Some(one), chance());
                let cost = |place: usize| {
                    let candidate = &candidates[place];
                    candidate.latency * f64::from(candidate.in_flight + 1) / candidate.health.max(0.05)
                };
                Some(if cost(other).total_cmp(&cost(one)) == Ordering::Less { other } else { one })
            }
        }?;
        self.kept.entry(candidates[chosen].id).or_default().0 = self.turn;
        Some(chosen)
    }

    /// Smooth weighted round robin, as nginx has it: each is owed its weight a turn, and who is owed most pays for all.
    fn owed_most(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let mut total = 0;
        for candidate in candidates {
            let weight = i64::from(candidate.weight.max(1));
            self.kept.entry(candidate.id).or_default().1 += weight;
            total += weight;
        }
        let owed = |place: &usize| (self.kept[&candidates[*place].id].1, std::cmp::Reverse(*place));
        let chosen = (0..candidates.len()).max_by_key(owed)?;
        self.kept.entry(candidates[chosen].id).or_default().1 -= total;
        Some(chosen)
    }
}

/// One drawn by weight, not the one that is left out.
fn drawn(candidates: &[Candidate], without: Option<usize>, chance: f64) -> usize {
    let open = || candidates.iter().enumerate().filter(|(place, _)| Some(*place) != without);
    let total: f64 = open().map(|(_, candidate)| candidate.weight()).sum();
    let mut left = chance * total;
    for (place, candidate) in open() {
        left -= candidate.weight();
        if left < 0.0 {
            return place;
        }
    }
    open().next_back().map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::service::fraction;

    fn candidates<const N: usize>(change: impl Fn(usize, &mut Candidate)) -> [Candidate; N] {
        std::array::from_fn(|place| {
            let mut candidate = Candidate { id: place as u64, weight: 1, in_flight: 0, latency: 0.1, health: 1.0 };
            change(place, &mut candidate);
            candidate
        })
    }

    /// How often each is chosen of so many calls.
    fn counts<const N: usize>(strategy: Balance, candidates: &[Candidate; N], calls: u64) -> [u64; N] {
        let (mut rota, mut counts, mut drawn) = (Rota::default(), [0; N], 0);
        for _ in 0..calls {
            let chance = || {
                drawn += 1;
                fraction(7, drawn)
            };
            counts[rota.choose(strategy, candidates, chance).expect("there are some")] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_takes_each_in_turn_and_a_new_one_first() {
        assert_eq!(counts(Balance::RoundRobin, &candidates::<3>(|_, _| {}), 9), [3, 3, 3]);
        let mut rota = Rota::default();
        let all = candidates::<4>(|_, _| {});
        let mut choose = |among: &[Candidate]| rota.choose(Balance::RoundRobin, among, || 0.0).unwrap();
        assert_eq!([choose(&all[..2]), choose(&all[..2]), choose(&all), choose(&all), choose(&all)], [0, 1, 2, 3, 0]);
    }

    #[test]
    fn weights_are_kept_and_spread_evenly() {
        let weighted = candidates::<3>(|place, candidate| candidate.weight = [5, 1, 1][place]);
        assert_eq!(counts(Balance::WeightedRoundRobin, &weighted, 70), [50, 10, 10]);
        let mut rota = Rota::default();
        let order: Vec<_> =
            (0..7).map(|_| rota.choose(Balance::WeightedRoundRobin, &weighted, || 0.0).unwrap()).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
        let [often, seldom, _] = counts(Balance::Random, &weighted, 7_000);
        assert!((4_800..5_200).contains(&often) && (900..1_100).contains(&seldom), "{often} {seldom}");
    }

    #[test]
    fn the_least_busy_the_healthiest_and_the_fastest_are_chosen_by_their_strategies() {
        let all = candidates::<3>(|place, candidate| {
            candidate.in_flight = [4, 1, 3][place];
            candidate.health = [0.8, 0.5, 0.99][place];
            candidate.latency = [0.01, 0.3, 0.2][place];
        });
        assert_eq!(counts(Balance::LeastConnections, &all, 5), [0, 5, 0]);
        assert_eq!(counts(Balance::HealthBased, &all, 5), [0, 0, 5]);
        assert_eq!(counts(Balance::ResponseTimeBased, &all, 5), [5, 0, 0]);
        let alike = candidates::<2>(|place, candidate| candidate.health = [0.991, 0.993][place]);
        assert_eq!(counts(Balance::HealthBased, &alike, 6), [3, 3], "what differs by chance takes turns");
    }

    #[test]
    fn the_slower_of_two_gets_what_is_drawn_twice_and_of_three_hardly_anything() {
        let two = candidates::<2>(|place, candidate| candidate.latency = [0.1, 1.0][place]);
        assert_eq!(counts(Balance::PeakEwma, &two, 100), [100, 0]);
        let three = candidates::<3>(|place, candidate| candidate.latency = [0.1, 0.1, 1.0][place]);
        let [one, other, slow] = counts(Balance::PeakEwma, &three, 900);
        assert!(one > 350 && other > 350 && slow == 0, "{one} {other} {slow}");
        let busy = candidates::<2>(|place, candidate| {
            candidate.latency = [0.1, 0.3][place];
            candidate.in_flight = [5, 0][place];
        });
        assert_eq!(counts(Balance::PeakEwma, &busy, 10), [0, 10]);
        let failing = candidates::<2>(|place, candidate| {
            candidate.latency = [0.01, 0.1][place];
            candidate.health = [0.0, 1.0][place];
        });
        assert_eq!(counts(Balance::PeakEwma, &failing, 10), [0, 10], "failing fast is no reason to be chosen");
    }

    #[test]
    fn one_is_chosen_whatever_the_strategy_and_of_none_none() {
        for strategy in Balance::ALL {
            let one = candidates::<1>(|_, _| {});
            assert_eq!(Rota::default().choose(strategy, &one, || 0.5), Some(0));
            assert_eq!(Rota::default().choose(strategy, &[], || 0.5), None);
        }
    }
}
