//! Seeded randomness for delays: a pure function of a seed and a counter.
//!
//! SplitMix64 (Steele, Lea and Flood 2014) needs no state to share between threads, so two calls never contend for a
//! generator and a run with one seed repeats byte for byte.

/// The draws of one call: those of its delays are counted from 1, this one decides its arm.
pub(crate) const ARM: u64 = 1 << 32;

/// And this one how long the circuit stays open if the call was a probe that failed.
pub(crate) const PROBE: u64 = 2 << 32;

/// A fraction in `0.0..1.0`, the same for the same arguments.
pub fn fraction(seed: u64, counter: u64) -> f64 {
    let mut z = seed.wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // 53 bits are what a double holds exactly.
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_repeatable_and_spread_evenly() {
        let mean = (0..10_000).map(|n| fraction(7, n)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert_eq!(fraction(7, 3).to_bits(), fraction(7, 3).to_bits());
        assert!((0..10_000).all(|n| (0.0..1.0).contains(&fraction(7, n))));
    }
}
