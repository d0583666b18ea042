//! Finds what was probably meant by a word that is not known.

/// The candidate closest to `word`, if it is close enough to have been meant.
///
/// Close enough is one slip for every three letters of the candidate: a wrong guess is worse than none.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(slips, candidate)| *slips <= (candidate.len() / 3).max(1))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// How many letters were added, dropped, changed, or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let changed = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut fewest = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                fewest = fewest.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = fewest;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_of_neighbours_is_one_slip() {
        assert_eq!(distance("tiemout", "timeout"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("deadline", "deadline"), 0);
    }

    #[test]
    fn the_closest_word_is_suggested() {
        let keys = ["timeout", "deadline", "retries"];
        assert_eq!(closest("timout", keys), Some("timeout"));
        assert_eq!(closest("dead_line", keys), Some("deadline"));
    }

    #[test]
    fn a_word_that_is_close_to_nothing_gets_no_suggestion() {
        assert_eq!(closest("colour", ["timeout", "deadline", "retries"]), None);
        assert_eq!(closest("xy", ["on", "off"]), None);
    }
}
