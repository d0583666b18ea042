//! What was written between the parentheses of `#[poet(...)]`, every value with its key, so that later errors can
//! point at either.
//!
//! One table owns the keys. Reading goes on after a mistake: the next key is found behind the next comma.

use crate::duration;
use crate::errors::Errors;
use crate::suggest::closest;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use std::time::Duration;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Expr, ExprPath, Lit, LitStr, Token, UnOp};

/// Every key, with an example of its use.
const KEYS: [(&str, &str); 15] = [
    ("domain", "domain = \"mcp_integration\""),
    ("learning", "learning = \"on\""),
    ("service", "service = \"salesforce_crm\""),
    ("operation", "operation = \"update_contact\""),
    ("priority", "priority = \"high\""),
    ("idempotent", "idempotent"),
    ("retries", "retries = 2"),
    ("timeout", "timeout = \"2s\""),
    ("deadline", "deadline = \"30s\""),
    ("fallback", "fallback = path::to::function"),
    ("validate", "validate = path::to::function"),
    ("failure", "failure = path::to::function"),
    ("cost", "cost = 0.02"),
    ("enforce", "enforce = \"required\""),
    ("crate", "crate = path::to::poet"),
];

/// Keys that are known and whose runtime part does not exist yet.
const NOT_BUILT: [&str; 4] = ["cache", "key", "batch", "deferrable"];

/// Words of other libraries for what one of our keys does.
const SYNONYMS: [(&str, &str); 9] = [
    ("retry", "retries"),
    ("attempts", "retries"),
    ("max_retries", "retries"),
    ("name", "operation"),
    ("tool", "operation"),
    ("classify", "failure"),
    ("repeatable", "idempotent"),
    ("pure", "idempotent"),
    ("profile", "domain"),
];

/// The domains that ship with poet: the words of `domain = "…"`.
const DOMAINS: [&str; 1] = ["mcp_integration"];

/// The words of `learning = "…"`, with the variant each means.
const LEARNING: [(&str, &str); 3] = [("on", "On"), ("shadow", "Shadow"), ("off", "Off")];

/// The words of `priority = "…"`, with the variant each means.
const PRIORITIES: [(&str, &str); 4] =
    [("low", "Low"), ("normal", "Normal"), ("high", "High"), ("critical", "Critical")];

/// The most `retries` that can be written.
const MOST_RETRIES: u8 = 10;

/// A value and the key it was written for.
pub(crate) struct Written<T> {
    /// The key.
    pub(crate) key: Ident,
    /// What it means.
    pub(crate) value: T,
    /// The tokens of the value; of the key, for a flag.
    pub(crate) tokens: TokenStream,
}

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

/// The keys that were written, as they were written.
#[derive(Default)]
pub(crate) struct PoetArgs {
    pub(crate) domain: Option<Written<Domain>>,
    pub(crate) learning: Option<Written<&'static str>>,
    pub(crate) service: Option<Written<LitStr>>,
    pub(crate) operation: Option<Written<LitStr>>,
    pub(crate) priority: Option<Written<Priority>>,
    pub(crate) idempotent: Option<Written<bool>>,
    pub(crate) retries: Option<Written<u8>>,
    pub(crate) timeout: Option<Written<Duration>>,
    pub(crate) deadline: Option<Written<Duration>>,
    pub(crate) fallback: Option<Written<ExprPath>>,
    pub(crate) validate: Option<Written<ExprPath>>,
    pub(crate) failure: Option<Written<ExprPath>>,
    pub(crate) cost: Option<Written<f64>>,
    pub(crate) enforce: Option<Written<()>>,
    pub(crate) krate: Option<Written<ExprPath>>,
}

/// What follows a key.
enum Value {
    Nothing,
    Is(Expr),
}

impl PoetArgs {
    /// Reads the attribute's tokens, noting everything that is wrong with them.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let items = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Err(error) = args.item(input, &mut seen, errors) {
                    errors.add(error);
                    skip_to_comma(input)?;
                } else if !input.is_empty() && !input.peek(Token![,]) {
                    let stray: TokenTree = input.fork().parse()?;
                    errors.push(stray, "expected `,` and the next key");
                    skip_to_comma(input)?;
                }
                input.parse::<Option<Token![,]>>()?;
            }
            Ok(())
        };
        if let Err(error) = items.parse2(tokens) {
            errors.add(error);
        }
        args
    }

    fn item(&mut self, input: ParseStream<'_>, seen: &mut Vec<String>, errors: &mut Errors) -> syn::Result<()> {
        if !input.peek(Ident::peek_any) {
            let stray: TokenTree = input.parse()?;
            return Err(syn::Error::new_spanned(stray, "expected a key, as in `domain = \"mcp_integration\"`"));
        }
        let key = input.call(Ident::parse_any)?;
        let name = key.unraw().to_string();
        let Some(&(_, example)) = KEYS.iter().find(|(known, _)| *known == name) else {
            skip_to_comma(input)?;
            errors.push(&key, unknown_key(&name));
            return Ok(());
        };
        if seen.contains(&name) {
            skip_to_comma(input)?;
            errors.push(&key, format!("`{name}` is written twice; keep one of them"));
            return Ok(());
        }
        seen.push(name.clone());
        let value = value(input, &key, example)?;
        match name.as_str() {
            "domain" => self.domain = read(key, value, example, errors, domain),
            "learning" => self.learning = read(key, value, example, errors, learning),
            "service" => self.service = read(key, value, example, errors, label),
            "operation" => self.operation = read(key, value, example, errors, label),
            "priority" => self.priority = read(key, value, example, errors, priority),
            "idempotent" => self.idempotent = flag(key, value, errors),
            "retries" => self.retries = read(key, value, example, errors, retries),
            "timeout" => self.timeout = read(key, value, example, errors, time),
            "deadline" => self.deadline = read(key, value, example, errors, time),
            "fallback" => self.fallback = read(key, value, example, errors, path),
            "validate" => self.validate = read(key, value, example, errors, path),
            "failure" => self.failure = read(key, value, example, errors, path),
            "cost" => self.cost = read(key, value, example, errors, cost),
            "enforce" => self.enforce = read(key, value, example, errors, enforce),
            _ => self.krate = read(key, value, example, errors, path),
        }
        Ok(())
    }
}

