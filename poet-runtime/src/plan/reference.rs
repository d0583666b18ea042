//! References in arguments: `$customer.id` is replaced by what the step `customer` answered.
//!
//! ```text
//! $name            what the step of that name answered, or the input of that name
//! $name.a.0.b      a field, an item of a list, a field of it
//! $step_2          what the second step answered
//! $last_result     what the step declared before this one answered
//! ${name.a}        the same, where a letter follows
//! $$               a dollar
//! ```
//!
//! A text that is one reference becomes the value with its type; inside a longer text the value is written as text. A
//! dollar before anything but a name is a dollar, so that `$1` in SQL stays what it is. What does not resolve is an
//! error that says which reference, where, and what there is: nothing is ever sent with a hole in it.

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// What a reference begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root<'p> {
    Step(usize),
    Input(&'p Value),
}

/// A reference as it was written, and what it means.
#[derive(Clone, Debug)]
pub(super) struct Reference<'p> {
    written: &'p str,
    pub(super) root: Root<'p>,
    path: Vec<&'p str>,
}

/// A value with references in it, made once and filled in when its turn comes.
#[derive(Clone, Debug)]
pub(super) enum Template<'p> {
    Plain(&'p Value),
    Literal(String),
    Whole(Reference<'p>),
    Text(Vec<Piece<'p>>),
    List(Vec<Self>),
    Map(Vec<(&'p str, Self)>),
}

#[derive(Clone, Debug)]
pub(super) enum Piece<'p> {
    Text(Cow<'p, str>),
    Reference(Reference<'p>),
}

/// What names mean at one place of a plan.
pub(super) trait Names<'p> {
    /// What a name stands for, or why it stands for nothing.
    fn find(&self, name: &str) -> Result<Root<'p>, String>;
}

/// What the steps have answered so far.
pub(super) trait Scope {
    /// What a step answered, or why there is nothing.
    fn answer(&self, step: usize) -> Result<&Value, Absence>;
}

/// Why a step has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// It was put off; the value comes later.
    Pending(String),
    /// There never will be one.
    Never(String),
}

/// A reference that does not resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    reference: String,
    argument: String,
    pub(super) why: Absence,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.reference)?;
        if !self.argument.is_empty() {
            write!(f, " in `{}`", self.argument)?;
        }
        let (Absence::Pending(why) | Absence::Never(why)) = &self.why;
        write!(f, " does not resolve: {why}")
    }
}

impl<'p> Template<'p> {
    /// Reads a value. What its references mean is asked of `names`; every one that means nothing is told to `wrong`
    /// with its place.
    pub(super) fn read(value: &'p Value, names: &dyn Names<'p>, wrong: &mut dyn FnMut(String)) -> Self {
        let mut place = String::new();
        read(value, names, &mut place, wrong)
    }

    /// Every reference in it.
    pub(super) fn each_reference(&self, f: &mut dyn FnMut(&Reference<'p>)) {
        match self {
            Self::Plain(_) | Self::Literal(_) => {}
            Self::Whole(reference) => f(reference),
            Self::Text(pieces) => {
                for piece in pieces {
                    if let Piece::Reference(reference) = piece {
                        f(reference);
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.each_reference(f)),
            Self::Map(entries) => entries.iter().for_each(|(_, entry)| entry.each_reference(f)),
        }
    }

    /// The value with every reference replaced.
    pub(super) fn fill(&self, scope: &dyn Scope) -> Result<Value, Unresolved> {
        fill(self, scope, &mut String::new())
    }
}

fn read<'p>(
    value: &'p Value,
    names: &dyn Names<'p>,
    place: &mut String,
    wrong: &mut dyn FnMut(String),
) -> Template<'p> {
    match value {
        Value::String(text) if text.contains('$') => read_text(text, names, place, wrong),
        Value::Array(items) if items.iter().any(has_dollar) => Template::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| within(place, &index.to_string(), |place| read(item, names, place, wrong)))
                .collect(),
        ),
        Value::Object(map) if map.values().any(has_dollar) => Template::Map(
            map.iter()
                .map(|(name, entry)| (name.as_str(), within(place, name, |place| read(entry, names, place, wrong))))
                .collect(),
        ),
        plain => Template::Plain(plain),
    }
}

