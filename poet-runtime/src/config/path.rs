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

impl Step {
    /// What it leads to from a value, and the byte at which that is named.
    fn of<'n>(&self, node: &'n Node) -> Option<(usize, &'n Node)> {
        match (self, &node.value) {
            (Self::Key(key), Value::Table(entries)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| (entry.at, &entry.node))
            }
            (Self::Item(place), Value::List(list)) => list.get(*place).map(|node| (node.at, node)),
            _ => None,
        }
    }
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

    /// The same way by the keys that were written, where one has another name.
    pub(super) fn as_written(&self, root: &Node) -> Self {
        const OTHER_NAMES: [(&str, &str); 1] = [("timeout", "timeout_ms")];
        let mut written = Self(Vec::new());
        for step in &self.0 {
            let other = match step {
                Step::Key(key) => OTHER_NAMES.iter().find(|(name, _)| name == key),
                Step::Item(_) => None,
            };
            let other = other.map(|(_, other)| written.key(other)).filter(|_| !written.with(step).is_in(root));
            written = other.filter(|other| other.is_in(root)).unwrap_or_else(|| written.with(step));
        }
        written
    }

    fn with(&self, step: &Step) -> Self {
        Self(self.0.iter().chain([step]).cloned().collect())
    }

    fn is_in(&self, root: &Node) -> bool {
        self.0.iter().try_fold(root, |node, step| step.of(node).map(|(_, node)| node)).is_some()
    }

    /// The bytes at which the key and its value begin; those of the nearest key above where it was not written.
    pub(super) fn find(&self, root: &Node) -> (usize, usize) {
        let (mut at, mut node) = (root.at, root);
        for step in &self.0 {
            let Some(next) = step.of(node) else { break };
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
    fn a_key_that_was_written_by_its_other_name_is_found_and_shown_by_it() {
        let path = Path::of(&["a", "timeout"]);
        let shown =
            |text| path.as_written(&node::parse_toml(text).unwrap_or_else(|_| panic!("it is TOML"))).to_string();
        assert_eq!(shown("a.timeout_ms = 5"), "a.timeout_ms");
        assert_eq!(shown("a.timeout = '5s'"), "a.timeout");
        assert_eq!(shown("a.timeout = '5s'\na.timeout_ms = 5"), "a.timeout");
        assert_eq!(shown("a.deadline = '5s'"), "a.timeout");
    }

    #[test]
    fn what_was_not_written_is_found_where_it_would_stand() {
        let root = node::parse_toml("a = 1\nb = { c = [7, 8] }\n").unwrap_or_else(|_| panic!("it is TOML"));
        assert_eq!(Path::of(&["b", "c"]).item(1).find(&root), (20, 20));
        assert_eq!(Path::of(&["b", "c"]).find(&root), (12, 16));
        assert_eq!(Path::of(&["b", "d"]).find(&root), (6, 10));
    }
}
