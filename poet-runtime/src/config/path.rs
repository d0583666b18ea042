//! The way to a key: how it is written in messages, and where in a text it ends.

use super::node::{Node, Value};
use std::borrow::Cow;
use std::fmt;

/// The keys, and places in lists, that lead to a value: `services.crm.avoid[1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

impl Path {
    pub(super) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        Self(self.0.iter().cloned().chain([Step::Key(key.to_owned())]).collect())
    }

    pub(super) fn item(&self, place: usize) -> Self {
        Self(self.0.iter().cloned().chain([Step::Item(place)]).collect())
    }

    /// The bytes at which the key and its value begin; those of the nearest key above where it was not written.
    pub(super) fn find(&self, root: &Node) -> (usize, usize) {
        let (mut at, mut node) = (root.at, root);
        for step in &self.0 {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Table(entries)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| (entry.at, &entry.node))
                }
                (Step::Item(place), Value::List(list)) => list.get(*place).map(|node| (node.at, node)),
                _ => None,
            };
            let Some(next) = next else { break };
            (at, node) = next;
        }
        (at, node.at)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(&show_key(key))?,
                Step::Key(key) => write!(f, ".{}", show_key(key))?,
                Step::Item(place) => write!(f, "[{place}]")?,
            }
        }
        Ok(())
    }
}

/// A key as it is written: quoted where it must be.
pub(super) fn show_key(key: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(plain) {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(format!("\"{}\"", key.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::node;
    use super::*;

    #[test]
    fn a_path_is_shown_as_it_would_be_written() {
        let path = Path::of(&["services", "my crm", "tools", "read.file", "invalidates"]).item(1);
        assert_eq!(path.to_string(), "services.\"my crm\".tools.\"read.file\".invalidates[1]");
    }

    #[test]
    fn what_was_not_written_is_found_where_it_would_stand() {
        let root = node::parse_toml("a = 1\nb = { c = [7, 8] }\n").unwrap_or_else(|_| panic!("it is TOML"));
        assert_eq!(Path::of(&["b", "c"]).item(1).find(&root), (20, 20));
        assert_eq!(Path::of(&["b", "c"]).find(&root), (12, 16));
        assert_eq!(Path::of(&["b", "d"]).find(&root), (6, 10));
    }
}
