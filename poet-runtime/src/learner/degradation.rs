//! Says how likely a service fails the next attempt: whether it is degraded now.
//!
//! **What is seen.** In which [`Situation`] every attempt was made, how many had failed in a row before it and for how
//! long it had been so, and what it came to. The share that failed in a situation *is* the chance that the next one
//! does: a table that is calibrated by what it is made of, and in which a two-state filter (the run) and a hazard (the
//! age) stand side by side, without a rate that has to be fitted.
//!
//! **Until it was seen.** Each situation begins with [`PRIOR`] attempts at the shares of [`SHARES`], round numbers about
//! those of monitored web services. Where attempts succeeded last, the prior follows how often this service fails in
//! such situations altogether: half of the difference between services is only that.
//!
//! **What it is not.** A probability, never an accuracy: a service that fails one attempt in a hundred is foretold with
//! 99 % accuracy by saying "no". How much better than its mean rate the table is, is its Brier skill.
//!
//! Forgetting: a half-life of 20 days.

use super::guard::MIN_SAMPLE;
use super::posterior::Posterior;
use crate::clock::Wall;
use crate::evidence::{History, Situation, Situations};

/// Half as much is believed of an attempt after this many hours.
const HALF_LIFE: f64 = 20.0 * 24.0;

/// How many attempts the prior share of a situation stands for.
const PRIOR: f64 = 10.0;

/// How many expected failures the prior rate of a service stands for.
const RATE: f64 = 2.0;

/// The largest share a prior may say.
const MOST: f64 = 0.95;

/// Shares that fail, by age: after a success, and after one, two and more failures.
const SHARES: [&[f64]; 4] = [
    &[0.15, 0.12, 0.10, 0.08, 0.03, 0.006, 0.0015, 0.001],
    &[0.4, 0.35, 0.3, 0.3, 0.5, 0.6],
    &[0.6, 0.6, 0.6, 0.65, 0.7, 0.8],
    &[0.8, 0.8, 0.85, 0.9, 0.95, 0.95],
];

fn share(situation: Situation) -> f64 {
    let (run, age) = situation.run_and_age();
    SHARES[usize::from(run)][usize::from(age)]
}

/// How likely the next attempt fails, and how surely that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Degradation {
    /// The probability that an attempt made now fails.
    pub probability: f64,
    /// 90 % of the belief about it.
    pub interval: (f64, f64),
    /// The attempts that were made in the same situation before, those long ago counting less.
    pub sample: f64,
}

/// The counts of a history, those long ago counting less.
#[must_use]
pub(crate) fn counted(history: &History, now: Wall) -> Situations {
    Situations::read(history, |hour| (-((now.hour() - hour).max(0) as f64) / HALF_LIFE).exp2())
}

/// How likely an attempt made in a situation fails; `None` until enough attempts were seen in any.
#[must_use]
pub(crate) fn foretell(seen: &Situations, situation: Situation) -> Option<Degradation> {
    if seen.attempts() < MIN_SAMPLE {
        return None;
    }
    let before = if situation.is_calm() { (share(situation) * rate(seen)).min(MOST) } else { share(situation) };
    let (failed, succeeded) = seen.of(situation);
    let (bad, good) = (PRIOR * before + failed, PRIOR * (1.0 - before) + succeeded);
    // As sure as the attempts would make it if they were apart from each other, and less by as much as they are not.
    let spread = seen.spread_of_days();
    let interval = Posterior::new(bad / spread, good / spread).interval();
    Some(Degradation { probability: bad / (bad + good), interval, sample: failed + succeeded })
}

/// How much more often than the prior says a service fails although its last attempt succeeded.
fn rate(seen: &Situations) -> f64 {
    let calm = Situation::all().filter(|situation| situation.is_calm());
    let (failed, expected) = calm.fold((RATE, RATE), |(sum, expected), situation| {
        let (failed, succeeded) = seen.of(situation);
        (sum + failed, expected + share(situation) * (failed + succeeded))
    });
    failed / expected
}

