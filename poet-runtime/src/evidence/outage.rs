//! What is known of outages in general: how long those of web services last.
//!
//! Of 3,800 outages of 171 monitored services, a share of `(1 + x / 45 min)^−1.6` outlasted x (a Lomax distribution): the
//! longer one has lasted, the longer it goes on.

use std::time::Duration;

/// The exponent of their lengths, and the scale in seconds.
const TAIL: f64 = 1.6;
const SCALE: f64 = 45.0 * 60.0;

/// The share of outages that last longer than so many seconds.
pub(crate) fn outlasting(seconds: f64) -> f64 {
    (1.0 + seconds / SCALE).powf(-TAIL)
}

/// The median length of the outages that ended between two moments: when the service was last seen down, and first seen
/// back.
pub(crate) fn likely_length(down_for: Duration, back_after: Duration) -> Duration {
    let share =
        [down_for, back_after.max(down_for)].map(|end| outlasting(end.as_secs_f64())).into_iter().sum::<f64>() / 2.0;
    Duration::try_from_secs_f64(SCALE * (share.powf(-1.0 / TAIL) - 1.0)).unwrap_or(back_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_that_ended_between_two_probes_was_about_half_as_long_as_the_later_one_or_a_little_less() {
        let minutes = |down: u64, back: u64| {
            let likely = likely_length(Duration::from_secs(60 * down), Duration::from_secs(60 * back));
            (likely.as_secs_f64() / 60.0).round()
        };
        assert_eq!(minutes(10, 11), 10.0);
        assert_eq!(minutes(0, 24), 9.0);
        assert_eq!(minutes(60, 180), 93.0);
        assert_eq!(minutes(60, 60), 60.0);
        assert_eq!(minutes(60, 20), 60.0, "a clock that went back");
    }
}
