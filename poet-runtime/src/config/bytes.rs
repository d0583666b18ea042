//! Sizes as people write them: `512KiB`, `64MiB`, `1GiB`.

/// The units, and the power of two of each.
const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// The largest size that can be written.
pub(super) const LARGEST: u64 = 1 << 40;

/// What a size may be, for messages.
pub(super) const ALLOWED: &str = "a size from 1 to \"1TiB\", a number of bytes or such as \"64MiB\"";

/// The size written, where it is one whole number and one unit, from 1 to [`LARGEST`].
///
/// Units of a thousand are refused, not guessed at: half of the world writes `MB` for them and the other half does not.
pub(super) fn parse(written: &str) -> Option<u64> {
    let unit = written.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = written.split_at(unit);
    let (_, bits) = UNITS.into_iter().find(|(name, _)| *name == unit.trim_start())?;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(1 << bits).filter(|bytes| is_allowed(*bytes))
}

/// Whether a number of bytes may be a bound.
pub(super) fn is_allowed(bytes: u64) -> bool {
    (1..=LARGEST).contains(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_and_a_unit_are_a_size() {
        for (written, bytes) in [("1KiB", 1_024), ("64MiB", 67_108_864), ("1 GiB", 1 << 30), ("1TiB", LARGEST)] {
            assert_eq!(parse(written), Some(bytes), "{written}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for written in
            ["", "64", "MiB", "64MB", "64mib", "64M", "1.5GiB", "-1KiB", "0KiB", "2TiB", "99999999999999999999KiB"]
        {
            assert_eq!(parse(written), None, "{written}");
        }
    }
}
