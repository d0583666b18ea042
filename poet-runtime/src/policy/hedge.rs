//! Decides how often a second copy of an attempt may be sent at all.
//!
//! Every attempt that may be raced earns a fiftieth of a copy, so that copies are at most 2 % of those attempts however
//! slow the service gets: when all of it is slow, racing all of it would make it slower. Of what is not used a few
//! copies are kept, because slow attempts come together.

/// What one attempt earns, and what one copy costs.
const EARNED: u32 = 20;
const PRICE: u32 = 1_000;

/// The most that is kept: five copies.
const MOST: u32 = 5 * PRICE;

/// The credit after an attempt that may be raced.
pub(crate) const fn earned(credit: u32) -> u32 {
    if credit + EARNED > MOST { MOST } else { credit + EARNED }
}

/// The credit after a copy; `None` where there is not enough for one.
pub(crate) const fn spent(credit: u32) -> Option<u32> {
    credit.checked_sub(PRICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_thousand_slow_attempts_no_more_than_twenty_are_raced() {
        let (mut credit, mut copies) = (0, 0);
        for _ in 0..1_000 {
            credit = earned(credit);
            if let Some(left) = spent(credit) {
                (credit, copies) = (left, copies + 1);
            }
        }
        assert_eq!(copies, 20);
    }

    #[test]
    fn a_long_quiet_time_saves_up_five_copies_and_no_more() {
        let mut credit = (0..100_000).fold(0, |credit, _| earned(credit));
        let copies = std::iter::from_fn(|| spent(credit).inspect(|left| credit = *left)).count();
        assert_eq!(copies, 5);
    }
}