fn has_dollar(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('$'),
        Value::Array(items) => items.iter().any(has_dollar),
        Value::Object(map) => map.values().any(has_dollar),
        _ => false,
    }
}

fn within<R>(place: &mut String, name: &str, f: impl FnOnce(&mut String) -> R) -> R {
    let length = place.len();
    if length > 0 {
        place.push('.');
    }
    place.push_str(name);
    let result = f(place);
    place.truncate(length);
    result
}

fn read_text<'p>(text: &'p str, names: &dyn Names<'p>, place: &str, wrong: &mut dyn FnMut(String)) -> Template<'p> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            plain.push('$');
            rest = after;
            continue;
        }
        let Some((written, inner)) = reference(rest) else {
            plain.push('$');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[written.len()..];
        let mut segments = inner.split('.');
        let name = segments.next().unwrap_or_default();
        match names.find(name) {
            Ok(root) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(Cow::Owned(std::mem::take(&mut plain))));
                }
                pieces.push(Piece::Reference(Reference { written, root, path: segments.collect() }));
            }
            Err(why) if place.is_empty() => wrong(format!("`{written}` {why}")),
            Err(why) => wrong(format!("`{written}` in `{place}` {why}")),
        }
    }
    plain.push_str(rest);
    match pieces.pop() {
        None => Template::Literal(plain),
        Some(Piece::Reference(only)) if pieces.is_empty() && plain.is_empty() => Template::Whole(only),
        Some(last) => {
            pieces.push(last);
            if !plain.is_empty() {
                pieces.push(Piece::Text(Cow::Owned(plain)));
            }
            Template::Text(pieces)
        }
    }
}

/// The reference a text that begins with a dollar begins with: as written, and its dotted path.
fn reference(text: &str) -> Option<(&str, &str)> {
    let after = &text[1..];
    if let Some(braced) = after.strip_prefix('{') {
        let inner = &braced[..braced.find('}')?];
        let sound = inner.split('.').enumerate().all(|(index, segment)| {
            !segment.is_empty()
                && segment.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
                && (index > 0 || segment.starts_with(|c: char| c.is_alphabetic() || c == '_'))
        });
        return sound.then(|| (&text[..inner.len() + 3], inner));
    }
    if !after.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let word = |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let mut length = word(after);
    // A dot with nothing behind it ends a sentence.
    while let Some(next) = after[length..].strip_prefix('.') {
        match word(next) {
            0 => break,
            more => length += 1 + more,
        }
    }
    Some((&text[..=length], &after[..length]))
}

fn fill(template: &Template<'_>, scope: &dyn Scope, place: &mut String) -> Result<Value, Unresolved> {
    Ok(match template {
        Template::Plain(value) => (*value).clone(),
        Template::Literal(text) => Value::String(text.clone()),
        Template::Whole(reference) => reference.find(scope, place)?.clone(),
        Template::Text(pieces) => {
            let mut text = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(plain) => text.push_str(plain),
                    Piece::Reference(reference) => match reference.find(scope, place)? {
                        Value::String(found) => text.push_str(found),
                        other => text.push_str(&other.to_string()),
                    },
                }
            }
            Value::String(text)
        }
        Template::List(items) => {
            let mut filled = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                filled.push(within(place, &index.to_string(), |place| fill(item, scope, place))?);
            }
            Value::Array(filled)
        }
        Template::Map(entries) => {
            let mut filled = Map::new();
            for (name, entry) in entries {
                filled.insert((*name).to_owned(), within(place, name, |place| fill(entry, scope, place))?);
            }
            Value::Object(filled)
        }
    })
}

impl Reference<'_> {
    /// What it stands for.
    pub(super) fn find<'s>(&'s self, scope: &'s dyn Scope, place: &str) -> Result<&'s Value, Unresolved> {
        let unresolved = |why| Unresolved { reference: self.written.to_owned(), argument: place.to_owned(), why };
        let mut found = match self.root {
            Root::Input(value) => value,
            Root::Step(step) => scope.answer(step).map_err(unresolved)?,
        };
        for (depth, segment) in self.path.iter().enumerate() {
            let next = match found {
                Value::Object(map) => map.get(*segment),
                Value::Array(items) => segment.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            found = next.ok_or_else(|| {
                let seen = self.path[..depth].join(".");
                let at = if seen.is_empty() { "it".to_owned() } else { format!("`{seen}` of it") };
                unresolved(Absence::Never(format!("{at} is {} and has no `{segment}`", kind(found))))
            })?;
        }
        if crate::is_pending(found) {
            return Err(unresolved(Absence::Pending("it holds a value that is not there yet".to_owned())));
        }
        Ok(found)
    }
}

