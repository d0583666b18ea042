//! What makes two reads identical: a canonical form of their arguments, of our own.
//!
//! Keys are sorted at every depth, because whether a map of `serde_json` keeps their order depends on a feature that
//! any other crate can switch on. Numbers stand as they are: JCS would send them through a double and give two 64-bit
//! ids one key.

use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The key under which identical reads share one call. Credentials are part of it, as a hash: what one identity may
/// read is not shared with another.
pub(super) fn key(service: &str, tool: &str, token: Option<&str>, arguments: &Map<String, Value>) -> String {
    let mut identity = DefaultHasher::new();
    token.hash(&mut identity);
    let mut key = format!("mcp.read/{:016x}/", identity.finish());
    // Quoted, so that no name can be made to look like two.
    text(service, &mut key);
    text(tool, &mut key);
    object(arguments, &mut key);
    key
}

fn value(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => object(map, out),
        Value::Array(items) => {
            out.push('[');
            for item in items {
                self::value(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::String(string) => text(string, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

fn object(map: &Map<String, Value>, out: &mut String) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    out.push('{');
    for (name, entry) in entries {
        text(name, out);
        out.push(':');
        value(entry, out);
        out.push(',');
    }
    out.push('}');
}

fn text(string: &str, out: &mut String) {
    let _ = write!(out, "{string:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(arguments: &Value) -> String {
        key("crm", "get", Some("token"), arguments.as_object().expect("an object"))
    }

    #[test]
    fn the_order_of_keys_makes_no_difference_and_every_value_does() {
        let one: Value = serde_json::from_str(r#"{"a": {"x": 1, "y": [1, 2]}, "b": null}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{"b": null, "a": {"y": [1, 2], "x": 1}}"#).unwrap();
        assert_eq!(of(&one), of(&same));
        let differing = [
            json!({ "id": 1 }),
            json!({ "id": "1" }),
            json!({ "id": 1.0 }),
            json!({ "id": [1] }),
            json!({ "id": [[1]] }),
            json!({ "id": true }),
            json!({ "id": null }),
            json!({ "id": { "1": null } }),
            json!({ "id": 9_007_199_254_740_993_u64 }),
            json!({ "id": 9_007_199_254_740_992_u64 }),
            json!({ "id,": 1 }),
            json!({}),
        ];
        for (index, one) in differing.iter().enumerate() {
            for other in &differing[..index] {
                assert_ne!(of(one), of(other));
            }
        }
    }

    #[test]
    fn service_tool_and_identity_are_part_of_the_key_and_the_token_is_not_in_it() {
        let none = Map::new();
        let key_of = |service, tool, token| key(service, tool, token, &none);
        let base = key_of("crm", "get", Some("hunter2"));
        assert!(!base.contains("hunter2"));
        for other in [
            key_of("crm2", "get", Some("hunter2")),
            key_of("crm", "get2", Some("hunter2")),
            key_of("crm", "get", Some("hunter3")),
            key_of("crm", "get", None),
            key_of("crm\"\"get", "", Some("hunter2")),
        ] {
            assert_ne!(base, other);
        }
    }
}
