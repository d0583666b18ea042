//! Guesses what a mistyped name was meant to be.

/// `did you mean …?` where one of the names is near, otherwise all of them.
///
/// # Examples
///
/// ```
/// use poet_runtime::config::did_you_mean;
///
/// assert_eq!(did_you_mean("updaet", &["update", "list"]), "did you mean `update`?");
/// assert_eq!(did_you_mean("colour", &["update", "list"]), "expected `update` or `list`");
/// ```
#[must_use]
pub fn or_all(written: &str, names: &[&str]) -> String {
    let quoted = |name: &&str| format!("`{name}`");
    nearest(written, names).map_or_else(
        || format!("expected {}", one_of(&names.iter().map(quoted).collect::<Vec<_>>())),
        |name| format!("did you mean `{name}`?"),
    )
}

/// `a, b or c`.
pub(super) fn one_of(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The name a written one was most likely meant to be.
///
/// One slip is forgiven in every three letters; a name whose last part was written alone is as good as one slip.
pub(super) fn nearest<'n>(written: &str, names: &[&'n str]) -> Option<&'n str> {
    let written = written.to_ascii_lowercase().replace('-', "_");
    let distance = |name: &str| match name.rsplit_once('.') {
        Some((_, last)) if !written.contains('.') => slips(&written, last).min(slips(&written, name)),
        _ => slips(&written, name),
    };
    let near = names.iter().map(|name| (distance(name), *name)).min_by_key(|(slips, _)| *slips);
    near.filter(|(slips, name)| *slips <= written.chars().count().min(name.len()) / 3).map(|(_, name)| name)
}

/// Letters added, left out, changed or swapped with their neighbour between two words (optimal string alignment).
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut fewest = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                fewest = fewest.min(before_last[j - 2] + 1);
            }
            row.push(fewest);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_a_slip_and_a_dash_are_forgiven_and_another_word_is_not() {
        let keys = ["endpoints", "auth_token", "trusted", "env"];
        assert_eq!(nearest("endponits", &keys), Some("endpoints"));
        assert_eq!(nearest("auth-token", &keys), Some("auth_token"));
        assert_eq!(nearest("Trusted", &keys), Some("trusted"));
        assert_eq!(nearest("colour", &keys), None);
        assert_eq!(nearest("", &keys), None);
    }

    #[test]
    fn names_are_listed_as_a_sentence() {
        assert_eq!(or_all("x", &["http", "stdio"]), "expected `http` or `stdio`");
        assert_eq!(or_all("x", &["a", "b", "c"]), "expected `a`, `b` or `c`");
    }
}
