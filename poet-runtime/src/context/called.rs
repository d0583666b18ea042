//! Which operations one execution of a function called, and whether the last call of each failed.

use crate::outcome::TargetId;

/// How many operations of one execution are told apart.
const MOST: usize = 8;

/// The operations, in a few bytes: they are swapped at every poll of the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Called {
    /// The numbers of their targets, of which a runtime has not more than go into half a word but by a few.
    targets: [u16; MOST],
    /// A bit for each: whether a call of it is under way, whether one has ended, and whether the last that did failed.
    under_way: u8,
    ended: u8,
    failed: u8,
    /// How many there are.
    known: u8,
    /// Whether there were more.
    more: bool,
}

impl Called {
    /// Takes note of a call that begins.
    pub(crate) fn begin(&mut self, target: TargetId) {
        self.under_way |= self.bit(target);
    }

    /// Takes note of a call that ended.
    pub(crate) fn end(&mut self, target: TargetId, failed: bool) {
        let bit = self.bit(target);
        self.under_way &= !bit;
        self.ended |= bit;
        self.failed = if failed { self.failed | bit } else { self.failed & !bit };
    }

    /// The execution goes on without what is under way: its limit cut that off, which has failed by that.
    pub(crate) fn cut_off(&mut self) {
        self.ended |= self.under_way;
        self.failed |= self.under_way;
        self.under_way = 0;
    }

    /// The execution dropped a call by itself: nobody knows what would have come of it.
    pub(crate) fn drop_one(&mut self, target: TargetId) {
        let known = self.targets.into_iter().take(usize::from(self.known));
        for (place, _) in known.enumerate().filter(|(_, number)| u32::from(*number) == target.0) {
            self.under_way &= !(1 << place);
        }
    }

    /// The execution has let go of what is under way.
    pub(crate) fn let_go(&mut self) {
        self.under_way = 0;
    }

    /// Takes note of what was called in a part of the execution.
    pub(crate) fn add(&mut self, part: &Self) {
        for (place, number) in part.targets.into_iter().take(usize::from(part.known)).enumerate() {
            let (target, is) = (TargetId(u32::from(number)), |bits: u8| bits >> place & 1 == 1);
            if is(part.ended) {
                self.end(target, is(part.failed));
            }
            if is(part.under_way) {
                self.begin(target);
            }
        }
        self.more |= part.more;
    }

    /// The bit of a target, which gets a place where there is one; else none.
    fn bit(&mut self, target: TargetId) -> u8 {
        let known = usize::from(self.known);
        let number = u16::try_from(target.0).ok();
        let place = number.map(|number| (number, self.targets[..known].iter().position(|known| *known == number)));
        match place {
            Some((_, Some(place))) => 1 << place,
            Some((number, None)) if known < MOST => {
                self.targets[known] = number;
                self.known += 1;
                1 << known
            }
            Some((_, None)) | None => {
                self.more = true;
                0
            }
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.known == 0 && !self.more
    }

    /// Each of which a call ended, with whether the last of them failed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TargetId, bool)> {
        let Self { targets, ended, failed, known, .. } = *self;
        let numbers = targets.into_iter().take(usize::from(known)).enumerate();
        let ended = numbers.filter(move |(place, _)| ended >> place & 1 == 1);
        ended.map(move |(place, number)| (TargetId(u32::from(number)), failed >> place & 1 == 1))
    }

    /// Whether more were called than are told apart.
    pub(crate) fn is_more(&self) -> bool {
        self.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_call_of_an_operation_decides() {
        let mut called = Called::default();
        assert!(called.is_empty());
        for (target, failed) in [(7, true), (3, false), (7, false), (3, true), (65_535, true)] {
            called.end(TargetId(target), failed);
        }
        let known: Vec<_> = called.iter().map(|(target, failed)| (target.0, failed)).collect();
        assert_eq!(known, [(7, false), (3, true), (65_535, true)]);
        assert!(!called.is_more());
    }

    #[test]
    fn beyond_eight_operations_it_is_only_known_that_there_were_more() {
        let mut called = Called::default();
        for target in 0..9 {
            called.end(TargetId(target), target == 2);
        }
        called.end(TargetId(7), true);
        let failed: Vec<_> = called.iter().filter(|(_, failed)| *failed).map(|(target, _)| target.0).collect();
        assert_eq!((called.iter().count(), failed, called.is_more()), (MOST, vec![2, 7], true));
        let mut one = Called::default();
        one.end(TargetId(65_536), false);
        assert!(one.is_more() && !one.is_empty() && one.iter().next().is_none());
    }

    #[test]
    fn what_a_part_called_is_called_by_the_whole() {
        let (mut whole, mut part) = (Called::default(), Called::default());
        whole.end(TargetId(1), true);
        part.end(TargetId(2), true);
        part.end(TargetId(1), false);
        whole.add(&part);
        assert_eq!(whole.iter().collect::<Vec<_>>(), [(TargetId(1), false), (TargetId(2), true)]);
    }
    #[test]
    fn what_a_limit_cut_off_has_failed_and_what_was_let_go_says_nothing() {
        let mut called = Called::default();
        called.begin(TargetId(1));
        called.let_go();
        called.end(TargetId(2), false);
        for target in [2, 3, 4, 5] {
            called.begin(TargetId(target));
        }
        called.end(TargetId(4), false);
        called.drop_one(TargetId(5));
        called.drop_one(TargetId(6));
        called.cut_off();
        let ended: Vec<_> = called.iter().map(|(target, failed)| (target.0, failed)).collect();
        assert_eq!(ended, [(2, true), (3, true), (4, false)]);
    }

    #[test]
    fn what_is_under_way_in_a_part_is_so_in_the_whole_until_it_ends_there() {
        let mut whole = Called::default();
        let mut part = Called::default();
        part.begin(TargetId(1));
        part.begin(TargetId(2));
        whole.add(&part);
        let mut later = Called::default();
        later.end(TargetId(2), false);
        whole.add(&later);
        whole.cut_off();
        assert_eq!(whole.iter().collect::<Vec<_>>(), [(TargetId(1), true), (TargetId(2), false)]);
    }
}
