//! SipHash-1-3 with 128 bits (Aumasson and Bernstein 2012), over whole words.
//!
//! The hash of the standard library gives 64 bits, of which two keys would collide in a large table, and takes bytes,
//! which it gathers to words; two of them cost twice what this one does.

/// "somepseudorandomlygeneratedbytes".
const NOTHING_UP_MY_SLEEVE: [u64; 4] =
    [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];

/// A hash under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sip {
    v: [u64; 4],
    words: u64,
}

impl Sip {
    #[inline]
    pub(crate) fn new([k0, k1]: [u64; 2]) -> Self {
        let [n0, n1, n2, n3] = NOTHING_UP_MY_SLEEVE;
        Self { v: [k0 ^ n0, k1 ^ n1 ^ 0xee, k0 ^ n2, k1 ^ n3], words: 0 }
    }

    #[inline]
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.v;
        *v0 = v0.wrapping_add(*v1);
        *v2 = v2.wrapping_add(*v3);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v1);
        *v0 = v0.wrapping_add(*v3);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.rotate_left(32);
    }

    #[inline]
    pub(crate) fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
        self.words = self.words.wrapping_add(1);
    }

    /// `rest`, below 2^56, is what does not fill a word.
    #[inline]
    pub(crate) fn finish(mut self, rest: u64) -> u128 {
        self.word(self.words << 59 | rest);
        self.v[2] ^= 0xee;
        let low = self.thrice();
        self.v[1] ^= 0xdd;
        let high = self.thrice();
        u128::from(high) << 64 | u128::from(low)
    }

    #[inline]
    fn thrice(&mut self) -> u64 {
        for _ in 0..3 {
            self.round();
        }
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    #[test]
    fn it_goes_round_as_the_hash_of_the_standard_library_does() {
        for words in [&[][..], &[1], &[0, 0], &[u64::MAX, 7, 1 << 63]] {
            // The variant with 64 bits, whose key there is 0.
            let mut sip = Sip { v: NOTHING_UP_MY_SLEEVE, words: 0 };
            let mut known = DefaultHasher::new();
            for &word in words {
                sip.word(word);
                known.write_u64(word);
            }
            sip.word((words.len() as u64) << 59);
            sip.v[2] ^= 0xff;
            assert_eq!(sip.thrice(), known.finish(), "{words:?}");
        }
    }

    #[test]
    fn keys_words_their_number_and_the_rest_all_count() {
        let hash = |secret, words: &[u64], rest| {
            let mut sip = Sip::new(secret);
            words.iter().for_each(|&word| sip.word(word));
            sip.finish(rest)
        };
        let hashes = [
            hash([1, 2], &[], 0),
            hash([1, 2], &[], 1),
            hash([2, 1], &[], 0),
            hash([1, 2], &[0], 0),
            hash([1, 2], &[1], 0),
            hash([1, 2], &[0, 1], 0),
            hash([1, 2], &[1, 0], 0),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{index}");
            assert_ne!(*hash as u64, (*hash >> 64) as u64, "the halves are two");
        }
    }
}
