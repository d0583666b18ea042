//! What the value of one key means.
//!
//! Each function reads one kind of value and says, of one that is none, what to write instead; where that is said is up
//! to `args`.

use crate::duration;
use crate::suggest::closest;
use std::time::Duration;
use syn::{Expr, ExprPath, Lit, LitStr, UnOp};

/// `domain = …`.
pub(crate) enum Domain {
    /// One that ships with poet.
    Known(LitStr),
    /// A profile of the user's.
    Path(ExprPath),
}

/// `priority = …`.
pub(crate) enum Priority {
    /// A variant of `Priority`, known when compiling.
    Fixed(&'static str),
    /// An expression over the arguments.
    Expr(Expr),
}

/// `cache`, and `cache = …`.
#[derive(Clone, Copy)]
pub(crate) enum Kept {
    /// For as long as is learned.
    Learned,
    /// For as long as the author says.
    Fixed(Duration),
}

/// The domains that ship with poet: the words of `domain = "…"`.
const DOMAINS: [&str; 2] = ["http_api", "mcp_integration"];

/// The words of `learning = "…"`, with the variant each means.
const LEARNING: [(&str, &str); 4] = [("on", "On"), ("review", "Review"), ("shadow", "Shadow"), ("off", "Off")];

/// The words of `priority = "…"`, with the variant each means.
const PRIORITIES: [(&str, &str); 4] =
    [("low", "Low"), ("normal", "Normal"), ("high", "High"), ("critical", "Critical")];

/// The most `retries` that can be written.
const MOST_RETRIES: u8 = 10;

/// Takes off the invisible parentheses around what a `macro_rules!` macro passed on.
pub(crate) fn bare(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => bare(*group.expr),
        other => other,
    }
}

pub(crate) fn literal(expr: &Expr) -> Option<&Lit> {
    match expr {
        Expr::Lit(literal) => Some(&literal.lit),
        _ => None,
    }
}

fn string(expr: &Expr, example: &str) -> Result<LitStr, String> {
    match literal(expr) {
        Some(Lit::Str(text)) => Ok(text.clone()),
        _ => Err(format!("expected a string, as in `{example}`")),
    }
}

/// Looks a word up in a table of words and what they mean.
fn word(text: &LitStr, words: &[(&str, &'static str)]) -> Result<&'static str, String> {
    let found = text.value();
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == found) {
        return Ok(meaning);
    }
    let names = || words.iter().map(|(word, _)| *word);
    let allowed = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Err(match closest(&found, names()) {
        Some(meant) if words.len() > 1 => {
            format!("`{found}` is not known here; did you mean `{meant}`? The words are {allowed}")
        }
        _ => format!("`{found}` is not known here; write {allowed}"),
    })
}

pub(crate) fn domain(expr: &Expr, example: &str) -> Result<Domain, String> {
    if let Expr::Path(path) = expr {
        return Ok(Domain::Path(path.clone()));
    }
    let name = string(expr, example).map_err(|form| format!("{form}, or the path of a profile"))?;
    let found = name.value();
    if DOMAINS.contains(&found.as_str()) {
        return Ok(Domain::Known(name));
    }
    let own = "for a profile of your own write its path: `domain = my_crate::MY_PROFILE`";
    Err(match closest(&found, DOMAINS) {
        Some(meant) => format!("there is no domain `{found}`; did you mean `{meant}`?"),
        None => format!("there is no domain `{found}`; the domains are {}; {own}", DOMAINS.join(", ")),
    })
}

pub(crate) fn learning(expr: &Expr, example: &str) -> Result<&'static str, String> {
    let text = string(expr, example)?;
    word(&text, &LEARNING)
}

pub(crate) fn label(expr: &Expr, example: &str) -> Result<LitStr, String> {
    let text = string(expr, example)?;
    if text.value().trim().is_empty() {
        return Err(format!("an empty name cannot be learned under; write it as in `{example}`"));
    }
    Ok(text)
}

pub(crate) fn priority(expr: &Expr, _: &str) -> Result<Priority, String> {
    match literal(expr) {
        Some(Lit::Str(text)) => word(text, &PRIORITIES).map(Priority::Fixed),
        Some(_) => Err("expected a string such as \"high\", or an expression that yields a `Priority`".to_owned()),
        None => Ok(Priority::Expr(expr.clone())),
    }
}

pub(crate) fn retries(expr: &Expr, example: &str) -> Result<u8, String> {
    let range = format!("expected a whole number from 0 to {MOST_RETRIES}, as in `{example}`");
    match literal(expr) {
        Some(Lit::Int(number)) if number.suffix().is_empty() => {
            number.base10_parse().ok().filter(|number| *number <= MOST_RETRIES).ok_or(range)
        }
        _ => Err(range),
    }
}

pub(crate) fn time(expr: &Expr, example: &str) -> Result<Duration, String> {
    match length(expr, example)? {
        Duration::ZERO => Err("no call can be answered in no time; write how long it may take".to_owned()),
        duration => Ok(duration),
    }
}

pub(crate) fn kept(expr: &Expr, example: &str) -> Result<Kept, String> {
    if let Some(Lit::Bool(flag)) = literal(expr) {
        let instead = if flag.value { "write `cache` alone" } else { "remove `cache`" };
        return Err(format!("{instead}, or write how long an answer is kept, as in `{example}`"));
    }
    match length(expr, example)? {
        Duration::ZERO => Err("what is kept for no time is never found; write how long, or remove `cache`".to_owned()),
        duration => Ok(Kept::Fixed(duration)),
    }
}

fn length(expr: &Expr, example: &str) -> Result<Duration, String> {
    match literal(expr) {
        Some(Lit::Str(text)) => duration::parse(&text.value()),
        _ => Err(format!("expected a length of time in quotes, as in `{example}`")),
    }
}

pub(crate) fn path(expr: &Expr, example: &str) -> Result<ExprPath, String> {
    match expr {
        Expr::Path(path) => Ok(path.clone()),
        Expr::Closure(_) => Err(format!("expected the path of a function, as in `{example}`; give the closure a name")),
        _ => Err(format!("expected a path without quotes, as in `{example}`")),
    }
}

pub(crate) fn cost(expr: &Expr, example: &str) -> Result<f64, String> {
    if let Expr::Unary(unary) = expr
        && matches!(unary.op, UnOp::Neg(_))
    {
        return Err("a call cannot cost less than nothing".to_owned());
    }
    let number = match literal(expr) {
        Some(Lit::Int(number)) => number.base10_parse::<f64>().ok().filter(|_| number.suffix().is_empty()),
        Some(Lit::Float(number)) => number.base10_parse::<f64>().ok().filter(|_| matches!(number.suffix(), "" | "f64")),
        _ => None,
    };
    match number {
        Some(number) if number.is_finite() => Ok(number),
        Some(_) => Err("the cost of a call must be finite".to_owned()),
        None => Err(format!("expected a number, as in `{example}`")),
    }
}

pub(crate) fn enforce(expr: &Expr, example: &str) -> Result<(), String> {
    word(&string(expr, example)?, &[("required", "")]).map(|_| ())
}
