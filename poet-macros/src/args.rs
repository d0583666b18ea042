//! What was written between the parentheses of `#[poet(...)]`, every value with its key, so that later errors can
//! point at either.
//!
//! One table owns the keys. Reading goes on after a mistake: the next key is found behind the next comma.

use crate::errors::Errors;
use crate::suggest::closest;
use crate::value::{self, Domain, Kept, Priority, bare};
use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use std::time::Duration;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprPath, Lit, LitStr, Token, token};

/// Every key, with an example of its use.
const KEYS: [(&str, &str); 19] = [
    ("domain", "domain = \"mcp_integration\""),
    ("learning", "learning = \"on\""),
    ("service", "service = \"salesforce_crm\""),
    ("operation", "operation = \"update_contact\""),
    ("priority", "priority = \"high\""),
    ("idempotent", "idempotent"),
    ("retries", "retries = 2"),
    ("timeout", "timeout = \"2s\""),
    ("deadline", "deadline = \"30s\""),
    ("cache", "cache = \"5m\""),
    ("key", "key(id, page.number)"),
    ("batch", "batch = path::to::function"),
    ("deferrable", "deferrable"),
    ("fallback", "fallback = path::to::function"),
    ("validate", "validate = path::to::function"),
    ("failure", "failure = path::to::function"),
    ("cost", "cost = 0.02"),
    ("enforce", "enforce = \"required\""),
    ("crate", "crate = path::to::poet"),
];

/// Words of other libraries for what one of our keys does.
const SYNONYMS: [(&str, &str); 14] = [
    ("retry", "retries"),
    ("attempts", "retries"),
    ("max_retries", "retries"),
    ("name", "operation"),
    ("tool", "operation"),
    ("classify", "failure"),
    ("repeatable", "idempotent"),
    ("pure", "idempotent"),
    ("profile", "domain"),
    ("cached", "cache"),
    ("ttl", "cache"),
    ("memoize", "cache"),
    ("bulk", "batch"),
    ("defer", "deferrable"),
];

/// A value and the key it was written for.
pub(crate) struct Written<T> {
    /// The key.
    pub(crate) key: Ident,
    /// What it means.
    pub(crate) value: T,
    /// The tokens of the value; of the key, for a flag.
    pub(crate) tokens: TokenStream,
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
    pub(crate) cache: Option<Written<Kept>>,
    /// The parts of `key(…)`.
    pub(crate) key: Option<Written<Vec<Expr>>>,
    pub(crate) batch: Option<Written<ExprPath>>,
    pub(crate) deferrable: Option<Written<bool>>,
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
    /// What stands between parentheses, behind `key` alone.
    Of(Group),
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
        let value = what_follows(input, &key, example)?;
        match name.as_str() {
            "domain" => self.domain = read(key, value, example, errors, value::domain),
            "learning" => self.learning = read(key, value, example, errors, value::learning),
            "service" => self.service = read(key, value, example, errors, value::label),
            "operation" => self.operation = read(key, value, example, errors, value::label),
            "priority" => self.priority = read(key, value, example, errors, value::priority),
            "idempotent" => self.idempotent = flag(key, value, errors),
            "retries" => self.retries = read(key, value, example, errors, value::retries),
            "timeout" => self.timeout = read(key, value, example, errors, value::time),
            "deadline" => self.deadline = read(key, value, example, errors, value::time),
            "cache" => self.cache = cache(key, value, example, errors),
            "key" => self.key = parts(key, value, example, errors),
            "batch" => self.batch = read(key, value, example, errors, value::path),
            "deferrable" => self.deferrable = flag(key, value, errors),
            "fallback" => self.fallback = read(key, value, example, errors, value::path),
            "validate" => self.validate = read(key, value, example, errors, value::path),
            "failure" => self.failure = read(key, value, example, errors, value::path),
            "cost" => self.cost = read(key, value, example, errors, value::cost),
            "enforce" => self.enforce = read(key, value, example, errors, value::enforce),
            _ => self.krate = read(key, value, example, errors, value::path),
        }
        Ok(())
    }
}

/// Reads what follows a key.
fn what_follows(input: ParseStream<'_>, key: &Ident, example: &str) -> syn::Result<Value> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Value::Nothing);
    }
    if key == "key" && input.peek(token::Paren) {
        return input.parse().map(Value::Of);
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
    match value::literal(&expr) {
        Some(Lit::Bool(value)) => Some(Written { key, value: value.value, tokens }),
        _ => {
            errors.push(tokens, format!("write `{key}` alone, or `{key} = true` or `{key} = false`"));
            None
        }
    }
}

/// Reads `cache`, alone or with how long.
fn cache(key: Ident, value: Value, example: &str, errors: &mut Errors) -> Option<Written<Kept>> {
    if let Value::Is(_) = value {
        return read(key, value, example, errors, value::kept);
    }
    let tokens = key.to_token_stream();
    Some(Written { key, value: Kept::Learned, tokens })
}

/// Reads `key(…)`.
fn parts(key: Ident, value: Value, example: &str, errors: &mut Errors) -> Option<Written<Vec<Expr>>> {
    let group = match value {
        Value::Of(group) => group,
        Value::Is(expr) => {
            errors.push(expr, format!("the parts of the key stand in parentheses, as in `{example}`"));
            return None;
        }
        Value::Nothing => {
            errors.push(&key, format!("`key` has no part; write `{example}`"));
            return None;
        }
    };
    let tokens = group.stream();
    match Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens.clone()) {
        Ok(parts) if parts.is_empty() => {
            errors.push(group, format!("`key` has no part; write `{example}`"));
            None
        }
        Ok(parts) => Some(Written { key, value: parts.into_iter().map(bare).collect(), tokens }),
        Err(error) => {
            errors.add(error);
            None
        }
    }
}
