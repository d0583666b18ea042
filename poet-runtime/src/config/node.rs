//! What was written: a tree of values that know where they stand, and how a TOML text becomes one.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value, and the byte at which it begins.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// A value as it was written.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A key without a value, which TOML does not have.
    Nothing,
    /// Something that no key may be, by its name.
    Other(&'static str),
}

/// A key, the byte at which it begins, and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) node: Node,
}

/// Reads a TOML text.
///
/// # Errors
///
/// Every error of syntax, as a byte and a message. What is meant by the rest of such a text is not known well enough
/// to complain about it, so these are reported alone.
pub(super) fn parse_toml(text: &str) -> Result<Node, Vec<(usize, String)>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(0, root.get_ref()));
    }
    // `Display` of these errors quotes the line, and with it whatever key stands there; the message alone does not.
    Err(errors.iter().map(|e| (e.span().map_or(text.len(), |span| span.start), e.message().to_owned())).collect())
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let at = value.span().start;
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number that is too large"), Value::Whole),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Value::Other("a number that is too large"), Value::Real)
        }
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(list) => Value::List(list.iter().map(node).collect()),
        DeValue::Table(entries) => return table(at, entries),
    };
    Node { at, value }
}

fn table(at: usize, entries: &DeTable<'_>) -> Node {
    let entry = |(key, value): (&Spanned<_>, &_)| Entry {
        key: String::from(AsRef::<str>::as_ref(key.get_ref())),
        at: key.span().start,
        node: node(value),
    };
    Node { at, value: Value::Table(entries.iter().map(entry).collect()) }
}
