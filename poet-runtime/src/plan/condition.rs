//! Whether a step is to run, decided from what is known when its turn comes.
//!
//! Small on purpose: a condition exists, equals or compares, and always has an answer. What is not there equals
//! nothing and compares with nothing, so that a step whose condition looks at a skipped step is skipped too. Only a
//! value that was put off leaves a condition undecided; then the step fails instead of being silently left out.

use super::reference::{Absence, Names, Scope, Template, Unresolved};
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Whether a step is to run.
///
/// # Examples
///
/// ```
/// use poet_runtime::plan::{Comparison, Condition};
///
/// let written: Condition = "$count.value > 1000".parse()?;
/// assert_eq!(written, Condition::compares("$count.value", Comparison::Above, 1000));
/// assert_eq!("not exists $customer.id".parse::<Condition>()?.to_string(), "not exists $customer.id");
/// # Ok::<(), poet_runtime::plan::InvalidCondition>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Exists(Value),
    Compares(Value, Comparison, Value),
    Not(Box<Kind>),
    All(Vec<Kind>),
    Any(Vec<Kind>),
}

/// How two values are compared. Numbers are compared as numbers and texts letter by letter; a number is neither above
/// nor below a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

/// Longest first, because the first that fits is taken.
const WRITTEN: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

impl Comparison {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = order(left, right);
        match self {
            Self::Equal => order.map_or(left == right, Ordering::is_eq),
            Self::NotEqual => !order.map_or(left == right, Ordering::is_eq),
            Self::Above => order.is_some_and(Ordering::is_gt),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
            Self::Below => order.is_some_and(Ordering::is_lt),
            Self::AtMost => order.is_some_and(Ordering::is_le),
        }
    }
}

/// Numbers through integers where both are, because two ids of 64 bits may be one double.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let integer = |n: &serde_json::Number| n.as_i64().map(i128::from).or(n.as_u64().map(i128::from));
            match (integer(left), integer(right)) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
            }
        }
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

impl Condition {
    /// Holds if the reference resolves to something else than `null`.
    pub fn exists(reference: impl Into<String>) -> Self {
        Self(Kind::Exists(Value::String(reference.into())))
    }

    /// Holds if both are there and equal. Texts may hold references.
    pub fn equals(left: impl Into<Value>, right: impl Into<Value>) -> Self {
        Self::compares(left, Comparison::Equal, right)
    }

    /// Holds if both are there and compare so. Texts may hold references.
    pub fn compares(left: impl Into<Value>, comparison: Comparison, right: impl Into<Value>) -> Self {
        Self(Kind::Compares(left.into(), comparison, right.into()))
    }

    /// Holds if this and the other do.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(Kind::All(vec![self.0, other.0]))
    }

    /// Holds if this or the other does.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Kind::Any(vec![self.0, other.0]))
    }

    /// Holds if this does not.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "`.and(…)`, `.or(…)` and `.not()` read alike")]
    pub fn not(self) -> Self {
        Self(Kind::Not(Box::new(self.0)))
    }

    /// Reads `$a.b > 1000`, `$a.name == "x"`, `exists $a.b`, each with or without `not` before it.
    ///
    /// # Errors
    ///
    /// If it is none of them.
    pub fn parse(written: &str) -> Result<Self, InvalidCondition> {
        written.parse()
    }

    pub(super) fn read<'p>(&'p self, names: &dyn Names<'p>, wrong: &mut dyn FnMut(String)) -> Meant<'p> {
        read(&self.0, names, wrong)
    }
}

/// What is no [`Condition`], and what one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCondition(String);

impl fmt::Display for InvalidCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(written) = self;
        write!(
            f,
            "`{written}` is no condition; write `$step.field > 10`, `$step.field == \"text\"` or `exists $step.field`"
        )
    }
}

impl std::error::Error for InvalidCondition {}

impl FromStr for Condition {
    type Err = InvalidCondition;

