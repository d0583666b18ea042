//! Parameters that a person holds at a value.

use super::{duration, suggest};
use crate::outcome::FailureKind;
use crate::parameter::{self, Parameter, Unit, Values};
use std::collections::BTreeMap;

/// Parameters held at a value: nothing that is learned moves them.
///
/// A name is that of a [`Parameter`], or, where it has a value for each kind of failure, that name and the kind:
/// `retry.max_retries.timeout`. A value is in the parameter's unit, seconds or a count. Names and bounds are checked
/// where a configuration is read, and by [`Config::check`](super::Config::check).
///
/// # Examples
///
/// ```
/// use poet_runtime::config::Pins;
/// use poet_runtime::{Profile, FailureKind, parameter::Values};
///
/// let mut pins = Pins::default();
/// pins.set("retry.max_retries", 3);
/// pins.set("retry.max_retries.timeout", 0);
/// let mut values = Values::of(Profile::GENERAL);
/// pins.apply(&mut values);
/// assert_eq!(values.get("retry.max_retries", Some(FailureKind::Timeout)), Some(0.0));
/// assert_eq!(values.get("retry.max_retries", Some(FailureKind::Connect)), Some(3.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pins(BTreeMap<String, f64>);

/// What a name in configuration stands for: a parameter, and the kind of failure it is pinned for, or all of them.
pub(super) type Pinned = (&'static Parameter, Option<FailureKind>);

impl Pins {
    /// Holds a parameter at a value in its unit, seconds or a count.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<f64>) {
        self.0.insert(name.into(), value.into());
    }

    /// Whether this name was given a value.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether nothing is pinned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value a parameter is held at; `None` where it is not.
    ///
    /// A value for all kinds of failure is one for each of them.
    #[must_use]
    pub fn get(&self, parameter: &Parameter, after: Option<FailureKind>) -> Option<f64> {
        let of_kind = after.and_then(|kind| self.0.get(&format!("{}.{}", parameter.name, kind.as_str())));
        of_kind.or_else(|| self.0.get(parameter.name)).copied()
    }

    /// The value that a person wrote for a parameter, in its unit: a number or, where that is seconds, a duration.
    ///
    /// # Errors
    ///
    /// What may be written instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::config::Pins;
    /// use poet_runtime::parameter::{ATTEMPT_TIMEOUT, MAX_RETRIES};
    ///
    /// assert_eq!(Pins::parse(&ATTEMPT_TIMEOUT, "250ms"), Ok(0.25));
    /// assert_eq!(Pins::parse(&MAX_RETRIES, "2s").unwrap_err(), "expected a whole number from 0 to 10, found `2s`");
    /// ```
    pub fn parse(parameter: &Parameter, written: &str) -> Result<f64, String> {
        let duration = || duration::parse(written).filter(|_| parameter.unit == Unit::Seconds);
        let value = written.parse().ok().or_else(|| duration().map(|duration| duration.as_secs_f64()));
        let fitting = value.filter(|value| within(parameter, *value).is_ok());
        fitting.ok_or_else(|| format!("expected {}, found `{written}`", allowed(parameter)))
    }

    /// The value, where a parameter may be held at it.
    pub(crate) fn check(parameter: &Parameter, value: f64) -> Result<f64, String> {
        within(parameter, value)
    }

    /// Every pin that names a parameter, those for all kinds of failure before those for one.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Parameter, Option<FailureKind>, f64)> + '_ {
        // `a.b` sorts before `a.b.timeout`, so the order of names is the order wanted.
        self.0.iter().filter_map(|(name, value)| find(name).ok().map(|(parameter, after)| (parameter, after, *value)))
    }

    /// Lays the pins over values.
    pub fn apply(&self, values: &mut Values) {
        for (parameter, after, value) in self.iter() {
            values.set(parameter.name, after, value);
        }
        if self.0.contains_key(parameter::ATTEMPT_TIMEOUT.name) {
            values.attempt_timeout_pinned = true;
        }
    }

    /// What is wrong with the pins, one message each.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().filter_map(|(name, value)| {
            let checked = find(name).and_then(|(parameter, _)| within(parameter, *value));
            checked.err().map(|problem| format!("pin.\"{name}\": {problem}"))
        })
    }
}

