//! Decides how good a kept answer still is, from its age alone.
//!
//! Each use of an old answer has a budget of its own: fresh, then given while a new one is fetched, then given only
//! when the service fails. The budgets do not add up: both stale ones begin where freshness ends.

use super::jitter;
use std::time::Duration;

/// What a kept answer may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It answers.
    Fresh,
    /// It answers, and a new one is fetched meanwhile.
    Stale,
    /// It answers if the service does not.
    OnError,
    /// Nothing.
    Gone,
}

/// How long an answer may be used for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Rules {
    /// How long it is fresh.
    pub(crate) ttl: Duration,
    /// How long after that it is still given while a new one is fetched.
    pub(crate) stale_while_revalidate: Duration,
    /// How long after its freshness it is still given when the service fails.
    pub(crate) stale_if_error: Duration,
}

impl Rules {
    /// The rules where the service itself said how long its answer is valid: no longer than that is it fresh.
    pub(crate) fn capped(self, valid_for: Option<Duration>) -> Self {
        Self { ttl: valid_for.map_or(self.ttl, |valid| valid.min(self.ttl)), ..self }
    }

    /// The age from which the answer is of no use.
    pub(crate) fn usable_for(&self) -> Duration {
        self.ttl.saturating_add(self.stale_while_revalidate.max(self.stale_if_error))
    }
}

/// Whether an answer of this age answers as it is.
#[inline]
pub(crate) fn is_fresh(age: Duration, ttl: Duration) -> bool {
    age < ttl
}

/// What an answer of this age may be used for.
#[inline]
pub(crate) fn freshness(age: Duration, rules: &Rules) -> Freshness {
    if is_fresh(age, rules.ttl) {
        return Freshness::Fresh;
    }
    let over = age.saturating_sub(rules.ttl);
    if over < rules.stale_while_revalidate {
        Freshness::Stale
    } else if over < rules.stale_if_error {
        Freshness::OnError
    } else {
        Freshness::Gone
    }
}

/// The share of fresh answers for which a new one is fetched all the same: how often answers change at young ages is
/// seen in no other way, because nobody asks the service while an answer is fresh.
const SAMPLED: f64 = 0.02;

/// Whether this hit is one of those; the same for the same arguments.
pub(crate) fn is_sampled(seed: u64, counter: u64) -> bool {
    jitter::fraction(seed, counter) < SAMPLED
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    const RULES: Rules = Rules { ttl: secs(60), stale_while_revalidate: secs(30), stale_if_error: secs(600) };

    #[test]
    fn an_answer_ages_from_fresh_to_gone() {
        let steps = [
            (0, Freshness::Fresh),
            (59, Freshness::Fresh),
            (60, Freshness::Stale),
            (89, Freshness::Stale),
            (90, Freshness::OnError),
            (659, Freshness::OnError),
            (660, Freshness::Gone),
        ];
        for (age, expected) in steps {
            assert_eq!(freshness(secs(age), &RULES), expected, "{age} s");
        }
    }

    #[test]
    fn no_time_to_live_means_that_it_is_never_fresh() {
        assert_eq!(freshness(Duration::ZERO, &Rules::default()), Freshness::Gone);
        assert_eq!(freshness(Duration::ZERO, &RULES.capped(Some(Duration::ZERO))), Freshness::Stale);
    }

    #[test]
    fn the_word_of_the_service_shortens_and_never_lengthens() {
        assert_eq!(RULES.capped(Some(secs(10))).ttl, secs(10));
        assert_eq!(RULES.capped(Some(secs(1_000))).ttl, secs(60));
        assert_eq!(RULES.capped(None), RULES);
    }

    #[test]
    fn one_fresh_hit_in_fifty_is_sampled_and_always_the_same_ones() {
        let sampled: Vec<_> = (0..10_000).filter(|n| is_sampled(7, *n)).collect();
        assert!((150..250).contains(&sampled.len()), "{}", sampled.len());
        assert_eq!(sampled, (0..10_000).filter(|n| is_sampled(7, *n)).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn an_answer_never_gets_better_with_age(ttl in 0_u64..100, swr in 0_u64..100, sie in 0_u64..100) {
            let rules = Rules { ttl: secs(ttl), stale_while_revalidate: secs(swr), stale_if_error: secs(sie) };
            let grades: Vec<_> = (0..301).map(|age| freshness(secs(age), &rules) as u8).collect();
            prop_assert!(grades.is_sorted());
            prop_assert_eq!(freshness(rules.usable_for(), &rules), Freshness::Gone);
        }
    }
}
