//! Decides how much of the past still describes the present.
//!
//! Two things end the worth of an observation. It fades with the number of newer ones (a half-life in observations,
//! not in days, so that a service called once an hour is not always unknown). And it ends at once where the service
//! changed: walking back from the newest hour, the first block of hours that cannot come from the same service as
//! everything newer is where the present begins. Waiting for decay alone would take thousands of calls to believe it.
//!
//! Both are applied while reading, so evidence stays plain addition. The grain is the hour: a change within an hour is
//! seen once the hours after it weigh enough.

/// Hours agree unless a common rate would make them differ as much less than once in a thousand times.
pub(crate) const DISAGREEMENT: f64 = 3.29;

/// Whether so many of so many, and so many of others, may be of one rate: two proportions. A pseudo-success and a
/// pseudo-failure keep the variance of "always" from being none. Of nothing, everything may be.
pub(crate) fn may_be_one_rate((here, seen): (u64, u64), (there, seen_there): (u64, u64)) -> bool {
    if seen == 0 || seen_there == 0 {
        return true;
    }
    let (n, m) = (seen as f64, seen_there as f64);
    let common = (here + there + 1) as f64 / (n + m + 2.0);
    let deviation = (common * (1.0 - common) * (1.0 / n + 1.0 / m)).max(0.0).sqrt();
    (here as f64 / n - there as f64 / m).abs() <= DISAGREEMENT * deviation
}

/// What was counted in one hour.
pub(crate) trait Tally: Default {
    /// Observations in it.
    fn size(&self) -> u64;
    /// Adds another hour.
    fn add(&mut self, other: &Self);
    /// Whether both may come from the same service.
    fn agrees(&self, older: &Self) -> bool;
}

/// Of hours given newest first, how many belong to the present. Blocks smaller than `block` are not judged alone.
pub(crate) fn present<T: Tally>(hours: &[(i64, T)], block: u64) -> usize {
    let mut present = T::default();
    let mut kept = 0;
    while kept < hours.len() && present.size() < block {
        present.add(&hours[kept].1);
        kept += 1;
    }
    let mut older = T::default();
    for (index, (_, tally)) in hours.iter().enumerate().skip(kept) {
        older.add(tally);
        let last = index + 1 == hours.len();
        if older.size() < block && !last {
            continue;
        }
        if !present.agrees(&older) {
            return kept;
        }
        present.add(&older);
        older = T::default();
        kept = index + 1;
    }
    kept
}

/// The weight of each hour, newest first, given how much was observed in each: halved for every `half_life` newer.
pub(crate) fn weights(sizes: impl Iterator<Item = u64>, half_life: f64) -> Vec<f64> {
    let mut newer = 0.0;
    sizes
        .map(|size| {
            let weight = (-newer / half_life).exp2();
            newer += size as f64;
            weight
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Level(u64, f64);

    impl Tally for Level {
        fn size(&self) -> u64 {
            self.0
        }

        fn add(&mut self, other: &Self) {
            let total = (self.0 + other.0).max(1) as f64;
            self.1 = (self.1 * self.0 as f64 + other.1 * other.0 as f64) / total;
            self.0 += other.0;
        }

        fn agrees(&self, older: &Self) -> bool {
            (self.1 - older.1).abs() < 0.5
        }
    }

    fn hours(levels: &[(u64, f64)]) -> Vec<(i64, Level)> {
        levels.iter().enumerate().map(|(i, &(n, level))| (-(i as i64), Level(n, level))).collect()
    }

    #[test]
    fn the_present_ends_where_the_service_was_another() {
        assert_eq!(present(&hours(&[(30, 1.0), (30, 1.0), (30, 2.0), (30, 1.0)]), 30), 2);
    }

    #[test]
    fn a_service_that_never_changed_is_all_present() {
        assert_eq!(present(&hours(&[(5, 1.0); 9]), 30), 9);
        assert_eq!(present::<Level>(&[], 30), 0);
    }

    #[test]
    fn a_small_hour_is_not_judged_alone() {
        assert_eq!(present(&hours(&[(30, 1.0), (1, 9.0), (100, 1.0)]), 30), 3);
    }

    #[test]
    fn a_half_life_of_newer_observations_halves_a_weight() {
        assert_eq!(weights([10, 10, 0].into_iter(), 10.0), [1.0, 0.5, 0.25]);
    }
}