/// The parameter, and kind of failure, of a name.
pub(super) fn find(name: &str) -> Result<Pinned, String> {
    if let Some(parameter) = parameter::find(name) {
        return Ok((parameter, None));
    }
    if let Some((stem, kind)) = name.rsplit_once('.')
        && let Some(parameter) = parameter::find(stem)
    {
        if !parameter.per_failure {
            return Err(format!("`{stem}` has one value for all kinds of failure; write `{stem}`"));
        }
        let kinds = FailureKind::ALL.map(FailureKind::as_str);
        let meant = suggest::or_all(kind, &kinds);
        return FailureKind::from_name(kind)
            .map(|kind| (parameter, Some(kind)))
            .ok_or_else(|| format!("`{kind}` is no kind of failure; {meant}"));
    }
    let names: Vec<_> = parameter::ALL.iter().map(|parameter| parameter.name).collect();
    Err(format!("there is no parameter `{name}`; {}", suggest::or_all(name, &names)))
}

/// The value, where it is within the bounds of its parameter.
pub(super) fn within(parameter: &Parameter, value: f64) -> Result<f64, String> {
    let fits = (parameter.min..=parameter.max).contains(&value)
        && (matches!(parameter.unit, Unit::Seconds | Unit::Factor) || value.fract().abs() < f64::EPSILON);
    if fits { Ok(value) } else { Err(format!("expected {}, found {value}", allowed(parameter))) }
}

/// What a value of the parameter may be.
pub(super) fn allowed(parameter: &Parameter) -> String {
    let Parameter { min, max, .. } = parameter;
    match parameter.unit {
        Unit::Count => format!("a whole number from {min} to {max}"),
        Unit::Factor => format!("a number from {min} to {max}"),
        Unit::Hours => {
            "hours of the day as a sum of powers of two, 1 for the hour after midnight; better write `avoid`".to_owned()
        }
        Unit::Weekdays => "days of the week as a sum of powers of two, 1 for Monday; better write `avoid`".to_owned(),
        Unit::MonthlyHour => format!("the number of an hour of the month from {min} to {max}; better write `avoid`"),
        Unit::Seconds => format!("seconds from {min} to {max}, or a duration such as \"2s\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn every_parameter_can_be_pinned_at_its_bounds_and_not_beyond() {
        for parameter in parameter::ALL {
            assert_eq!(find(parameter.name).unwrap().0.name, parameter.name);
            assert_eq!(within(parameter, parameter.min), Ok(parameter.min));
            assert_eq!(within(parameter, parameter.max), Ok(parameter.max));
            assert!(within(parameter, parameter.max + 1.0).is_err());
            assert!(within(parameter, f64::NAN).is_err());
        }
    }

    #[test]
    fn a_name_that_is_nearly_right_is_answered_with_the_right_one() {
        assert_eq!(
            find("retry.max_retry").unwrap_err(),
            "there is no parameter `retry.max_retry`; did you mean `retry.max_retries`?"
        );
        assert_eq!(
            find("max_retries").unwrap_err(),
            "there is no parameter `max_retries`; did you mean `retry.max_retries`?"
        );
        assert_eq!(
            find("retry.max_retries.timeot").unwrap_err(),
            "`timeot` is no kind of failure; did you mean `timeout`?"
        );
        assert_eq!(
            find("breaker.open_for.timeout").unwrap_err(),
            "`breaker.open_for` has one value for all kinds of failure; write `breaker.open_for`"
        );
    }

    #[test]
    fn pins_are_laid_over_values_the_special_after_the_general() {
        let mut pins = Pins::default();
        pins.set("retry.max_retries.lost", 0);
        pins.set("retry.max_retries", 3);
        pins.set("timeout.attempt", 2);
        let mut values = Values::of(Profile::GENERAL);
        pins.apply(&mut values);
        assert_eq!(values.max_retries, [3, 3, 0, 3, 3, 3]);
        assert!(values.attempt_timeout_pinned);
        assert_eq!(pins.get(&parameter::MAX_RETRIES, Some(FailureKind::Lost)), Some(0.0));
        assert_eq!(pins.get(&parameter::MAX_RETRIES, Some(FailureKind::Invalid)), Some(3.0));
        assert_eq!(pins.get(&parameter::OPEN_FOR, None), None);
    }
}
