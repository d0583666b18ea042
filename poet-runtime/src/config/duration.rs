//! Durations as people write them: `250ms`, `1.5s`, `5m`, `12h`, `30d`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The units, longest first.
const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

/// The longest duration that can be written; longer ones overflow clocks.
pub(super) const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

/// The duration written, where it is one number and one unit and not longer than ten years.
///
/// # Examples
///
/// ```
/// use poet_runtime::config::parse_duration;
/// use std::time::Duration;
///
/// assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
/// assert_eq!(parse_duration("30"), None);
/// ```
#[must_use]
pub fn parse(written: &str) -> Option<Duration> {
    let unit = written.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = written.split_at(unit);
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit.trim_start())?;
    let number: f64 = number.parse().ok()?;
    // Dividing keeps `250ms` exact where multiplying by 0.001 would not.
    let seconds = if unit.trim_start() == "ms" { number / 1_000.0 } else { number * seconds };
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST)
}

/// What a duration may be, for messages.
pub(super) fn allowed(range: &RangeInclusive<Duration>) -> String {
    format!("a duration from \"{}\" to \"{}\"", show(*range.start()), show(*range.end()))
}

/// The duration in the longest unit it is a whole number of.
pub(super) fn show(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let millis = duration.as_millis();
    let whole = |(unit, seconds): &(&'static str, f64)| {
        let length = (seconds * 1_000.0) as u128;
        (millis > 0 && millis.is_multiple_of(length)).then(|| format!("{}{unit}", millis / length))
    };
    UNITS.iter().find_map(whole).unwrap_or_else(|| format!("{duration:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        for (written, millis) in
            [("250ms", 250), ("1.5s", 1_500), ("5 m", 300_000), ("12h", 43_200_000), ("30d", 2_592_000_000), ("0s", 0)]
        {
            assert_eq!(parse(written), Some(Duration::from_millis(millis)), "{written}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for written in
            ["", "5", "s", "-5s", "5 seconds", "1h30m", "1e3s", "1..5s", ".s", "nans", "9999999999d", "5S", "5w"]
        {
            assert_eq!(parse(written), None, "{written}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_would_be_written() {
        for written in ["5ms", "1500ms", "90s", "5m", "7h", "30d", "0s"] {
            assert_eq!(show(parse(written).unwrap()), written);
        }
    }
}