/// By how much knowing the situation beats knowing the mean rate, between 0 and 1: the Brier skill of the shares that
/// were counted; `None` where nothing failed, or everything.
#[must_use]
pub(crate) fn skill(seen: &Situations) -> Option<f64> {
    let spread = |(failed, succeeded): (f64, f64)| {
        if failed + succeeded > 0.0 { failed * succeeded / (failed + succeeded) } else { 0.0 }
    };
    let within: f64 = Situation::all().map(|situation| spread(seen.of(situation))).sum();
    let all = Situation::all().map(|situation| seen.of(situation)).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    (seen.attempts() >= MIN_SAMPLE && spread(all) > 0.0).then(|| 1.0 - within / spread(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Key;
    use std::time::Duration;

    fn history(cells: &[(Situation, bool, u64)]) -> History {
        let mut history = History::default();
        for &(situation, failed, count) in cells {
            history.add(480_000, Key::Next(situation, failed), count);
        }
        history
    }

    fn now() -> Wall {
        Wall::from_millis(480_000 * 3_600_000)
    }

    fn risk(cells: &[(Situation, bool, u64)], situation: Situation) -> f64 {
        foretell(&counted(&history(cells), now()), situation).unwrap().probability
    }

    const LONG: Duration = Duration::from_secs(7_200);

    #[test]
    fn nothing_is_foretold_of_a_service_that_was_hardly_called() {
        let calm = Situation::calm(None);
        assert_eq!(foretell(&counted(&history(&[(calm, false, MIN_SAMPLE - 1)]), now()), calm), None);
        assert!(risk(&[(calm, false, MIN_SAMPLE)], calm) < 0.001);
    }

    #[test]
    fn what_is_foretold_comes_to_be_the_share_that_failed() {
        let calm = Situation::calm(None);
        assert!((risk(&[(calm, false, 9_000), (calm, true, 1_000)], calm) - 0.1).abs() < 0.001);
    }

    #[test]
    fn a_service_that_fails_often_is_expected_to_in_situations_it_was_never_in() {
        let (calm, lately) = (Situation::calm(None), Situation::calm(Some(LONG)));
        let reliable = risk(&[(calm, false, 10_000)], lately);
        let flaky = risk(&[(calm, false, 9_900), (calm, true, 100)], lately);
        assert!(reliable < 0.02 && flaky > 0.1, "{reliable} {flaky}");
    }

    #[test]
    fn a_service_that_is_down_for_hours_is_expected_to_stay_so_until_it_showed_otherwise() {
        let (calm, down) = (Situation::calm(None), Situation::failing(3, LONG));
        assert!(risk(&[(calm, false, 100)], down) > 0.85);
        assert!(risk(&[(calm, false, 100), (down, false, 200)], down) < 0.1);
    }

    #[test]
    fn what_was_long_ago_weighs_half_after_twenty_days() {
        let calm = Situation::calm(None);
        let then = history(&[(calm, true, 100)]);
        let later = Wall::from_millis(now().millis() + 20 * 86_400_000);
        assert!((foretell(&counted(&then, later), calm).unwrap().sample - 50.0).abs() < 1e-9);
    }

    #[test]
    fn two_processes_together_know_what_one_would() {
        let (calm, down) = (Situation::calm(None), Situation::failing(2, LONG));
        let (mut merged, b) =
            (history(&[(calm, false, 100), (down, true, 3)]), history(&[(calm, true, 1), (down, true, 4)]));
        merged.merge(&b);
        let whole = history(&[(calm, false, 100), (calm, true, 1), (down, true, 7)]);
        assert_eq!(counted(&merged, now()), counted(&whole, now()));
    }

    #[test]
    fn a_table_that_tells_all_has_skill_one_and_one_that_tells_nothing_none() {
        let (calm, down) = (Situation::calm(None), Situation::failing(3, LONG));
        let skill = |cells: &[_]| skill(&counted(&history(cells), now()));
        assert_eq!(skill(&[(calm, false, 100), (down, true, 50)]), Some(1.0));
        let nothing = skill(&[(calm, false, 100), (calm, true, 10), (down, false, 50), (down, true, 5)]).unwrap();
        assert!(nothing.abs() < 1e-9, "{nothing}");
        assert_eq!(skill(&[(calm, false, 100)]), None);
    }
}
