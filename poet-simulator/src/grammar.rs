//! Reads a pattern from its text, and writes it as the text it is read from.
//!
//! The text stands in configurations and in reports, so it has to read as a sentence and to survive the round trip.
//! It is written in one way only; both numbers of a verb are read, because people write both.

use crate::pattern::{Effect, Failure, Latency, Pattern, Rule, Share, Which};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// A clause that is no part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPattern {
    clause: String,
    expected: &'static str,
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}", self.clause, self.expected)
    }
}

impl Error for InvalidPattern {}

const EFFECT: &str =
    "an ending such as `fails`, `hangs`, `is lost`, `is rejected`, `is throttled` or `is throttled for 2s`";
const WHICH: &str = "a beginning such as `every 3rd call`, `calls 40 to 60`, `9% of calls`, `5% of keys`, \
                     `first attempt of each key` or `calls in 2s of every 20s`";
const LATENCY: &str = "a latency such as `takes 20ms`, `takes 20ms to 40ms` or `takes 30ms, 95% within 80ms`";
const SEED: &str = "a seed such as `seed 7`";

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let mut pattern = Self::default();
        for clause in text.split(';').map(str::trim).filter(|clause| !clause.is_empty()) {
            let words: Vec<&str> = clause.split_whitespace().collect();
            let otherwise = |expected| move || InvalidPattern { clause: clause.to_owned(), expected };
            match words.as_slice() {
                ["seed", seed] => pattern.seed = seed.parse().map_err(|_| otherwise(SEED)())?,
                ["takes", rest @ ..] => pattern.latency = Some(latency(rest).ok_or_else(otherwise(LATENCY))?),
                words => {
                    let (words, effect) = effect(words).ok_or_else(otherwise(EFFECT))?;
                    let which = which(words).ok_or_else(otherwise(WHICH))?;
                    pattern.rules.push(Rule { which, effect });
                }
            }
        }
        Ok(pattern)
    }
}

fn effect<'a, 'w>(words: &'a [&'w str]) -> Option<(&'a [&'w str], Effect)> {
    Some(match words {
        [rest @ .., "fails" | "fail"] => (rest, Effect::Fail(Failure::Transient)),
        [rest @ .., "hangs" | "hang"] => (rest, Effect::Hang),
        [rest @ .., "is" | "are", "lost"] => (rest, Effect::Lose),
        [rest @ .., "is" | "are", "rejected"] => (rest, Effect::Fail(Failure::Permanent)),
        [rest @ .., "is" | "are", "throttled"] => (rest, Effect::Fail(Failure::Throttled { retry_after: None })),
        [rest @ .., "is" | "are", "throttled", "for", time] => {
            (rest, Effect::Fail(Failure::Throttled { retry_after: Some(duration(time)?) }))
        }
        _ => return None,
    })
}

fn which(words: &[&str]) -> Option<Which> {
    Some(match words {
        ["every", "call"] => Which::Every(NonZeroU64::MIN),
        ["every", nth, "call"] => Which::Every(ordinal(nth)?),
        ["calls", "in", length, "of", "every", period] => {
            let (length, period) = (duration(length)?, duration(period)?);
            (length <= period && !period.is_zero()).then_some(Which::Stretch { length, period })?
        }
        ["calls", from, "to", to] => {
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to).then_some(Which::Numbers(from, to))?
        }
        [share, "of", "calls"] => Which::Calls(percent(share)?),
        ["first", "attempt", "of", rest @ ..] => Which::Keys { attempts: Some(NonZeroU64::MIN), share: keys(rest)? },
        ["first", attempts, "attempts", "of", rest @ ..] => {
            Which::Keys { attempts: Some(attempts.parse().ok()?), share: keys(rest)? }
        }
        rest => Which::Keys { attempts: None, share: keys(rest)? },
    })
}

fn keys(words: &[&str]) -> Option<Share> {
    match words {
        ["each", "key"] => Some(Share::ALL),
        [share, "of", "keys"] => percent(share),
        _ => None,
    }
}

fn latency(words: &[&str]) -> Option<Latency> {
    match words {
        [time] => duration(time).map(|time| Latency::Between(time, time)),
        [from, "to", to] => {
            let (from, to) = (duration(from)?, duration(to)?);
            (from <= to).then_some(Latency::Between(from, to))
        }
        [median, "95%", "within", p95] => {
            let (median, p95) = (duration(median.strip_suffix(',')?)?, duration(p95)?);
            (!median.is_zero() && median <= p95).then_some(Latency::Typical { median, p95 })
        }
        _ => None,
    }
}

