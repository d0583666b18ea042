//! Where the simulator's chances come from: a generator small enough to read, seeded, the same on every machine.
//!
//! SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014), after the public
//! domain version of Sebastiano Vigna. It passes BigCrush, and its output function alone is a good hash of 64 bits,
//! which is what lets every call be decided by itself instead of by its place in a stream.

/// A seeded generator of 64-bit numbers. Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator that always gives the same sequence for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of one item in one of many independent streams: the same three numbers, the same sequence.
    #[must_use]
    pub const fn of(seed: u64, stream: u64, item: u64) -> Self {
        Self(mix(mix(mix(seed) ^ stream) ^ item))
    }

    /// The next number, every one equally likely.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number in `[0, 1)`, with 53 random bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub const fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The next number of the normal distribution with mean 0 and deviation 1, after Box and Muller.
    pub fn normal(&mut self) -> f64 {
        // The logarithm of 0 is the one value the formula cannot take, and `1 - u` never is 0.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// FNV-1a of the bytes: stable over versions and machines, which the hasher of the standard library is not.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = SplitMix64::new(1_234_567);
        let first: [u64; 5] = std::array::from_fn(|_| random.next_u64());
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let mut random = SplitMix64::new(7);
        let sample: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = sample.iter().sum::<f64>() / 20_000.0;
        let variance = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn neighbouring_items_of_a_stream_are_independent() {
        let low = (0..10_000).filter(|item| SplitMix64::of(7, 1, *item).unit() < 0.5).count();
        let pairs = (0..10_000)
            .filter(|item| SplitMix64::of(7, 1, *item).unit() < 0.5 && SplitMix64::of(7, 1, item + 1).unit() < 0.5)
            .count();
        assert!((4_800..5_200).contains(&low), "{low}");
        assert!((2_300..2_700).contains(&pairs), "{pairs}");
    }
}
