//! Small readers from what was written to single values. Each notes what is wrong and goes on, so that one pass over
//! a file finds every problem; the placeholder it returns instead never leaves this module's caller.

use super::duration;
use super::interpolate::{Environment, interpolate};
use super::node::{Entry, Node, Value};
use super::path::show_key;
use super::{bytes, suggest};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Notes problems while a tree is read.
pub(super) struct Reader<'e> {
    env: Environment<'e>,
    problems: Vec<(usize, String)>,
}

/// A value, where it stands, and how to get there.
pub(super) struct Field<'n> {
    /// The keys on the way, `services.crm.trusted`.
    pub(super) path: String,
    /// The byte at which its key begins.
    pub(super) at: usize,
    pub(super) node: &'n Node,
    private: bool,
}

/// A table, and which of its keys were asked for.
pub(super) struct Table<'n> {
    path: String,
    private: bool,
    entries: &'n [Entry],
    known: Vec<&'static str>,
}

/// What says whether something is done, or for how long.
pub(super) enum Switch {
    On,
    Off,
    For(Duration),
}

/// Names that mean something, though not here: what to say instead of "unknown".
pub(super) type Hints = &'static [(&'static str, &'static str)];

impl<'n> Field<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self { path: String::new(), at: 0, node, private: false }
    }

    /// Keeps the value, and what stands in it, out of messages.
    pub(super) fn private(mut self) -> Self {
        self.private = true;
        self
    }

    fn child(parent: &str, private: bool, entry: &'n Entry) -> Self {
        let key = show_key(&entry.key);
        let path = if parent.is_empty() { key.into_owned() } else { format!("{parent}.{key}") };
        Self { path, at: entry.at, node: &entry.node, private }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// Whether it is a string with variables in it.
    pub(super) fn has_variables(&self) -> bool {
        matches!(&self.node.value, Value::Text(text) if text.contains("${"))
    }

    /// What was found, for a message; never what a variable held.
    fn found(&self) -> String {
        match &self.node.value {
            Value::Text(text) if self.private => {
                (if text.is_empty() { "an empty string" } else { "a string" }).to_owned()
            }
            Value::Text(text) if text.contains("${") => format!("the value of \"{}\"", shorten(text)),
            Value::Text(text) => format!("\"{}\"", shorten(text)),
            Value::Whole(_) | Value::Real(_) if self.private => "a number".to_owned(),
            Value::Whole(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(list) if list.is_empty() => "an empty list".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Nothing => "nothing".to_owned(),
            Value::Other(what) => (*what).to_owned(),
        }
    }
}

fn shorten(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", short.escape_debug())
}

impl<'n> Table<'n> {
    /// The value of a key, where it is written.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'n>> {
        self.known.push(key);
        self.entries().into_iter().find(|(name, _)| *name == key).map(|(_, field)| field)
    }

    /// Every key, for a table whose keys are names.
    pub(super) fn entries(&self) -> Vec<(&'n str, Field<'n>)> {
        let child = |entry: &'n Entry| (entry.key.as_str(), Field::child(&self.path, self.private, entry));
        self.entries.iter().map(child).collect()
    }
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: Environment<'e>) -> Self {
        Self { env, problems: Vec::new() }
    }

    /// What was wrong, in the order of the text.
    pub(super) fn into_problems(mut self) -> Vec<(usize, String)> {
        self.problems.sort_by_key(|(at, _)| *at);
        self.problems
    }

    /// Notes a problem with a key as such.
    pub(super) fn refuse_key(&mut self, field: &Field<'_>, message: &str) {
        self.note(field.at, &field.path, message);
    }

    /// Notes a problem with a value.
    pub(super) fn refuse(&mut self, field: &Field<'_>, message: &str) {
        self.note(field.node.at, &field.path, message);
    }

    /// Notes a problem at a byte of the text.
    pub(super) fn note(&mut self, at: usize, path: &str, message: &str) {
        let message = if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        self.problems.push((at, message));
    }

    /// Notes that a value is not what is allowed.
    pub(super) fn expected<T>(&mut self, field: &Field<'_>, allowed: &str) -> Option<T> {
        self.refuse(field, &format!("expected {allowed}, found {}", field.found()));
        None
    }

    /// Notes every key that was not asked for.
    pub(super) fn refuse_rest(&mut self, table: &Table<'_>, hints: Hints) {
        for (key, field) in table.entries() {
            if table.known.contains(&key) {
                continue;
            }
            if let Some((_, hint)) = hints.iter().find(|(name, _)| *name == key) {
                self.refuse_key(&field, hint);
            } else {
                self.refuse_key(&field, &format!("there is no such key; {}", suggest::or_all(key, &table.known)));
            }
        }
    }

    pub(super) fn table<'n>(&mut self, field: &Field<'n>) -> Option<Table<'n>> {
        match &field.node.value {
            Value::Table(entries) => {
                Some(Table { path: field.path.clone(), private: field.private, entries, known: Vec::new() })
            }
            Value::Nothing => self.expected(field, "a table, `{}` where there is nothing to say"),
            _ => self.expected(field, "a table"),
        }
    }

    pub(super) fn list<'n>(&mut self, field: &Field<'n>) -> Option<Vec<Field<'n>>> {
        let Value::List(list) = &field.node.value else {
            return self.expected(field, "a list");
        };
        let item = |(i, node): (usize, &'n Node)| Field {
            path: format!("{}[{i}]", field.path),
            at: node.at,
            node,
            private: field.private,
        };
        Some(list.iter().enumerate().map(item).collect())
    }

    /// A string with its variables put in; it may be empty.
    pub(super) fn text(&mut self, field: &Field<'_>) -> Option<String> {
        let Value::Text(written) = &field.node.value else {
            return self.expected(field, "a string");
        };
        match interpolate(written, self.env) {
            // No name, argument or variable of a program may contain it, and the error would come late and unplaced.
            Ok(text) if text.contains('\0') => {
                self.refuse(field, "contains a NUL character");
                None
            }
            Ok(text) => Some(text),
            Err(problems) => {
                for problem in problems {
                    self.refuse(field, &problem);
                }
                None
            }
        }
    }

    /// A string that is not empty once its variables are put in.
    pub(super) fn word(&mut self, field: &Field<'_>) -> Option<String> {
        let text = self.text(field)?;
        if text.trim().is_empty() { self.expected(field, "a string that is not empty") } else { Some(text) }
    }

    /// The name of a service, a tool or an argument. It is written out, because messages about names that stand for
    /// nothing say them, and no message says what a variable held.
    pub(super) fn name(&mut self, field: &Field<'_>) -> Option<String> {
        let name = self.word(field)?;
        if field.has_variables() { self.expected(field, "a name without variables") } else { Some(name) }
    }

    /// A value that is no string; a string made of variables stands for the value it spells.
    fn spelled(&mut self, field: &Field<'_>) -> Option<Value> {
        Some(match &field.node.value {
            Value::Flag(flag) => Value::Flag(*flag),
            Value::Whole(number) => Value::Whole(*number),
            Value::Real(number) => Value::Real(*number),
            Value::Text(written) => {
                let text = self.text(field)?;
                let plain = !written.contains("${");
                match text.as_str() {
                    _ if plain => Value::Text(text),
                    "true" => Value::Flag(true),
                    "false" => Value::Flag(false),
                    number => match (number.parse(), number.parse()) {
                        (Ok(whole), _) => Value::Whole(whole),
                        (_, Ok(real)) => Value::Real(real),
                        _ => Value::Text(text),
                    },
                }
            }
            _ => Value::Other(""),
        })
    }

    pub(super) fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        match self.spelled(field)? {
            Value::Flag(flag) => Some(flag),
            _ => self.expected(field, "true or false"),
        }
    }

    /// A number that is finite and not negative.
    pub(super) fn price(&mut self, field: &Field<'_>) -> Option<f64> {
        let price = match self.spelled(field)? {
            Value::Whole(number) => number as f64,
            Value::Real(number) => number,
            _ => f64::NAN,
        };
        if price.is_finite() && price >= 0.0 { Some(price) } else { self.expected(field, "a number from 0 up") }
    }

    pub(super) fn count(&mut self, field: &Field<'_>, allowed: RangeInclusive<u32>) -> Option<u32> {
        if let Value::Whole(number) = self.spelled(field)?
            && let Some(count) = u32::try_from(number).ok().filter(|count| allowed.contains(count))
        {
            return Some(count);
        }
        self.expected(field, &format!("a whole number from {} to {}", allowed.start(), allowed.end()))
    }

    pub(super) fn duration(&mut self, field: &Field<'_>, allowed: &RangeInclusive<Duration>) -> Option<Duration> {
        self.duration_or(field, allowed, "")
    }

    /// A duration; `instead` is what to write where it is too short.
    pub(super) fn duration_or(
        &mut self,
        field: &Field<'_>,
        allowed: &RangeInclusive<Duration>,
        instead: &str,
    ) -> Option<Duration> {
        let value = self.spelled(field)?;
        self.length(field, &value, allowed, &duration::allowed(allowed), instead)
    }

    /// `true`, `false`, or a duration; `instead` is what to write where it is too short.
    pub(super) fn switch(
        &mut self,
        field: &Field<'_>,
        allowed: &RangeInclusive<Duration>,
        instead: &str,
    ) -> Option<Switch> {
        match self.spelled(field)? {
            Value::Flag(true) => Some(Switch::On),
            Value::Flag(false) => Some(Switch::Off),
            value => {
                let said = format!("true, false or {}", duration::allowed(allowed));
                self.length(field, &value, allowed, &said, instead).map(Switch::For)
            }
        }
    }

    fn length(
        &mut self,
        field: &Field<'_>,
        value: &Value,
        allowed: &RangeInclusive<Duration>,
        said: &str,
        instead: &str,
    ) -> Option<Duration> {
        // A bare number is refused, not guessed at: half of the world means milliseconds by it.
        let written = match value {
            Value::Text(text) => duration::parse(text),
            _ => None,
        };
        match written {
            Some(duration) if allowed.contains(&duration) => written,
            Some(duration) if duration < *allowed.start() && !instead.is_empty() => {
                self.refuse(field, &format!("expected {said}, found {}; {instead}", field.found()));
                None
            }
            _ => self.expected(field, said),
        }
    }

    /// A number of bytes, or a size.
    pub(super) fn bytes(&mut self, field: &Field<'_>) -> Option<u64> {
        let bytes = match self.spelled(field)? {
            Value::Whole(number) => u64::try_from(number).ok().filter(|bytes| bytes::is_allowed(*bytes)),
            Value::Text(text) => bytes::parse(&text),
            _ => None,
        };
        if bytes.is_some() { bytes } else { self.expected(field, bytes::ALLOWED) }
    }

    /// A number in seconds or a count, or a duration, in seconds.
    pub(super) fn quantity(&mut self, field: &Field<'_>, allowed: &str, seconds: bool) -> Option<f64> {
        match self.spelled(field)? {
            Value::Whole(number) => Some(number as f64),
            Value::Real(number) => Some(number),
            Value::Text(text) if seconds && duration::parse(&text).is_some() => {
                duration::parse(&text).map(|duration| duration.as_secs_f64())
            }
            _ => self.expected(field, allowed),
        }
    }

    /// One of several names.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, names: &[(&str, T)], later: Hints) -> Option<T> {
        let text = self.word(field)?;
        if let Some((_, meant)) = names.iter().find(|(name, _)| *name == text) {
            return Some(*meant);
        }
        if let Some((_, hint)) = later.iter().find(|(name, _)| *name == text) {
            self.refuse(field, hint);
            return None;
        }
        let quoted: Vec<_> = names.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let allowed = suggest::one_of(&quoted);
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        match suggest::nearest(&text, &names).filter(|_| !field.has_variables()) {
            Some(meant) => {
                let found = field.found();
                self.refuse(field, &format!("expected {allowed}, found {found}; did you mean \"{meant}\"?"));
                None
            }
            None => self.expected(field, &allowed),
        }
    }
}