fn ordinal(word: &str) -> Option<NonZeroU64> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|suffix| word.strip_suffix(suffix))?;
    digits.parse().ok()
}

/// `9%` or `0.25%`, down to a millionth.
fn percent(word: &str) -> Option<Share> {
    Share::from_millionths(u32::try_from(decimal(word.strip_suffix('%')?, 4)?).ok()?)
}

/// `250us`, `20ms`, `1.5s` or `2min`.
fn duration(word: &str) -> Option<Duration> {
    let (number, nanoseconds, places) = [("us", 1_000, 3), ("ms", 1_000_000, 6), ("s", 1_000_000_000, 9)]
        .into_iter()
        .find_map(|(unit, nanoseconds, places)| Some((word.strip_suffix(unit)?, nanoseconds, places)))
        .or_else(|| Some((word.strip_suffix("min")?, 60_000_000_000, 9)))?;
    let scale = 10_u64.pow(places);
    Some(Duration::from_nanos(decimal(number, places)?.checked_mul(nanoseconds / scale)?))
}

/// A decimal number in units of its last allowed place.
fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let missing = places.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction =
        if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()?.checked_mul(10_u64.pow(missing))? };
    whole.parse::<u64>().ok()?.checked_mul(10_u64.pow(places))?.checked_add(fraction)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if self.seed != 0 {
            write!(f, "seed {}", self.seed)?;
            between = "; ";
        }
        if let Some(latency) = &self.latency {
            write!(f, "{between}takes {latency}")?;
            between = "; ";
        }
        for rule in &self.rules {
            write!(f, "{between}{rule}")?;
            between = "; ";
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = match self.which {
            Which::Every(_) => true,
            Which::Keys { attempts, .. } => attempts == Some(NonZeroU64::MIN),
            Which::Numbers(..) | Which::Calls(_) | Which::Stretch { .. } => false,
        };
        let (verb, be) = if one { ("s", "is") } else { ("", "are") };
        write!(f, "{} ", self.which)?;
        match self.effect {
            Effect::Fail(Failure::Transient) => write!(f, "fail{verb}"),
            Effect::Fail(Failure::Permanent) => write!(f, "{be} rejected"),
            Effect::Fail(Failure::Throttled { retry_after: None }) => write!(f, "{be} throttled"),
            Effect::Fail(Failure::Throttled { retry_after: Some(time) }) => {
                write!(f, "{be} throttled for {}", Time(time))
            }
            Effect::Hang => write!(f, "hang{verb}"),
            Effect::Lose => write!(f, "{be} lost"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Every(NonZeroU64::MIN) => write!(f, "every call"),
            Self::Every(step) => {
                let suffix = match (step.get() % 10, step.get() % 100) {
                    (_, 11..=13) => "th",
                    (1, _) => "st",
                    (2, _) => "nd",
                    (3, _) => "rd",
                    _ => "th",
                };
                write!(f, "every {step}{suffix} call")
            }
            Self::Numbers(from, to) => write!(f, "calls {from} to {to}"),
            Self::Calls(share) => write!(f, "{share} of calls"),
            Self::Stretch { length, period } => write!(f, "calls in {} of every {}", Time(length), Time(period)),
            Self::Keys { attempts, share } => {
                match attempts {
                    None => {}
                    Some(NonZeroU64::MIN) => write!(f, "first attempt of ")?,
                    Some(attempts) => write!(f, "first {attempts} attempts of ")?,
                }
                if attempts.is_some() && share == Share::ALL {
                    write!(f, "each key")
                } else {
                    write!(f, "{share} of keys")
                }
            }
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Between(from, to) if from == to => write!(f, "{}", Time(from)),
            Self::Between(from, to) => write!(f, "{} to {}", Time(from), Time(to)),
            Self::Typical { median, p95 } => write!(f, "{}, 95% within {}", Time(median), Time(p95)),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millionths() / 10_000, self.millionths() % 10_000);
        if rest == 0 {
            write!(f, "{whole}%")
        } else {
            let rest = format!("{rest:04}");
            write!(f, "{whole}.{}%", rest.trim_end_matches('0'))
        }
    }
}

