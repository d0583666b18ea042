//! What was written in YAML: the same tree as that of a TOML text.
//!
//! Read is YAML 1.2 with its core schema, and only what can be read in one way: `yes`, `no`, `on` and `off` are strings,
//! `0755` is seven hundred and fifty-five. An alias stands for what its anchor holds. Refused are a key that is written
//! twice, merge keys (which YAML 1.2 does not have), tags, a second document, and more nesting than any key needs.

use super::node::{Entry, Node, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use std::borrow::Cow;
use std::collections::HashMap;

/// More than any key needs; what is read by recursion has to end.
const DEEPEST: usize = 64;
/// The most values that aliases may multiply a file to.
const MOST: usize = 100_000;

const MERGE: &str = "merge keys are not part of YAML 1.2 and are not read; write the keys out";
const TAG: &str = "tags are not read; write a string in quotes, and anything else without a tag";
const DEEP: &str = "is nested deeper than any key is";
const HUGE: &str = "aliases make the file too large";

/// What stands at a byte and ends the reading.
type Broken = (usize, String);

/// Reads a YAML text.
///
/// # Errors
///
/// The first error of syntax, and what is refused before it, as a byte and a message. As with TOML, these are reported
/// alone, because what is meant by the rest is not known.
pub(super) fn parse(text: &str) -> Result<Node, Vec<(usize, String)>> {
    let mut tree = Tree {
        text,
        events: Parser::new_from_str(text),
        bytes: text.char_indices().map(|(byte, _)| byte).collect(),
        anchors: HashMap::new(),
        values: 0,
        refused: Vec::new(),
    };
    let root = tree.stream();
    let mut problems = tree.refused;
    match root {
        Ok(root) if problems.is_empty() => Ok(root),
        Ok(_) => Err(problems),
        Err(broken) => {
            problems.push(broken);
            Err(problems)
        }
    }
}

struct Tree<'t> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    /// The byte at which each character begins: the parser counts characters.
    bytes: Vec<usize>,
    /// What each anchor holds; nothing while that is still being read.
    anchors: HashMap<usize, Node>,
    values: usize,
    refused: Vec<(usize, String)>,
}

impl<'t> Tree<'t> {
    fn byte(&self, character: usize) -> usize {
        self.bytes.get(character).copied().unwrap_or(self.text.len())
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Broken> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(explained(self.text, self.byte(error.marker().index()), error.info())),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn refuse(&mut self, at: usize, message: &str) {
        self.refused.push((at, message.to_owned()));
    }

    /// The one document of a stream; nothing written is an empty table, as it is in TOML.
    fn stream(&mut self) -> Result<Node, Broken> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            let at = self.byte(span.start.index());
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    return Err((at, "a second document is not read; remove what follows".to_owned()));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let root = root.unwrap_or(Node { at: 0, value: Value::Nothing });
        let is_nothing = matches!(root.value, Value::Nothing);
        Ok(if is_nothing { Node { value: Value::Table(Vec::new()), ..root } } else { root })
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Broken> {
        let at = self.byte(span.start.index());
        if depth > DEEPEST {
            return Err((at, DEEP.to_owned()));
        }
        self.values += 1;
        if self.values > MOST {
            return Err((at, HUGE.to_owned()));
        }
        let (anchor, tag, value) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, tag, scalar(text, style)),
            Event::SequenceStart(anchor, tag) => (anchor, tag, self.list(depth)?),
            Event::MappingStart(anchor, tag) => (anchor, tag, self.table(depth)?),
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            // The parser puts nothing else where a value stands.
            _ => return Err((at, "expected a value".to_owned())),
        };
        if tag.is_some() {
            self.refuse(at, TAG);
        }
        let node = Node { at, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: usize, depth: usize) -> Result<Node, Broken> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err((at, "an alias inside what it stands for never ends".to_owned()));
        };
        // Where it is written, so that a problem is placed where its key is; what is in it is placed where it is.
        let node = Node { at, ..node.clone() };
        if depth + height(&node) > DEEPEST {
            return Err((at, DEEP.to_owned()));
        }
        self.values += size(&node);
        if self.values > MOST { Err((at, HUGE.to_owned())) } else { Ok(node) }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(list)),
                (event, span) => list.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let at = self.byte(span.start.index());
            let key = match event {
                Event::MappingEnd => return Ok(Value::Table(entries)),
                Event::Scalar(key, style, _, _) => {
                    if key == "<<" && style == ScalarStyle::Plain {
                        self.refuse(at, MERGE);
                    }
                    key.into_owned()
                }
                _ => return Err((at, "a key has to be a string".to_owned())),
            };
            if entries.iter().any(|entry| entry.key == key) {
                self.refuse(at, "duplicate key");
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            // What is not written has no place of its own.
            let node = if matches!(node.value, Value::Nothing) && span.is_empty() { Node { at, ..node } } else { node };
            entries.push(Entry { key, at, node });
        }
    }
}