/// Reads what follows a key.
fn value(input: ParseStream<'_>, key: &Ident, example: &str) -> syn::Result<Value> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Value::Nothing);
    }
    let Ok(equals) = input.parse::<Token![=]>() else {
        let expected = if input.peek(Ident::peek_any) { "`,` before the next key" } else { "`=` before the value" };
        let stray: TokenTree = input.fork().parse()?;
        return Err(syn::Error::new_spanned(stray, format!("expected {expected}")));
    };
    if input.is_empty() || input.peek(Token![,]) {
        return Err(syn::Error::new_spanned(equals, format!("`{key}` has no value; write `{example}`")));
    }
    input.parse::<Expr>().map(Value::Is)
}

/// Passes over a value nobody can read.
fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn unknown_key(name: &str) -> String {
    if NOT_BUILT.contains(&name) {
        return format!("`{name}` is not built yet; remove it");
    }
    let synonym = SYNONYMS.iter().find(|(word, _)| *word == name).map(|(_, key)| *key);
    match synonym.or_else(|| closest(name, keys())) {
        Some(meant) => format!("there is no key `{name}`; did you mean `{meant}`?"),
        None => format!("there is no key `{name}`; the keys are {}", keys().collect::<Vec<_>>().join(", ")),
    }
}

/// The keys that can be used.
fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// Reads the value of a key that must have one.
fn read<T>(
    key: Ident,
    value: Value,
    example: &str,
    errors: &mut Errors,
    meaning: impl FnOnce(&Expr, &str) -> Result<T, String>,
) -> Option<Written<T>> {
    let Value::Is(expr) = value else {
        errors.push(&key, format!("`{key}` has no value; write `{example}`"));
        return None;
    };
    let expr = bare(expr);
    let tokens = expr.to_token_stream();
    match meaning(&expr, example) {
        Ok(value) => Some(Written { key, value, tokens }),
        Err(message) => {
            errors.push(tokens, message);
            None
        }
    }
}

/// Reads `idempotent`, alone or with `= true` or `= false`.
fn flag(key: Ident, value: Value, errors: &mut Errors) -> Option<Written<bool>> {
    let Value::Is(expr) = value else {
        let tokens = key.to_token_stream();
        return Some(Written { key, value: true, tokens });
    };
    let expr = bare(expr);
    let tokens = expr.to_token_stream();
    match literal(&expr) {
        Some(Lit::Bool(value)) => Some(Written { key, value: value.value, tokens }),
        _ => {
            errors.push(tokens, format!("write `{key}` alone, or `{key} = true` or `{key} = false`"));
            None
        }
    }
}

/// Takes off the invisible parentheses around what a `macro_rules!` macro passed on.
fn bare(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => bare(*group.expr),
        other => other,
    }
}

fn literal(expr: &Expr) -> Option<&Lit> {
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

fn domain(expr: &Expr, example: &str) -> Result<Domain, String> {
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

fn learning(expr: &Expr, example: &str) -> Result<&'static str, String> {
    let text = string(expr, example)?;
    if text.value() == "review" {
        return Err("`review` is not built yet; `shadow` learns and reports without applying anything".to_owned());
    }
    word(&text, &LEARNING)
}

fn label(expr: &Expr, example: &str) -> Result<LitStr, String> {
    let text = string(expr, example)?;
    if text.value().trim().is_empty() {
        return Err(format!("an empty name cannot be learned under; write it as in `{example}`"));
    }
    Ok(text)
}

fn priority(expr: &Expr, _: &str) -> Result<Priority, String> {
    match literal(expr) {
        Some(Lit::Str(text)) => word(text, &PRIORITIES).map(Priority::Fixed),
        Some(_) => Err("expected a string such as \"high\", or an expression that yields a `Priority`".to_owned()),
        None => Ok(Priority::Expr(expr.clone())),
    }
}

fn retries(expr: &Expr, example: &str) -> Result<u8, String> {
    let range = format!("expected a whole number from 0 to {MOST_RETRIES}, as in `{example}`");
    match literal(expr) {
        Some(Lit::Int(number)) if number.suffix().is_empty() => {
            number.base10_parse().ok().filter(|number| *number <= MOST_RETRIES).ok_or(range)
        }
        _ => Err(range),
    }
}

fn time(expr: &Expr, example: &str) -> Result<Duration, String> {
    let Some(Lit::Str(text)) = literal(expr) else {
        return Err(format!("expected a length of time in quotes, as in `{example}`"));
    };
    match duration::parse(&text.value())? {
        Duration::ZERO => Err("no call can be answered in no time; write how long it may take".to_owned()),
        duration => Ok(duration),
    }
}

fn path(expr: &Expr, example: &str) -> Result<ExprPath, String> {
    match expr {
        Expr::Path(path) => Ok(path.clone()),
        Expr::Closure(_) => Err(format!("expected the path of a function, as in `{example}`; give the closure a name")),
        _ => Err(format!("expected a path without quotes, as in `{example}`")),
    }
}

fn cost(expr: &Expr, example: &str) -> Result<f64, String> {
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

fn enforce(expr: &Expr, example: &str) -> Result<(), String> {
    word(&string(expr, example)?, &[("required", "")]).map(|_| ())
}
