//! Which operations one execution of a function called, and whether the last call of each failed.

use crate::outcome::TargetId;

/// How many operations of one execution are told apart.
const MOST: usize = 8;

/// The operations, in a few bytes: they are swapped at every poll of the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Called {
    /// The numbers of their targets, of which a runtime has not more than go into half a word but by a few.
    targets: [u16; MOST],
    /// A bit for each: whether its last call failed.
    failed: u8,
    /// How many there are.
    known: u8,
    /// Whether there were more.
    more: bool,
}

impl Called {
    /// Takes note of a call that ended.
    pub(crate) fn note(&mut self, target: TargetId, failed: bool) {
        let Ok(number) = u16::try_from(target.0) else {
            self.more = true;
            return;
        };
        let known = &self.targets[..usize::from(self.known)];
        let place = known.iter().position(|known| *known == number).unwrap_or(known.len());
        if place == MOST {
            self.more = true;
            return;
        }
        if place == known.len() {
            self.targets[place] = number;
            self.known += 1;
        }
        self.failed = self.failed & !(1 << place) | u8::from(failed) << place;
    }

    /// Takes note of what was called in a part of the execution.
    pub(crate) fn note_all(&mut self, part: &Self) {
        part.iter().for_each(|(target, failed)| self.note(target, failed));
        self.more |= part.more;
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.known == 0 && !self.more
    }

    /// Each with whether its last call failed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TargetId, bool)> {
        let Self { targets, failed, known, .. } = *self;
        let numbers = targets.into_iter().take(usize::from(known)).enumerate();
        numbers.map(move |(place, number)| (TargetId(u32::from(number)), failed >> place & 1 == 1))
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
            called.note(TargetId(target), failed);
        }
        let known: Vec<_> = called.iter().map(|(target, failed)| (target.0, failed)).collect();
        assert_eq!(known, [(7, false), (3, true), (65_535, true)]);
        assert!(!called.is_more());
    }

    #[test]
    fn beyond_eight_operations_it_is_only_known_that_there_were_more() {
        let mut called = Called::default();
        for target in 0..9 {
            called.note(TargetId(target), target == 2);
        }
        called.note(TargetId(7), true);
        let failed: Vec<_> = called.iter().filter(|(_, failed)| *failed).map(|(target, _)| target.0).collect();
        assert_eq!((called.iter().count(), failed, called.is_more()), (MOST, vec![2, 7], true));
        let mut one = Called::default();
        one.note(TargetId(65_536), false);
        assert!(one.is_more() && !one.is_empty() && one.iter().next().is_none());
    }

    #[test]
    fn what_a_part_called_is_called_by_the_whole() {
        let (mut whole, mut part) = (Called::default(), Called::default());
        whole.note(TargetId(1), true);
        part.note(TargetId(2), true);
        part.note(TargetId(1), false);
        whole.note_all(&part);
        assert_eq!(whole.iter().collect::<Vec<_>>(), [(TargetId(1), false), (TargetId(2), true)]);
    }
}
