//! Tells one schema of a tool from another.
//!
//! What was learned about a tool holds for the tool that was called. The hash says whether it still is that one: it is
//! the same in every process and on every machine, and does not depend on the order in which a server writes keys.

use poet_runtime::service::{canonical, fnv1a};
use serde_json::Value;

/// The hash of what a tool takes and of what it answers: of the canonical form of both.
pub(super) fn hash(input: &Value, output: Option<&Value>) -> u64 {
    // No JSON text has this character outside of a string, so no other pair of schemas gives the same text.
    fnv1a(&format!("{}|{}", canonical(input), output.map(canonical).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_that_of_a_list_does() {
        let one = read(r#"{"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}"#);
        let other = read(r#"{"properties": {"n": {"type": "integer"}, "id": {"type": "string"}}, "type": "object"}"#);
        assert_eq!(hash(&one, Some(&other)), hash(&other, Some(&one)));
        assert_ne!(hash(&json!({ "prefixItems": [1, 2] }), None), hash(&json!({ "prefixItems": [2, 1] }), None));
    }

    #[test]
    fn what_a_tool_takes_is_told_from_what_it_answers() {
        let (some, none) = (json!({ "type": "object" }), json!({}));
        let hashes = [
            hash(&some, None),
            hash(&none, Some(&some)),
            hash(&some, Some(&none)),
            hash(&some, Some(&Value::Null)),
            hash(&json!({ "type": "string" }), None),
        ];
        for (place, hash) in hashes.iter().enumerate() {
            assert!(!hashes[place + 1..].contains(hash), "{place}");
        }
    }

    #[test]
    fn the_hash_is_the_same_in_every_process() {
        assert_eq!(hash(&json!({ "type": "object", "required": ["id"] }), None), 0xb30a_8c35_9e8e_af4a);
    }
}