/// An error of syntax as a person would say it, where that person would look; the parser has its own words for the common
/// ones, and tells some of them where it noticed.
fn explained(text: &str, at: usize, info: &str) -> Broken {
    let said = [
        ("tab", "a tab, where YAML is indented with spaces"),
        ("simple key expect ':'", "expected `key: value`; the `:` is missing"),
        ("did not find expected key", "expected a key, indented as those before it"),
        ("did not find expected '-' indicator", "expected `-`, indented as those before it"),
        ("invalid indentation in quoted scalar", "a string in quotes does not end"),
        ("quoted scalar, found unexpected end", "a string in quotes does not end"),
        ("unknown anchor", "there is no anchor of this name before"),
        ("did not find expected ',' or '}'", "expected `,` or `}`; a value with one of `{},` in it stands in quotes"),
        ("expected ',' or ']'", "expected `,` or `]`"),
        ("unexpected character", "no value begins with this character; put it in quotes"),
        ("mapping values are not allowed", "a second `:` in one line; put the value in quotes"),
    ];
    let found = said.iter().find(|(part, _)| info.contains(part));
    let at = match found {
        Some(("tab", _)) => {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            text[line..].find('\t').map_or(at, |tab| line + tab)
        }
        Some((part, _)) if part.starts_with("simple key") => last_line(&text[..at]),
        _ => at,
    };
    (at, found.map_or(info, |(_, said)| said).to_owned())
}

/// Where what is written in the last line that is not empty begins.
fn last_line(text: &str) -> usize {
    let text = text.trim_end();
    let line = text.rfind('\n').map_or(0, |end| end + 1);
    line + text[line..].find(|c: char| !c.is_whitespace()).unwrap_or_default()
}

/// How many levels a value has below its own.
fn height(node: &Node) -> usize {
    let below = match &node.value {
        Value::List(list) => list.iter().map(height).max(),
        Value::Table(entries) => entries.iter().map(|entry| height(&entry.node)).max(),
        _ => None,
    };
    below.map_or(0, |below| below + 1)
}

/// How many values a value is, its own included.
fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(list) => list.iter().map(size).sum(),
        Value::Table(entries) => entries.iter().map(|entry| size(&entry.node)).sum(),
        _ => 0,
    }
}

