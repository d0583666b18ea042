//! How long a stretch of time one count stands for: an hour, and more of them the longer ago it is.
//!
//! What was seen a month ago weighs little, and whether it was at two or at three weighs nothing. So the running process
//! keeps the last day by the hour, and what is older in blocks of 2, 4, 8 … hours that lie on the grid of all hours, none of them longer than it lies behind that day; the
//! store keeps every hour. To which block an hour belongs is a function of the two moments alone, and a block only ever
//! becomes part of a longer one: whether counts are put together hour by hour or all at once, before or after they are
//! added to others, the same comes of it.

/// Hours that are never put together: all that the last 24 hours can reach into.
const BY_THE_HOUR: i64 = 24;

/// The longest block, as a power of two: eleven weeks.
const LONGEST: u32 = 11;

/// The first hour of the block that an hour belongs to at a later hour, and how many hours it has.
///
/// # Examples
///
/// ```
/// use poet_runtime::evidence::block_of;
///
/// let now = 480_000;
/// assert_eq!(block_of(now - 24, now), (now - 24, 1));
/// assert_eq!(block_of(now - 27, now), (now - 28, 2));
/// let (first, hours) = block_of(now - 2_160, now);
/// assert!(first <= now - 2_160 && hours == 1_024);
/// ```
#[must_use]
pub fn block_of(hour: i64, now: i64) -> (i64, i64) {
    let block = |power: u32| {
        let hours = 1_i64 << power;
        (hour & !(hours - 1), hours)
    };
    let is_old = |(first, hours): &(i64, i64)| {
        let age = now.saturating_sub(first.saturating_add(*hours));
        age >= BY_THE_HOUR + hours
    };
    // If one block is old enough, so is every shorter one within it.
    (1..=LONGEST).map(block).take_while(is_old).last().unwrap_or((hour, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_becomes_part_of_a_longer_one_and_of_no_other(
            hour in -3_000_i64..3_000, age in 0_i64..9_000, later in 0_i64..9_000,
        ) {
            let now = hour + age;
            let (first, hours) = block_of(hour, now);
            prop_assert!(first <= hour && hour < first + hours);
            for within in first..first + hours {
                prop_assert_eq!(block_of(within, now), (first, hours), "all its hours say the same");
            }
            prop_assert_eq!(block_of(first, now + later), block_of(hour, now + later));
        }

        #[test]
        fn the_last_day_is_known_by_the_hour_and_what_is_older_in_blocks_that_lie_further_behind_it_than_they_are_long(age in 0_i64..4_000) {
            let (_, hours) = block_of(-age, 0);
            prop_assert!(hours == 1 || (age > 24 && 24 + hours <= age));
        }
    }

    #[test]
    fn ninety_days_are_few_blocks() {
        let mut blocks: Vec<_> = (0..90 * 24).map(|age| block_of(-age, 0)).collect();
        blocks.dedup();
        assert!(blocks.len() <= 48, "{}", blocks.len());
    }
}
