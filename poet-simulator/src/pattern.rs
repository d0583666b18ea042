//! Decides what happens to one call of a simulated service.
//!
//! The decision is a function of the pattern and of the call alone (its number, its key, how often that key came, how
//! long the service has been up). No state means that a server that was killed and started again goes on where it
//! was, and that calls served at the same time do not change each other's fate. [`Faults`] does the counting for
//! whoever has no ledger of his own.

use crate::random::{SplitMix64, hash};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

/// One call that reached the service.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Which call of the service it is; 1 for the first.
    pub number: u64,
    /// What it is about; retries of the same thing have the same key.
    pub key: &'a str,
    /// Which call with this key it is; 1 for the first.
    pub attempt: u64,
    /// How long the service has been up.
    pub at: Duration,
}

/// What the service does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long it takes before it answers, well or badly.
    pub after: Duration,
    /// What is wrong with the answer.
    pub fault: Fault,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: executed and answered.
    None,
    /// Not executed, and answered with an error.
    Fail(Failure),
    /// Not executed, and never answered.
    Hang,
    /// Executed, and the answer is lost.
    DropAfterExecute,
}

/// The errors a service answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It cannot just now.
    Transient,
    /// It wants to be left alone, for a time it may name.
    Throttled {
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It will not, however often it is asked.
    Permanent,
}

/// What a rule does to the calls it applies to; a [`Fault`] that is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are answered with an error.
    Fail(Failure),
    /// They are never answered.
    Hang,
    /// They are executed, and the answer is lost.
    Lose,
}

impl From<Effect> for Fault {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Fail(failure) => Self::Fail(failure),
            Effect::Hang => Self::Hang,
            Effect::Lose => Self::DropAfterExecute,
        }
    }
}

/// A share of something, in millionths, so that what is written is what is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Everything.
    pub const ALL: Self = Self(1_000_000);

    /// That many millionths; `None` above one million.
    #[must_use]
    pub const fn from_millionths(millionths: u32) -> Option<Self> {
        if millionths <= Self::ALL.0 { Some(Self(millionths)) } else { None }
    }

    /// In millionths.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    fn holds(self, mut random: SplitMix64) -> bool {
        random.unit() * f64::from(Self::ALL.0) < f64::from(self.0)
    }
}

/// Which calls a rule applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every so many calls: the third, the sixth …
    Every(NonZeroU64),
    /// The calls with these numbers, both included.
    Numbers(u64, u64),
    /// A share of all calls, drawn anew for each.
    Calls(Share),
    /// The first attempts with each of a share of the keys; `None` for all attempts with them.
    Keys {
        /// How many attempts.
        attempts: Option<NonZeroU64>,
        /// Which share of the keys.
        share: Share,
    },
    /// The calls that arrive in the last stretch of every period, as in an outage that comes back.
    Stretch {
        /// How long it lasts.
        length: Duration,
        /// From the end of one to the end of the next.
        period: Duration,
    },
}

impl Which {
    fn applies(self, call: Call<'_>, seed: u64, stream: u64) -> bool {
        match self {
            Self::Every(step) => call.number.is_multiple_of(step.get()),
            Self::Numbers(from, to) => (from..=to).contains(&call.number),
            Self::Calls(share) => share.holds(SplitMix64::of(seed, stream, call.number)),
            Self::Keys { attempts, share } => {
                attempts.is_none_or(|attempts| call.attempt <= attempts.get())
                    && share.holds(SplitMix64::of(seed, stream, hash(call.key)))
            }
            Self::Stretch { length, period } => {
                let into = call.at.as_nanos() % period.as_nanos().max(1);
                into >= period.saturating_sub(length).as_nanos()
            }
        }
    }
}

/// Which calls, and what happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which calls.
    pub which: Which,
    /// What happens to them.
    pub effect: Effect,
}

/// How long a service takes to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Equally likely anywhere between two times.
    Between(Duration, Duration),
    /// Log-normal, as most services are: half of the answers within the median, 95 % within `p95`.
    Typical {
        /// Half of the answers come within this.
        median: Duration,
        /// 95 % of the answers come within this.
        p95: Duration,
    },
}

