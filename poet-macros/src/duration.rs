//! Reads a length of time as a person writes it: `"250ms"`, `"2s"`, `"1m 30s"`, `"5min"`.
//!
//! Whole numbers only, each with its unit, longest unit first, so that there is one way to read every string.

use std::time::Duration;

/// Every unit by its names, longest first, in milliseconds.
const UNITS: [(&[&str], u64); 4] = [(&["h"], 3_600_000), (&["m", "min"], 60_000), (&["s"], 1_000), (&["ms"], 1)];

/// What is said with every complaint.
const FORM: &str = "write it like \"250ms\", \"2s\", \"1m 30s\" or \"1h\"";

/// Reads a length of time.
///
/// # Errors
///
/// What is wrong with the text, and what to write instead.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("an empty string is no length of time; {FORM}"));
    }
    let mut total: u64 = 0;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = leading(rest, |c| c.is_ascii_digit());
        let (number, after) = rest.split_at(digits);
        let unit = leading(after, |c| c.is_alphabetic());
        let (unit, after) = after.split_at(unit);
        if number.is_empty() {
            return Err(format!("`{rest}` does not begin with a whole number; {FORM}"));
        }
        if unit.is_empty() {
            return Err(match after.chars().next() {
                Some('.') => "only whole numbers are read; write a smaller unit, as in \"1500ms\"".to_owned(),
                _ => format!("`{number}` has no unit; {FORM}"),
            });
        }
        let Some(place) = units.iter().position(|(names, _)| names.contains(&unit)) else {
            return Err(if UNITS.iter().any(|(names, _)| names.contains(&unit)) {
                format!("the longer unit comes first, and each unit once; {FORM}")
            } else {
                format!("`{unit}` is no unit; the units are h, m or min, s, ms")
            });
        };
        let milliseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(units[place].1));
        total = milliseconds
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("`{text}` is longer than can be counted"))?;
        units = &units[place + 1..];
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// How many bytes at the start belong to characters that fit.
fn leading(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c| !fits(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(text: &str) -> u128 {
        parse(text).map(|duration| duration.as_millis()).unwrap()
    }

    #[test]
    fn one_unit_or_several_are_read() {
        assert_eq!(milliseconds("250ms"), 250);
        assert_eq!(milliseconds("2s"), 2_000);
        assert_eq!(milliseconds("5min"), 300_000);
        assert_eq!(milliseconds("1m 30s"), 90_000);
        assert_eq!(milliseconds(" 1h2m3s4ms "), 3_723_004);
        assert_eq!(milliseconds("0s"), 0);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let complaint = |text| parse(text).unwrap_err();
        assert!(complaint("").starts_with("an empty string"));
        assert!(complaint("30").starts_with("`30` has no unit"));
        assert!(complaint("1.5s").starts_with("only whole numbers"));
        assert!(complaint("soon").starts_with("`soon` does not begin with a whole number"));
        assert!(complaint("-2s").starts_with("`-2s` does not begin"));
        assert!(complaint("3 fortnights").starts_with("`3` has no unit"));
        assert!(complaint("3weeks").starts_with("`weeks` is no unit"));
        assert!(complaint("30s 1m").starts_with("the longer unit comes first"));
        assert!(complaint("1s 1s").starts_with("the longer unit comes first"));
        assert!(complaint("99999999999999999999s").ends_with("longer than can be counted"));
        assert!(complaint("9999999999999999999s").ends_with("longer than can be counted"));
    }
}