    fn from_str(written: &str) -> Result<Self, InvalidCondition> {
        parse(written.trim()).map(Self).ok_or_else(|| InvalidCondition(written.to_owned()))
    }
}

fn parse(written: &str) -> Option<Kind> {
    if let Some(rest) = written.strip_prefix("not ") {
        return parse(rest.trim_start()).map(|kind| Kind::Not(Box::new(kind)));
    }
    if let Some(rest) = written.strip_prefix("exists ") {
        return operand(rest).filter(is_reference).map(Kind::Exists);
    }
    let (at, sign, comparison) = (0..written.len()).filter(|&at| written.is_char_boundary(at)).find_map(|at| {
        let quoted = written[..at].matches('"').count() % 2 == 1;
        let (sign, comparison) = WRITTEN.iter().find(|(sign, _)| written[at..].starts_with(sign))?;
        (!quoted).then_some((at, sign, *comparison))
    })?;
    let (left, right) = (operand(&written[..at])?, operand(&written[at + sign.len()..])?);
    Some(Kind::Compares(left, comparison, right))
}

fn is_reference(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with('$'))
}

/// A reference, or a value as JSON writes it.
fn operand(written: &str) -> Option<Value> {
    let written = written.trim();
    if written.starts_with('$') {
        let word = !written.contains(|c: char| c.is_whitespace() || "=<>!\"".contains(c));
        return word.then(|| Value::String(written.to_owned()));
    }
    serde_json::from_str(written).ok()
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Self::All(_) | Self::Any(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Exists(reference) => write!(f, "exists {}", Shown(reference)),
            Self::Compares(left, comparison, right) => {
                write!(f, "{} {} {}", Shown(left), comparison.as_str(), Shown(right))
            }
            Self::Not(kind) => match **kind {
                Self::All(_) | Self::Any(_) => write!(f, "not ({kind})"),
                _ => write!(f, "not {kind}"),
            },
            Self::All(parts) => joined(f, parts, "and"),
            Self::Any(parts) => joined(f, parts, "or"),
        }
    }
}

struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) if text.starts_with('$') => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}