/// The quantile of the standard normal distribution at 0.95.
const Z_95: f64 = 1.644_853_626_951_472_2;

impl Latency {
    fn draw(self, mut random: SplitMix64) -> Duration {
        match self {
            Self::Between(from, to) => from + to.saturating_sub(from).mul_f64(random.unit()),
            Self::Typical { median, p95 } => {
                let sigma = (p95.as_secs_f64() / median.as_secs_f64()).ln() / Z_95;
                let seconds = median.as_secs_f64() * (sigma * random.normal()).exp();
                Duration::try_from_secs_f64(seconds).unwrap_or(p95)
            }
        }
    }
}

/// How a service behaves: how long it takes, and what goes wrong. Read from text, and shown as the same text.
///
/// Clauses are separated by semicolons. The first rule that applies to a call decides it.
///
/// | Clause | Meaning |
/// |---|---|
/// | `seed 7` | which of the many worlds with these shares; 0 where it is not said |
/// | `takes 20ms`, `takes 20ms to 40ms` | the latency, constant or anywhere between |
/// | `takes 30ms, 95% within 80ms` | the latency, log-normal with that median |
/// | `every call …`, `every 3rd call …` | counted over all calls |
/// | `calls 40 to 60 …` | by number, both included |
/// | `9% of calls …` | drawn for each call |
/// | `5% of keys …` | drawn for each key, the same for all its attempts |
/// | `first attempt of each key …`, `first 2 attempts of 20% of keys …` | what comes back is served |
/// | `calls in 2s of every 20s …` | an outage at the end of every such period |
/// | `… fails`, `… is throttled`, `… is throttled for 2s`, `… is rejected` | an error: transient, throttled, permanent |
/// | `… hangs` | not executed, never answered |
/// | `… is lost` | executed, the answer never arrives |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    pub(crate) seed: u64,
    pub(crate) latency: Option<Latency>,
    pub(crate) rules: Vec<Rule>,
}

impl Pattern {
    /// The same shares in another of the worlds that have them.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What happens to a call.
    #[must_use]
    pub fn answer(&self, call: Call<'_>) -> Answer {
        // The latency is drawn from a stream of its own, so that a rule more or less changes no other call's fate.
        let after = self
            .latency
            .map_or(Duration::ZERO, |latency| latency.draw(SplitMix64::of(self.seed, u64::MAX, call.number)));
        let hit = (0..).zip(&self.rules).find(|(stream, rule)| rule.which.applies(call, self.seed, *stream));
        Answer { after, fault: hit.map_or(Fault::None, |(_, rule)| rule.effect.into()) }
    }
}

/// A pattern that counts its calls itself. It remembers every key it has seen.
#[derive(Clone, Debug)]
pub struct Faults {
    pattern: Pattern,
    calls: u64,
    attempts: HashMap<String, u64>,
}