/// The value that the core schema reads.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.into_owned());
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Nothing,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        ".nan" | ".NaN" | ".NAN" => Value::Real(f64::NAN),
        number => self::number(number).unwrap_or_else(|| Value::Text(text.into_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    let whole = |digits: &str, radix| {
        Some(i64::from_str_radix(digits, radix).map_or(Value::Other("a number that is too large"), Value::Whole))
    };
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| all(digits, radix)) {
            return whole(digits, radix);
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if all(unsigned, 10) {
        return whole(text, 10);
    }
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            Some(Value::Real(if text.starts_with('-') { -f64::INFINITY } else { f64::INFINITY }))
        }
        // What Rust reads beside it, such as `inf` and `nan`, begins with a letter.
        _ if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok().map(Value::Real),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tree as one line.
    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Text(text) => format!("{text:?}"),
            Value::Whole(number) => number.to_string(),
            Value::Real(number) => format!("{number:?}"),
            Value::Flag(flag) => flag.to_string(),
            Value::Nothing => "<nothing>".to_owned(),
            Value::Other(what) => format!("<{what}>"),
            Value::List(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Value::Table(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| format!("{}: {}", entry.key, shown(&entry.node))).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(node) => shown(&node),
            Err(problems) => {
                problems.iter().map(|(at, message)| format!("{at}: {message}")).collect::<Vec<_>>().join("\n")
            }
        }
    }

    #[test]
    fn scalars_are_those_of_the_core_schema_and_of_no_other() {
        for (text, value) in [
            ("yes", "\"yes\""),
            ("No", "\"No\""),
            ("on", "\"on\""),
            ("y", "\"y\""),
            ("True", "true"),
            ("tRue", "\"tRue\""),
            ("0755", "755"),
            ("0o755", "493"),
            ("0xFF", "255"),
            ("0o8", "\"0o8\""),
            ("1_000", "\"1_000\""),
            ("12:30:00", "\"12:30:00\""),
            ("2026-11-20", "\"2026-11-20\""),
            ("-7", "-7"),
            ("+7", "7"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("1.", "1.0"),
            ("-.inf", "-inf"),
            (".nan", "NaN"),
            ("inf", "\"inf\""),
            ("nan", "\"nan\""),
            (".", "\".\""),
            ("99999999999999999999", "<a number that is too large>"),
            ("~", "<nothing>"),
            ("'true'", "\"true\""),
            ("\"5\"", "\"5\""),
            ("|\n  a\n  b\n", "\"a\\nb\\n\""),
            ("${A:-http://localhost:8002}", "\"${A:-http://localhost:8002}\""),
        ] {
            assert_eq!(read(&format!("k: {text}")), format!("{{k: {value}}}"), "{text}");
        }
    }

    #[test]
    fn what_says_nothing_is_an_empty_table() {
        for text in ["", "# nothing\n", "---\n", "---\n...\n", "~\n", "\u{feff}"] {
            assert_eq!(read(text), "{}", "{text:?}");
        }
    }

    #[test]
    fn places_are_bytes_whatever_stands_before_them() {
        for text in ["ü: {a: 1, b: [x, y]}\nk: v\n", "ü:\r\n  b:\r\n  - x\r\n  - y\r\nk: v\r\n"] {
            let Ok(Node { value: Value::Table(entries), .. }) = parse(text) else {
                panic!("{}", read(text));
            };
            let last = &entries[1];
            assert_eq!((&text[last.at..=last.at], &text[last.node.at..=last.node.at]), ("k", "v"), "{text:?}");
        }
    }

    #[test]
    fn what_was_left_out_is_placed_at_its_key() {
        let Ok(Node { value: Value::Table(entries), .. }) = parse("a: 1\nb:\nc: 2\n") else {
            panic!("it is YAML");
        };
        assert_eq!((entries[1].at, entries[1].node.at), (5, 5));
    }

    #[test]
    fn an_alias_stands_for_what_its_anchor_holds() {
        assert_eq!(read("a: &x {b: 1}\nc: *x\n"), "{a: {b: 1}, c: {b: 1}}");
        assert_eq!(read("a: &x [*x]\n"), "7: an alias inside what it stands for never ends");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_where_it_stands() {
        assert_eq!(read("a: 1\nb: 2\na: 3\nb: 4\n"), "10: duplicate key\n15: duplicate key");
        assert_eq!(read("a: &x {}\nb:\n  <<: *x\n"), format!("14: {MERGE}"));
        assert_eq!(read("a: !!str 5\n"), format!("3: {TAG}"));
        assert_eq!(read("a: 1\n---\na: 2\n"), "5: a second document is not read; remove what follows");
        assert_eq!(read("? [a]\n: 1\n"), "2: a key has to be a string");
    }

    #[test]
    fn an_error_of_syntax_is_said_where_a_person_would_look_for_it() {
        for (text, said) in [
            ("a:\n  b: 1\n\n\tc: 2\n", "11: a tab, where YAML is indented with spaces"),
            ("a:\n\tb: 1\n", "3: a tab, where YAML is indented with spaces"),
            ("a: 1\nb 2\n\nc: 3\n", "5: expected `key: value`; the `:` is missing"),
            ("a:\n  b: 1\n c: 2\n", "11: expected a key, indented as those before it"),
            ("a: \"b\nc: 1\n", "3: a string in quotes does not end"),
            ("a: 'b", "3: a string in quotes does not end"),
            ("a: *x\n", "3: there is no anchor of this name before"),
            ("a: b: c\n", "4: a second `:` in one line; put the value in quotes"),
            ("a: {b: ${C:-d}}\n", "8: expected `,` or `}`; a value with one of `{},` in it stands in quotes"),
            ("a: [b\n", "6: expected `,` or `]`"),
            ("a: @b\n", "3: no value begins with this character; put it in quotes"),
            ("a: %b\n", "3: no value begins with this character; put it in quotes"),
        ] {
            assert_eq!(read(text), said, "{text:?}");
        }
    }

    #[test]
    fn no_message_says_what_is_written() {
        for text in [
            "token: \"hunter2",
            "token: hunter2: hunter2",
            "token: @hunter2",
            "token: !hunter2 hunter2",
            "token: *hunter2",
            "token: |hunter2\n",
            "token: \"\\hunter2\"",
            "token: %hunter2\n%hunter2",
            "hunter2\ntoken: 1",
            "token: [hunter2}",
            "token: hunter2\n\thunter2: 1",
        ] {
            let Err(problems) = parse(text) else { panic!("{text:?} is {}", read(text)) };
            assert!(problems.iter().all(|(_, message)| !message.contains("hunter2")), "{}", read(text));
        }
    }

    #[test]
    fn neither_depth_nor_aliases_exhaust_the_machine() {
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert!(read(&deep).ends_with(DEEP), "{}", read(&deep));
        let level = |n: usize| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(", "));
        let laughs = (1..10).fold("l0: &l0 x\n".to_owned(), |text, n| text + &level(n));
        assert!(read(&laughs).ends_with(HUGE), "{}", read(&laughs));
        let stairs = format!("a: &a {0}x{1}\nb: {0}*a{1}\n", "[".repeat(40), "]".repeat(40));
        assert!(read(&stairs).ends_with(DEEP), "{}", read(&stairs));
    }

    proptest! {
        #[test]
        fn nothing_that_can_be_written_panics(text in "[-a:{}\\[\\]&*!|>'\"#%?,~<\t \nü0.]{0,40}") {
            if let Err(problems) = parse(&text) {
                prop_assert!(problems.iter().all(|(at, message)| *at <= text.len() && !message.is_empty()));
            }
        }
    }
}
