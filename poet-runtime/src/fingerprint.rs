//! What tells one value from another in every process and in every version, without saying what the value is.

use serde_json::Value;

/// Sixteen hexadecimal digits. Good against mistakes, and not against somebody who is looking for a collision.
pub(crate) fn fingerprint(value: &Value) -> String {
    format!("{:016x}", fnv1a(&canonical(value)))
}

/// A hash that is the same everywhere: FNV-1a, because the standard hashers may differ from one version of Rust to the next.
#[must_use]
pub fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A value as one text, whatever the order of the keys in it.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonically(value, &mut text);
    text
}

/// Sorted at every depth: whether a map of `serde_json` keeps its order depends on a feature any crate can switch on.
fn write_canonically(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (name, entry) in entries {
                out.push_str(&format!("{name:?}:"));
                write_canonically(entry, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonically(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_the_same_in_every_process_and_says_nothing_about_the_value() {
        assert_eq!(fingerprint(&json!({ "b": [1, "x"], "a": null })), "dfd8e811bc90e5fe");
        assert_ne!(fingerprint(&json!(7)), fingerprint(&json!("7")));
    }
}