impl Faults {
    /// Starts before the first call.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self { pattern, calls: 0, attempts: HashMap::new() }
    }

    /// What happens to the next call, which is about `key` and comes when the service has been up that long.
    pub fn next(&mut self, key: &str, at: Duration) -> Answer {
        self.calls += 1;
        let attempt = self.attempts.entry(key.to_owned()).or_default();
        *attempt += 1;
        self.pattern.answer(Call { number: self.calls, key, attempt: *attempt, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    fn faults(text: &str, calls: u64) -> Vec<u64> {
        let pattern = pattern(text);
        (1..=calls)
            .filter(|number| {
                let call = Call { number: *number, key: "k", attempt: *number, at: Duration::ZERO };
                pattern.answer(call).fault != Fault::None
            })
            .collect()
    }

    #[test]
    fn every_third_call_fails_and_no_other() {
        assert_eq!(faults("every 3rd call fails", 9), [3, 6, 9]);
    }

    #[test]
    fn a_stretch_of_calls_includes_both_its_ends() {
        assert_eq!(faults("calls 4 to 6 hang", 9), [4, 5, 6]);
    }

    #[test]
    fn the_first_attempts_of_a_key_fail_whatever_other_keys_do() {
        let mut faults = Faults::new(pattern("first 2 attempts of each key fail"));
        let mut next = |key| faults.next(key, Duration::ZERO).fault;
        let failed = Fault::Fail(Failure::Transient);
        assert_eq!([next("a"), next("b"), next("a")], [failed, failed, failed]);
        assert_eq!([next("a"), next("b"), next("b")], [Fault::None, failed, Fault::None]);
    }

    #[test]
    fn a_chosen_key_fails_at_every_attempt() {
        let pattern = pattern("seed 3; 30% of keys fail");
        for key in 0..50 {
            let key = format!("C-{key}");
            let fate =
                |attempt| pattern.answer(Call { number: attempt * 100, key: &key, attempt, at: Duration::ZERO }).fault;
            assert_eq!(fate(1), fate(2), "{key}");
        }
    }

    #[test]
    fn an_outage_comes_at_the_end_of_every_period() {
        let pattern = pattern("calls in 2s of every 20s fail");
        let down = |seconds| {
            let call = Call { number: 1, key: "", attempt: 1, at: Duration::from_secs(seconds) };
            pattern.answer(call).fault != Fault::None
        };
        assert!(!down(0) && !down(17) && down(18) && down(19) && !down(20) && down(39));
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        let pattern = pattern("calls 1 to 2 hang; every call is lost");
        let fate = |number| pattern.answer(Call { number, key: "", attempt: 1, at: Duration::ZERO }).fault;
        assert_eq!([fate(2), fate(3)], [Fault::Hang, Fault::DropAfterExecute]);
    }

    #[test]
    fn one_more_rule_changes_no_other_rules_choice() {
        let before = pattern("9% of calls fail");
        let after = pattern("9% of calls fail; calls 10000 to 10001 hang; takes 5ms");
        for number in 1..1_000 {
            let call = Call { number, key: "", attempt: 1, at: Duration::ZERO };
            assert_eq!(before.answer(call).fault, after.answer(call).fault);
        }
    }

    #[test]
    fn a_typical_latency_has_the_stated_median_and_95_percent() {
        let pattern = pattern("seed 5; takes 30ms, 95% within 80ms");
        let mut sample: Vec<Duration> = (1..=20_000)
            .map(|number| pattern.answer(Call { number, key: "", attempt: 1, at: Duration::ZERO }).after)
            .collect();
        sample.sort();
        let [median, p95] = [sample[10_000], sample[19_000]].map(|time| time.as_secs_f64() * 1e3);
        assert!((median - 30.0).abs() < 1.0, "{median}");
        assert!((p95 - 80.0).abs() < 4.0, "{p95}");
    }

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_sequence_and_another_seed_another(seed: u64) {
            let text = "20% of calls fail; 10% of keys hang; takes 1ms to 9ms";
            let run = |seed| {
                let mut faults = Faults::new(pattern(text).with_seed(seed));
                (0..200).map(|call| faults.next(&format!("C-{}", call % 70), Duration::ZERO)).collect::<Vec<_>>()
            };
            prop_assert_eq!(run(seed), run(seed));
            prop_assert_ne!(run(seed), run(seed.wrapping_add(1)));
        }

        #[test]
        fn a_share_of_calls_converges_to_what_is_stated(seed: u64, millionths in 0..=1_000_000_u32) {
            let share = Share::from_millionths(millionths).unwrap();
            let rule = Rule { which: Which::Calls(share), effect: Effect::Hang };
            let pattern = Pattern { seed, latency: None, rules: vec![rule] };
            let hit = (1..=5_000)
                .filter(|number| {
                    let call = Call { number: *number, key: "", attempt: 1, at: Duration::ZERO };
                    pattern.answer(call).fault == Fault::Hang
                })
                .count();
            // Six deviations of a binomial with 5,000 draws are at most 6 × 35.4.
            let expected = f64::from(millionths) / 1e6 * 5_000.0;
            prop_assert!((f64::from(u32::try_from(hit).unwrap()) - expected).abs() <= 213.0, "{} of {}", hit, expected);
        }

        #[test]
        fn a_latency_between_two_times_stays_between_them(seed: u64, number: u64) {
            let pattern = pattern("takes 20ms to 40ms").with_seed(seed);
            let after = pattern.answer(Call { number, key: "", attempt: 1, at: Duration::ZERO }).after;
            prop_assert!((20..=40).contains(&after.as_millis()));
        }
    }
}