/// A condition whose references are known to mean something.
#[derive(Clone, Debug)]
pub(super) enum Meant<'p> {
    Exists(Template<'p>),
    Compares(Template<'p>, Comparison, Template<'p>),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

fn read<'p>(kind: &'p Kind, names: &dyn Names<'p>, wrong: &mut dyn FnMut(String)) -> Meant<'p> {
    match kind {
        Kind::Exists(reference) => Meant::Exists(Template::read(reference, names, wrong)),
        Kind::Compares(left, comparison, right) => {
            let left = Template::read(left, names, wrong);
            Meant::Compares(left, *comparison, Template::read(right, names, wrong))
        }
        Kind::Not(kind) => Meant::Not(Box::new(read(kind, names, wrong))),
        Kind::All(kinds) => Meant::All(kinds.iter().map(|kind| read(kind, names, wrong)).collect()),
        Kind::Any(kinds) => Meant::Any(kinds.iter().map(|kind| read(kind, names, wrong)).collect()),
    }
}

impl<'p> Meant<'p> {
    pub(super) fn each_template(&self, f: &mut dyn FnMut(&Template<'p>)) {
        match self {
            Self::Exists(template) => f(template),
            Self::Compares(left, _, right) => {
                f(left);
                f(right);
            }
            Self::Not(meant) => meant.each_template(f),
            Self::All(all) | Self::Any(all) => all.iter().for_each(|meant| meant.each_template(f)),
        }
    }

    /// Whether it holds; an error only where a value was put off and may yet come.
    pub(super) fn holds(&self, scope: &dyn Scope) -> Result<bool, Unresolved> {
        match self {
            Self::Exists(template) => Ok(known(template, scope)?.is_some_and(|value| !value.is_null())),
            Self::Compares(left, comparison, right) => {
                let (left, right) = (known(left, scope)?, known(right, scope)?);
                Ok(left.zip(right).is_some_and(|(left, right)| comparison.holds(&left, &right)))
            }
            Self::Not(meant) => meant.holds(scope).map(|holds| !holds),
            Self::All(all) => all.iter().try_fold(true, |so_far, meant| Ok(so_far && meant.holds(scope)?)),
            Self::Any(all) => all.iter().try_fold(false, |so_far, meant| Ok(so_far || meant.holds(scope)?)),
        }
    }
}

fn known(template: &Template<'_>, scope: &dyn Scope) -> Result<Option<Value>, Unresolved> {
    match template.fill(scope) {
        Ok(value) => Ok(Some(value)),
        Err(unresolved) if matches!(unresolved.why, Absence::Never(_)) => Ok(None),
        Err(unresolved) => Err(unresolved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::reference::Root;
    use serde_json::json;

    struct World(Result<Value, Absence>);

    impl<'p> Names<'p> for World {
        fn find(&self, _: &str) -> Result<Root<'p>, String> {
            Ok(Root::Step(0))
        }
    }

    impl Scope for World {
        fn answer(&self, _: usize) -> Result<&Value, Absence> {
            self.0.as_ref().map_err(Clone::clone)
        }
    }

    fn holds(condition: &str, answer: &Result<Value, Absence>) -> Result<bool, Unresolved> {
        let condition = Condition::parse(condition).unwrap();
        let world = World(answer.clone());
        condition.read(&world, &mut |problem| panic!("{problem}")).holds(&world)
    }

    #[test]
    fn numbers_compare_as_numbers_and_texts_as_texts() {
        let answer = Ok(json!({ "n": 1000, "text": "b", "big": 9_007_199_254_740_993_u64, "yes": true, "none": null }));
        for (condition, expected) in [
            ("$a.n >= 1000", true),
            ("$a.n > 1000.5", false),
            ("$a.n == 1000.0", true),
            ("$a.text > \"a\"", true),
            ("$a.text != \"a > b\"", true),
            ("$a.big == 9007199254740992", false),
            ("$a.yes == true", true),
            ("$a.n < \"x\"", false),
            ("$a.n > \"x\"", false),
            ("1000 <= $a.n", true),
            ("exists $a.none", false),
            ("$a.none == null", true),
            ("not $a.n == 1", true),
        ] {
            assert_eq!(holds(condition, &answer), Ok(expected), "{condition}");
        }
    }

    #[test]
    fn what_is_not_there_equals_nothing_and_exists_not() {
        let skipped = Err(Absence::Never("it was skipped".to_owned()));
        for condition in ["$a.n == 1", "$a.n != 1", "$a.n < 1", "exists $a.n"] {
            assert_eq!(holds(condition, &skipped), Ok(false), "{condition}");
        }
        assert_eq!(holds("not exists $a", &skipped), Ok(true));
    }

    #[test]
    fn what_was_put_off_leaves_a_condition_undecided() {
        let pending = Err(Absence::Pending("it was put off".to_owned()));
        for condition in ["$a.n == 1", "exists $a", "not exists $a"] {
            assert!(holds(condition, &pending).is_err(), "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_says_what_one_is() {
        for wrong in ["", "$a", "$a >", "> 1", "exists a", "$a == b", "$a = 1", "$a b == 1", "exists $a == 1"] {
            assert!(Condition::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_condition_is_shown_as_it_is_written() {
        for written in ["$a.n > 1000", "not exists $a", "$a == \"x\""] {
            assert_eq!(Condition::parse(written).unwrap().to_string(), written);
        }
        let joined = Condition::exists("$a").or(Condition::exists("$b")).and(Condition::equals("$c", 1).not());
        assert_eq!(joined.to_string(), "(exists $a or exists $b) and not $c == 1");
    }
}
