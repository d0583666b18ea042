//! Takes out of a text what may be secret, before it is written down.
//!
//! What a service says about a failure is its own, and may repeat what it was given: a token, an address with a password
//! in it, an argument. Known secrets and the arguments of the call are taken out wherever they stand; of what nobody knows,
//! what is written as a secret usually is: user information and queries of addresses, bearer tokens, `password=…`.

use crate::config::showable_url;
use serde_json::{Map, Value};

/// What stands where something was taken out.
pub(super) const GONE: &str = "[redacted]";

/// Shorter texts are too common to be taken out wherever they stand.
const SHORTEST: usize = 4;

/// The longest text that is written down, in characters.
const LONGEST: usize = 400;

/// Words before a `=` or `:` after which a secret follows.
const NAMES: [&str; 10] =
    ["password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "api-key", "authorization", "credential"];
/// Words after which a secret follows, and those that may stand in between.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
const BETWEEN: [&str; 4] = ["token", "auth", "authentication", "credentials"];

/// What is known to be secret, longest first, so that what contains another goes as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<_> = secrets.into_iter().filter(|secret| secret.chars().count() >= SHORTEST).collect();
        secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// These, and the arguments of a call but for those that are allowed.
    pub(super) fn and_arguments(&self, arguments: &Map<String, Value>, allowed: &[String]) -> Self {
        let mut all = self.0.clone();
        for (_, value) in arguments.iter().filter(|(name, _)| !allowed.contains(name)) {
            texts(value, &mut all);
        }
        Self::new(all)
    }

    /// A text without them, and without what looks like one, cut where it is long.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), GONE);
            }
        }
        cut(words(&text), LONGEST)
    }
}

/// A text of at most so many characters, with a sign where some are missing.
pub(super) fn cut(text: String, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Every text and number in a value.
fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            out.push(text.clone());
            // As it stands in an error that quotes JSON.
            let quoted = value.to_string();
            if quoted.len() > text.len() + 2 {
                out.push(quoted[1..quoted.len() - 1].to_owned());
            }
        }
        Value::Number(number) => out.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(map) => map.values().for_each(|item| texts(item, out)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A text without what looks like a secret. Its words stay where they are.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut secret_follows = false;
    // The word before was a name, and `=` or `:` may stand apart from it, as in JSON.
    let mut named = false;
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.find(|c: char| !is_gap(c)).unwrap_or(rest.len());
        out.push_str(&rest[..gap]);
        rest = &rest[gap..];
        let end = rest.find(is_gap).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word.is_empty() {
            continue;
        }
        let plain = word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
        let scheme = SCHEMES.contains(&plain.as_str());
        let between = scheme || BETWEEN.contains(&plain.as_str());
        if plain.is_empty() {
            secret_follows |= named && word.starts_with(['=', ':']);
            out.push_str(word);
            continue;
        }
        if plain == "redacted" {
            out.push_str(word);
            (secret_follows, named) = (false, false);
            continue;
        }
        if secret_follows && !between || plain.starts_with("eyj") && plain.len() > 20 {
            out.push_str(GONE);
            (secret_follows, named) = (false, false);
            continue;
        }
        if let Some(sign) = word.chars().next().filter(|sign| named && matches!(sign, '=' | ':')) {
            out.push(sign);
            out.push_str(GONE);
            (secret_follows, named) = (false, false);
            continue;
        }
        let (shown, open) = word_shown(word);
        out.push_str(&shown);
        secret_follows = scheme || open || secret_follows;
        named = NAMES.iter().any(|secret| plain.ends_with(secret));
    }
    out
}

/// A word as it may be shown, and whether what follows it is a secret.
fn word_shown(word: &str) -> (String, bool) {
    if word.contains("://") {
        return (showable_url(word), false);
    }
    let Some(at) = word.find(['=', ':']) else { return (word.to_owned(), false) };
    let (name, value) = (word[..at].to_ascii_lowercase(), &word[at + 1..]);
    if !NAMES.iter().any(|secret| name.contains(secret)) {
        return (word.to_owned(), false);
    }
    if value.chars().any(char::is_alphanumeric) {
        (format!("{}{GONE}", &word[..=at]), false)
    } else {
        (word.to_owned(), true)
    }
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | '<' | '>' | '{' | '}' | '[' | ']' | ',' | ';')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redacted(text: &str) -> String {
        Secrets::default().redact(text)
    }

    #[test]
    fn what_is_written_as_secrets_are_is_taken_out() {
        for (text, shown) in [
            ("401 for https://user:hunter2@crm.test/mcp?key=hunter2", "401 for https://…@crm.test/mcp?…"),
            ("(https://crm.test/mcp#hunter2)", "(https://crm.test/mcp#…)"),
            ("Authorization: Bearer hunter2, refused", "Authorization: Bearer [redacted], refused"),
            ("invalid bearer token hunter2hunter2", "invalid bearer token [redacted]"),
            ("got eyJhbGciOiJIUzI1NiJ9.e30.hunter2 instead", "got [redacted] instead"),
            ("password = hunter2", "password = [redacted]"),
            ("password=hunter2 is wrong", "password=[redacted] is wrong"),
            (r#"{"api_key": "hunter2", "id": 7}"#, r#"{"api_key": "[redacted]", "id": 7}"#),
            (r#"{"token":"hunter2"}"#, r#"{"token":"[redacted]"}"#),
            ("X-Api-Key: hunter2", "X-Api-Key: [redacted]"),
            ("basic dXNlcjpodW50ZXIy", "basic [redacted]"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in
            ["no such contact: 7", "calling get of crm: the service failed (transient)", "at 12:30, in line 7", ""]
        {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn known_secrets_and_arguments_are_taken_out_wherever_they_stand() {
        let arguments =
            json!({ "email": "ada@example.com", "id": "4711", "card": 4_111_111_111_u64, "in": ["a\"quote\""] });
        let secrets = Secrets::new(["s3cr3t".to_owned(), "abc".to_owned()]);
        let secrets = secrets.and_arguments(arguments.as_object().unwrap(), &["id".to_owned()]);
        let text = r#"xs3cr3tx: ada@example.com (4711) with 4111111111, a\"quote\", abc"#;
        assert_eq!(secrets.redact("Bearer s3cr3t, no"), "Bearer [redacted], no");
        assert_eq!(secrets.redact(text), "x[redacted]x: [redacted] (4711) with [redacted], [redacted], abc");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = redacted(&"é".repeat(1_000));
        assert_eq!(long.chars().count(), LONGEST + 1);
    }
}
