//! Small readers from what was written to single values. Each notes what is wrong, where it stands and what is allowed,
//! and goes on, so that one pass over a file finds every problem.

use std::fmt;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a world's file: every problem, with line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldError {
    name: String,
    problems: Vec<String>,
}

impl WorldError {
    pub(crate) fn new(name: &str, problems: Vec<String>) -> Self {
        Self { name: name.to_owned(), problems }
    }

    /// The problems, in the order of the text: `line:column: key: what is wrong`.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.problems.iter().map(|problem| format!("{}:{problem}", self.name));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for WorldError {}

/// Notes problems while a text is read.
pub(super) struct Reader<'t> {
    text: &'t str,
    problems: Vec<(usize, String)>,
}

/// A value, where it stands, and how to get there.
#[derive(Clone)]
pub(super) struct Field<'n> {
    pub(super) path: String,
    pub(super) at: usize,
    value: &'n DeValue<'n>,
}

/// A table, and which of its keys were asked for.
pub(super) struct Table<'n> {
    pub(super) path: String,
    pub(super) at: usize,
    entries: &'n DeTable<'n>,
    known: Vec<&'static str>,
}

impl<'n> Field<'n> {
    fn found(&self) -> String {
        match self.value {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date or time".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self.value {
            DeValue::Integer(number) => number.as_str().replace('_', "").parse().ok(),
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            _ => None,
        }
    }
}

impl<'n> Table<'n> {
    /// The value of a key, where it is written.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'n>> {
        self.known.push(key);
        self.entries().into_iter().find(|(name, _)| *name == key).map(|(_, field)| field)
    }

    /// Every key, for a table whose keys are names.
    pub(super) fn entries(&self) -> Vec<(&'n str, Field<'n>)> {
        let field = |(key, value): (&'n Spanned<_>, &'n Spanned<DeValue<'n>>)| {
            let name: &'n str = AsRef::<str>::as_ref(key.get_ref());
            let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
            (name, Field { path, at: key.span().start, value: value.get_ref() })
        };
        self.entries.iter().map(field).collect()
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, problems: Vec::new() }
    }

    pub(super) fn root<'n>(&self, entries: &'n DeTable<'n>) -> Table<'n> {
        Table { path: String::new(), at: 0, entries, known: Vec::new() }
    }

    /// What was wrong, in the order of the text.
    pub(super) fn into_problems(mut self) -> Vec<String> {
        self.problems.sort_by_key(|(at, _)| *at);
        let text = self.text;
        let place = |(at, problem): (usize, String)| {
            let before = &text[..at.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("{line}:{column}: {problem}")
        };
        self.problems.into_iter().map(place).collect()
    }

    pub(super) fn note(&mut self, at: usize, path: &str, message: &str) {
        let message = if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        self.problems.push((at, message));
    }

    pub(super) fn refuse(&mut self, field: &Field<'_>, message: &str) {
        self.note(field.at, &field.path, message);
    }

    fn expected<T>(&mut self, field: &Field<'_>, allowed: &str) -> Option<T> {
        self.refuse(field, &format!("expected {allowed}, found {}", field.found()));
        None
    }

    /// Notes every key that was not asked for.
    pub(super) fn refuse_rest(&mut self, table: &Table<'_>) {
        for (key, field) in table.entries() {
            if !table.known.contains(&key) {
                let allowed = table.known.join("`, `");
                self.refuse(&field, &format!("there is no such key; write one of `{allowed}`"));
            }
        }
    }

    pub(super) fn missing(&mut self, table: &Table<'_>, key: &str) {
        self.note(table.at, &table.path, &format!("`{key}` is missing"));
    }

    pub(super) fn table<'n>(&mut self, field: &Field<'n>) -> Option<Table<'n>> {
        match field.value {
            DeValue::Table(entries) => {
                Some(Table { path: field.path.clone(), at: field.at, entries, known: Vec::new() })
            }
            _ => self.expected(field, "a table"),
        }
    }

    pub(super) fn list<'n>(&mut self, field: &Field<'n>) -> Option<Vec<Field<'n>>> {
        let DeValue::Array(list) = field.value else { return self.expected(field, "a list") };
        let item = |(i, value): (usize, &'n Spanned<DeValue<'n>>)| Field {
            path: format!("{}[{i}]", field.path),
            at: value.span().start,
            value: value.get_ref(),
        };
        Some(list.iter().enumerate().map(item).collect())
    }

    pub(super) fn text(&mut self, field: &Field<'_>) -> Option<String> {
        match field.value {
            DeValue::String(text) if !text.trim().is_empty() => Some(text.to_string()),
            _ => self.expected(field, "a string that is not empty"),
        }
    }

    pub(super) fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        match field.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.expected(field, "true or false"),
        }
    }

    pub(super) fn number(&mut self, field: &Field<'_>, allowed: &RangeInclusive<f64>) -> Option<f64> {
        match field.as_number().filter(|number| allowed.contains(number)) {
            Some(number) => Some(number),
            None => self.expected(field, &format!("a number from {} to {}", allowed.start(), allowed.end())),
        }
    }

    /// A number, or something that is written as another kind of value.
    pub(super) fn number_or(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
        allowed: &RangeInclusive<f64>,
        default: f64,
    ) -> f64 {
        let field = table.take(key);
        field.and_then(|field| self.number(&field, allowed)).unwrap_or(default)
    }

    pub(super) fn flag_or(&mut self, table: &mut Table<'_>, key: &'static str, default: bool) -> bool {
        let field = table.take(key);
        field.and_then(|field| self.flag(&field)).unwrap_or(default)
    }

    /// One of several names.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, names: &[(&str, T)]) -> Option<T> {
        if let DeValue::String(text) = field.value
            && let Some((_, meant)) = names.iter().find(|(name, _)| name == text)
        {
            return Some(*meant);
        }
        let names: Vec<_> = names.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        self.expected(field, &format!("one of {}", names.join(", ")))
    }

    /// A time of the day, in seconds.
    pub(super) fn time(&mut self, field: &Field<'_>) -> Option<f64> {
        let parsed = match field.value {
            DeValue::String(text) => text.split_once(':').and_then(|(hour, minute)| {
                let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.parse().ok()?);
                (hour < 24 && minute < 60).then(|| f64::from(hour) * 3_600.0 + f64::from(minute) * 60.0)
            }),
            _ => None,
        };
        if parsed.is_some() { parsed } else { self.expected(field, "a time such as \"12:00\"") }
    }
}