/// A duration in the largest unit that holds it in whole numbers.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_nanos() {
            nanos if nanos % 1_000_000_000 == 0 => write!(f, "{}s", nanos / 1_000_000_000),
            nanos if nanos % 1_000_000 == 0 => write!(f, "{}ms", nanos / 1_000_000),
            nanos if nanos % 1_000 == 0 => write!(f, "{}us", nanos / 1_000),
            nanos => write!(f, "{}.{:03}us", nanos / 1_000, nanos % 1_000),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_clause_is_shown_as_it_was_written() {
        for text in [
            "",
            "seed 7; takes 20ms to 40ms; 9% of calls fail; 0.25% of calls hang",
            "takes 250us; every call is lost",
            "takes 30ms, 95% within 80ms; every 3rd call fails; every 11th call fails; every 22nd call hangs",
            "calls 40 to 60 fail; calls in 1500ms of every 20s are throttled for 2s",
            "first attempt of each key fails; first attempt of 15% of keys is rejected",
            "first 2 attempts of each key hang; 5% of keys are lost; 100% of keys are throttled",
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn times_are_read_in_any_unit_and_shown_in_the_largest_whole_one() {
        let pattern: Pattern = "takes 0.5ms to 2min".parse().unwrap();
        assert_eq!(pattern.to_string(), "takes 500us to 120s");
    }

    #[test]
    fn a_wrong_clause_is_named_with_what_was_expected() {
        for (text, clause, expected) in [
            ("every 3rd call fails; 9% of calls explode", "9% of calls explode", EFFECT),
            ("every third call fails", "every third call fails", WHICH),
            ("every 0th call fails", "every 0th call fails", WHICH),
            ("calls 60 to 40 fail", "calls 60 to 40 fail", WHICH),
            ("101% of calls fail", "101% of calls fail", WHICH),
            ("0.00001% of calls fail", "0.00001% of calls fail", WHICH),
            ("calls in 3s of every 2s fail", "calls in 3s of every 2s fail", WHICH),
            ("takes 20", "takes 20", LATENCY),
            ("takes 40ms to 20ms", "takes 40ms to 20ms", LATENCY),
            ("takes 0ms, 95% within 20ms", "takes 0ms, 95% within 20ms", LATENCY),
            ("takes 99999999999999999999s", "takes 99999999999999999999s", LATENCY),
            ("seed seven", "seed seven", SEED),
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap_err(), InvalidPattern { clause: clause.to_owned(), expected });
        }
    }

    fn time() -> impl Strategy<Value = Duration> {
        (1..100_000_000_000_u64).prop_map(Duration::from_nanos)
    }

    fn share() -> impl Strategy<Value = Share> {
        (0..=1_000_000_u32).prop_filter_map("at most all", Share::from_millionths)
    }

    fn effects() -> impl Strategy<Value = Effect> {
        prop_oneof![
            Just(Effect::Hang),
            Just(Effect::Lose),
            Just(Effect::Fail(Failure::Transient)),
            Just(Effect::Fail(Failure::Permanent)),
            proptest::option::of(time()).prop_map(|retry_after| Effect::Fail(Failure::Throttled { retry_after })),
        ]
    }

    fn selections() -> impl Strategy<Value = Which> {
        let number = (1..u64::MAX).prop_filter_map("not zero", NonZeroU64::new);
        prop_oneof![
            number.clone().prop_map(Which::Every),
            (any::<u64>(), any::<u64>()).prop_map(|(a, b)| Which::Numbers(a.min(b), a.max(b))),
            share().prop_map(Which::Calls),
            (proptest::option::of(number), share()).prop_map(|(attempts, share)| Which::Keys { attempts, share }),
            (time(), time()).prop_map(|(a, b)| Which::Stretch { length: a.min(b), period: a.max(b) }),
        ]
    }

    fn latencies() -> impl Strategy<Value = Latency> {
        (time(), time(), any::<bool>()).prop_map(|(a, b, typical)| {
            let (low, high) = (a.min(b), a.max(b));
            if typical { Latency::Typical { median: low, p95: high } } else { Latency::Between(low, high) }
        })
    }

    proptest! {
        #[test]
        fn any_pattern_is_read_back_from_its_text(
            seed: u64,
            latency in proptest::option::of(latencies()),
            rules in proptest::collection::vec(
                (selections(), effects()).prop_map(|(which, effect)| Rule { which, effect }),
                0..5,
            ),
        ) {
            let pattern = Pattern { seed, latency, rules };
            prop_assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern);
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[a-z0-9%;., ]{0,60}") {
            let _ = text.parse::<Pattern>();
        }
    }
}