/// What a value is, in a few words and without its contents, which may be secret.
fn kind(value: &Value) -> String {
    const SHOWN: usize = 8;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) if map.is_empty() => "an empty object".to_owned(),
        Value::Object(map) => {
            let names: Vec<_> = map.keys().take(SHOWN).map(|name| format!("`{name}`")).collect();
            let more = if map.len() > SHOWN { ", …" } else { "" };
            format!("an object with {}{more}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct World {
        answers: Vec<(&'static str, Value)>,
        email: Value,
    }

    impl<'p> Names<'p> for &'p World {
        fn find(&self, name: &str) -> Result<Root<'p>, String> {
            if name == "email" {
                return Ok(Root::Input(&self.email));
            }
            let step = self.answers.iter().position(|(step, _)| *step == name);
            step.map(Root::Step).ok_or_else(|| "is neither a step nor an input".to_owned())
        }
    }

    impl Scope for World {
        fn answer(&self, step: usize) -> Result<&Value, Absence> {
            Ok(&self.answers[step].1)
        }
    }

    fn world() -> World {
        let customer = json!({ "id": 7, "tags": ["a", { "b": true }], "none": null });
        World { answers: vec![("customer", customer)], email: json!("a@example.com") }
    }

    fn filled(value: &Value) -> Result<Value, String> {
        let world = world();
        let mut wrong = Vec::new();
        let template = Template::read(value, &&world, &mut |problem| wrong.push(problem));
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        template.fill(&world).map_err(|unresolved| unresolved.to_string())
    }

    #[test]
    fn a_reference_by_itself_keeps_its_type_and_inside_a_text_it_becomes_text() {
        assert_eq!(filled(&json!("$customer.id")).unwrap(), json!(7));
        assert_eq!(filled(&json!("$customer.tags.1.b")).unwrap(), json!(true));
        assert_eq!(filled(&json!("$customer.none")).unwrap(), json!(null));
        assert_eq!(filled(&json!("no. $customer.id of $email.")).unwrap(), json!("no. 7 of a@example.com."));
        assert_eq!(filled(&json!("${customer.id}th, $customer.tags")).unwrap(), json!("7th, [\"a\",{\"b\":true}]"));
    }

    #[test]
    fn references_resolve_at_any_depth_of_lists_and_maps() {
        let written = json!({ "params": ["$email", { "id": "$customer.id", "plain": 1 }], "n": null });
        let meant = json!({ "params": ["a@example.com", { "id": 7, "plain": 1 }], "n": null });
        assert_eq!(filled(&written).unwrap(), meant);
    }

    #[test]
    fn a_dollar_that_begins_no_name_is_a_dollar() {
        for plain in ["VALUES ($1, $2)", "5$", "$", "$ 5", "${", "${}", "${1}", "a ${not a name}"] {
            assert_eq!(filled(&json!(plain)).unwrap(), json!(plain));
        }
        assert_eq!(filled(&json!("$$email costs $$5")).unwrap(), json!("$email costs $5"));
    }

    #[test]
    fn what_does_not_resolve_says_which_where_and_what_there_is() {
        assert_eq!(
            filled(&json!({ "to": ["$nobody.id"] })).unwrap_err(),
            "`$nobody.id` in `to.0` is neither a step nor an input"
        );
        assert_eq!(
            filled(&json!({ "to": "x $customer.tags.7" })).unwrap_err(),
            "`$customer.tags.7` in `to` does not resolve: `tags` of it is a list of 2 and has no `7`"
        );
        assert_eq!(
            filled(&json!("$customer.key")).unwrap_err(),
            "`$customer.key` does not resolve: it is an object with `id`, `none`, `tags` and has no `key`"
        );
    }
}
