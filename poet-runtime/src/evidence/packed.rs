//! The counts of many hours in few bytes.
//!
//! A service shows about 60 keys an hour, most of them the same in every hour, and small counts of each. So each key is
//! written down once, in order, and an hour is a bit for each of them and the counts of those that it has, in as few
//! bytes as they need: less than three a count, where a map takes forty. A count is a number to the base 128 of which
//! only the last byte lacks its highest bit, which can be read from either end. A new key changes what the bits mean, so
//! that everything is written again; after a day there are hardly any.

use super::Key;
use std::mem;

/// Hours and their counts, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    /// Every key that was ever counted here, in order.
    keys: Vec<Key>,
    hours: Vec<Hour>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Hour {
    hour: i64,
    /// Where its bytes end; they begin where those of the hour before end.
    end: usize,
}

impl Packed {
    pub(super) fn oldest(&self) -> Option<i64> {
        self.hours.first().map(|hour| hour.hour)
    }

    pub(super) fn newest(&self) -> Option<i64> {
        self.hours.last().map(|hour| hour.hour)
    }

    /// How much memory it takes beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<Key>() + self.hours.capacity() * size_of::<Hour>() + self.bytes.capacity()
    }

    /// Every count, by hour and then by key.
    pub(super) fn cells(&self) -> impl DoubleEndedIterator<Item = (i64, Key, u64)> + '_ {
        (0..self.hours.len()).flat_map(|index| {
            let hour = self.hours[index].hour;
            self.hour(index).map(move |(key, count)| (hour, key, count))
        })
    }

    /// Each hour with its counts.
    pub(super) fn hours(&self) -> impl Iterator<Item = (i64, Counts<'_>)> + '_ {
        (0..self.hours.len()).map(|index| (self.hours[index].hour, self.hour(index)))
    }

    /// Adds an hour after all others, with counts ordered by key.
    pub(super) fn push(&mut self, hour: i64, counts: &[(Key, u64)]) {
        debug_assert!(self.newest().is_none_or(|newest| newest < hour));
        debug_assert!(counts.is_sorted_by(|a, b| a.0 < b.0));
        self.know(counts);
        let bytes = self.written(counts);
        self.append(hour, &bytes);
    }

    /// No more room than it needs, since an hour comes once an hour.
    fn append(&mut self, hour: i64, bytes: &[u8]) {
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.hours.reserve_exact(1);
        self.hours.push(Hour { hour, end: self.bytes.len() });
    }

    /// Takes the newest hour away.
    pub(super) fn pop(&mut self) -> Option<(i64, Vec<(Key, u64)>)> {
        let counts = self.hour(self.hours.len().checked_sub(1)?).collect();
        let hour = self.hours.pop()?.hour;
        self.bytes.truncate(self.hours.last().map_or(0, |hour| hour.end));
        Some((hour, counts))
    }

    /// Adds counts, ordered by key, to an hour that may be there.
    pub(super) fn add(&mut self, hour: i64, counts: impl Iterator<Item = (Key, u64)>) {
        let index = self.hours.partition_point(|known| known.hour < hour);
        let is_known = self.hours.get(index).is_some_and(|known| known.hour == hour);
        let mut sum = if is_known { self.hour(index).collect() } else { Vec::new() };
        for (key, count) in counts {
            super::history::add(&mut sum, key, count);
        }
        self.know(&sum);
        let (start, end) = if is_known { self.span(index) } else { (self.start(index), self.start(index)) };
        let bytes = self.written(&sum);
        let grown = bytes.len();
        drop(self.bytes.splice(start..end, bytes));
        if !is_known {
            self.hours.insert(index, Hour { hour, end });
        }
        for later in &mut self.hours[index..] {
            later.end = later.end - (end - start) + grown;
        }
    }

    pub(super) fn forget_before(&mut self, hour: i64) {
        if self.oldest().is_none_or(|oldest| oldest >= hour) {
            return;
        }
        let gone = self.hours.partition_point(|known| known.hour < hour);
        let cut = self.start(gone);
        self.hours.drain(..gone);
        self.bytes.drain(..cut);
        self.hours.iter_mut().for_each(|hour| hour.end -= cut);
    }

    pub(super) fn forget_from(&mut self, hour: i64) {
        self.hours.truncate(self.hours.partition_point(|known| known.hour < hour));
        self.bytes.truncate(self.start(self.hours.len()));
    }

    /// The same counts with each hour put to `place(hour)`, which must not change their order, in no more memory than
    /// they need.
    pub(super) fn moved(&self, place: impl Fn(i64) -> i64) -> Self {
        let mut moved = Self { keys: self.keys.clone(), ..Self::default() };
        moved.bytes.reserve_exact(self.bytes.len());
        moved.hours.reserve_exact(self.hours.len());
        let mut together = Vec::new();
        let mut index = 0;
        while let Some(first) = self.hours.get(index) {
            let hour = place(first.hour);
            let alike = self.hours[index..].iter().take_while(|other| place(other.hour) == hour).count();
            if alike == 1 {
                let (start, end) = self.span(index);
                moved.append(hour, &self.bytes[start..end]);
            } else {
                together.clear();
                for (key, count) in (index..index + alike).flat_map(|index| self.hour(index)) {
                    super::history::add(&mut together, key, count);
                }
                moved.push(hour, &together);
            }
            index += alike;
        }
        moved.keys.shrink_to_fit();
        moved.hours.shrink_to_fit();
        moved.bytes.shrink_to_fit();
        moved
    }

    /// Whether [`moved`](Self::moved) would be another.
    pub(super) fn would_move(&self, place: impl Fn(i64) -> i64) -> bool {
        self.hours.iter().any(|hour| place(hour.hour) != hour.hour)
            || self.hours.windows(2).any(|pair| place(pair[0].hour) == place(pair[1].hour))
    }

    /// The hours from one on.
    pub(super) fn since(&self, hour: i64) -> Self {
        let first = self.hours.partition_point(|known| known.hour < hour);
        let cut = self.start(first);
        let hours = self.hours[first..].iter().map(|hour| Hour { end: hour.end - cut, ..*hour }).collect();
        Self { keys: self.keys.clone(), hours, bytes: self.bytes[cut..].to_vec() }
    }

    /// Writes everything again if there are keys among these counts that never were before.
    fn know(&mut self, counts: &[(Key, u64)]) {
        let mut keys: Vec<Key> = counts.iter().map(|(key, _)| *key).collect();
        keys.retain(|key| self.keys.binary_search(key).is_err());
        if keys.is_empty() {
            return;
        }
        keys.extend_from_slice(&self.keys);
        keys.sort_unstable();
        keys.shrink_to_fit();
        let old = mem::replace(self, Self { keys, ..Self::default() });
        self.bytes.reserve_exact(old.bytes.len() + old.hours.len());
        for (hour, counts) in old.hours() {
            let counts: Vec<_> = counts.collect();
            let bytes = self.written(&counts);
            self.append(hour, &bytes);
        }
    }

    /// The bytes of an hour, whose keys are known.
    fn written(&self, counts: &[(Key, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; self.bits()];
        for (key, _) in counts {
            if let Ok(place) = self.keys.binary_search(key) {
                bytes[place / 8] |= 1 << (place % 8);
            }
        }
        counts.iter().for_each(|(_, count)| write(&mut bytes, *count));
        bytes
    }

    /// How many bytes hold a bit for each key.
    fn bits(&self) -> usize {
        self.keys.len().div_ceil(8)
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.hours[before].end)
    }

    fn span(&self, index: usize) -> (usize, usize) {
        (self.start(index), self.hours[index].end)
    }

    fn hour(&self, index: usize) -> Counts<'_> {
        let (start, end) = self.span(index);
        let (bits, bytes) = self.bytes[start..end].split_at(self.bits());
        Counts { keys: &self.keys, bits, bytes, left: (0, self.keys.len()) }
    }
}

