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

/// Keywords that say something to people and nothing about what is valid.
const FOR_PEOPLE: [&str; 6] = ["title", "description", "$comment", "examples", "deprecated", "markdownDescription"];
/// Keywords whose value is a table of schemas by names, which may be called as a keyword is.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Keywords whose value is data.
const DATA: [&str; 3] = ["const", "enum", "default"];

/// The hash of what a tool takes and of what it answers, whatever is said about it to people: tools whose hash is the
/// same differ in nothing that a call could show.
pub(super) fn shape(input: &Value, output: Option<&Value>) -> u64 {
    hash(&bare(input), output.map(bare).as_ref())
}

fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => {
            let kept = keywords.iter().filter(|(keyword, _)| !FOR_PEOPLE.contains(&keyword.as_str()));
            let bared = kept.map(|(keyword, value)| {
                let value = match value {
                    Value::Object(schemas) if NAMED.contains(&keyword.as_str()) => {
                        schemas.iter().map(|(name, schema)| (name.clone(), bare(schema))).collect()
                    }
                    value if DATA.contains(&keyword.as_str()) => value.clone(),
                    value => bare(value),
                };
                (keyword.clone(), value)
            });
            Value::Object(bared.collect())
        }
        Value::Array(schemas) => schemas.iter().map(bare).collect(),
        other => other.clone(),
    }
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
    fn what_is_said_to_people_does_not_change_a_shape_and_what_a_call_could_show_does() {
        let read =
            |id: &str| json!({ "type": "object", "properties": { "id": read(id), "title": { "type": "string" } } });
        let of = |id: &str| shape(&read(id), Some(&read(id)));
        let plain = of(r#"{"type": "string"}"#);
        assert_eq!(plain, of(r#"{"type": "string", "description": "whose", "title": "Id", "examples": ["7"]}"#));
        assert_ne!(plain, of(r#"{"type": "integer"}"#));
        assert_ne!(plain, of(r#"{"type": "string", "default": "7"}"#));
        // A property of that name is no word to people, and neither is one in data.
        let mut without = read(r#"{"type": "string"}"#);
        without["properties"].as_object_mut().unwrap().remove("title");
        assert_ne!(shape(&read(r#"{"type": "string"}"#), None), shape(&without, None));
        let data = |title: &str| shape(&json!({ "const": { "title": title } }), None);
        assert_ne!(data("a"), data("b"));
    }

    #[test]
    fn the_hash_is_the_same_in_every_process() {
        assert_eq!(hash(&json!({ "type": "object", "required": ["id"] }), None), 0xb30a_8c35_9e8e_af4a);
    }
}