/// The counts of one hour, by key.
#[derive(Clone, Debug)]
pub(super) struct Counts<'a> {
    keys: &'a [Key],
    bits: &'a [u8],
    bytes: &'a [u8],
    /// The places of keys that were not looked at yet.
    left: (usize, usize),
}

impl Iterator for Counts<'_> {
    type Item = (Key, u64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let count = self.first()?;
        while !self.has(self.left.0) {
            self.left.0 += 1;
        }
        self.left.0 += 1;
        Some((self.keys[self.left.0 - 1], count))
    }
}

impl DoubleEndedIterator for Counts<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let count = self.last()?;
        self.left.1 -= 1;
        while !self.has(self.left.1) {
            self.left.1 -= 1;
        }
        Some((self.keys[self.left.1], count))
    }
}

impl Counts<'_> {
    #[inline]
    fn has(&self, place: usize) -> bool {
        self.bits[place / 8] & 1 << (place % 8) != 0
    }

    /// Most numbers have one digit.
    #[inline]
    fn first(&mut self) -> Option<u64> {
        let (&lowest, mut rest) = self.bytes.split_first()?;
        let mut number = u64::from(lowest & DIGIT);
        let (mut byte, mut shift) = (lowest, 7);
        while byte > DIGIT {
            let (&next, left) = rest.split_first()?;
            number |= u64::from(next & DIGIT) << shift;
            (byte, rest, shift) = (next, left, shift + 7);
        }
        self.bytes = rest;
        Some(number)
    }

    #[inline]
    fn last(&mut self) -> Option<u64> {
        let (&highest, mut rest) = self.bytes.split_last()?;
        let mut number = u64::from(highest);
        while let Some((&byte, left)) = rest.split_last().filter(|(byte, _)| **byte > DIGIT) {
            number = number << 7 | u64::from(byte & DIGIT);
            rest = left;
        }
        self.bytes = rest;
        Some(number)
    }
}

/// What a byte holds of a number; its highest bit says that there is more.
const DIGIT: u8 = 0x7f;

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number > u64::from(DIGIT) {
        bytes.push(number as u8 | !DIGIT);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read_from_both_ends() {
        let keys: Vec<_> = (0..=255).map(Key::Answered).collect();
        let counts: Vec<_> =
            (0..64).map(|bits| (keys[4 * bits], u64::MAX >> (63 - bits))).chain([(keys[255], 0)]).collect();
        let mut packed = Packed::default();
        packed.push(7, &counts);
        assert_eq!(packed.hour(0).collect::<Vec<_>>(), counts);
        assert_eq!(packed.hour(0).rev().collect::<Vec<_>>(), counts.iter().rev().copied().collect::<Vec<_>>());
        let mut both = packed.hour(0);
        let (front, back): (Vec<_>, Vec<_>) =
            (0..32).map(|_| (both.next().unwrap(), both.next_back().unwrap())).unzip();
        assert_eq!((both.next(), both.next_back()), (Some(counts[32]), None));
        assert_eq!(front, counts[..32]);
        assert!(back.iter().rev().eq(&counts[33..]));
    }
}
