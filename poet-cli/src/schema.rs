//! What the schema of a tool says about its arguments: their names, their kinds, and which must be there.
//!
//! Only as much of JSON Schema is understood as is needed to read what was typed and to find slips before anything is
//! sent; the rest is for the server to judge.

use poet_runtime::config::did_you_mean;
use serde_json::{Map, Value};

/// References that are followed one after the other.
const DEEPEST: usize = 8;
const KINDS: [&str; 7] = ["string", "integer", "number", "boolean", "array", "object", "null"];

/// One argument of a tool.
pub(crate) struct Parameter<'s> {
    pub(crate) name: &'s str,
    pub(crate) required: bool,
    root: &'s Value,
    schema: &'s Value,
}

/// The arguments of a tool, those that must be there first.
pub(crate) fn parameters(root: &Value) -> Vec<Parameter<'_>> {
    let required: Vec<_> = root["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let parameter = |(name, schema)| {
        let name: &String = name;
        Parameter { name, required: required.contains(&name.as_str()), root, schema }
    };
    let mut parameters: Vec<_> = root["properties"].as_object().into_iter().flatten().map(parameter).collect();
    parameters.sort_by_key(|parameter| !parameter.required);
    parameters
}

/// The arguments that were typed as names and texts, or everything that is wrong with them.
pub(crate) fn read(root: &Value, typed: &[(String, String)]) -> Result<Map<String, Value>, Vec<String>> {
    let known = parameters(root);
    let (mut arguments, mut problems) = (Map::new(), Vec::new());
    for (name, text) in typed {
        let value = match known.iter().find(|parameter| parameter.name == name) {
            Some(parameter) => parameter.read(text),
            // Whether there may be one of that name is said by `check`.
            None => Ok(json_or_text(text)),
        };
        match value {
            Ok(value) => drop(arguments.insert(name.clone(), value)),
            Err(problem) => problems.push(problem),
        }
    }
    // What could not be read was given all the same.
    let given = |name: &str| typed.iter().any(|(typed, _)| typed == name);
    problems.extend(check_names(root, &known, typed.iter().map(|(name, _)| name.as_str()), given));
    problems.extend(arguments.iter().filter_map(|(name, value)| unfit(&known, name, value)));
    if problems.is_empty() { Ok(arguments) } else { Err(problems) }
}

/// Everything that is wrong with arguments.
pub(crate) fn check(root: &Value, arguments: &Map<String, Value>) -> Vec<String> {
    let known = parameters(root);
    let names = arguments.keys().map(String::as_str);
    let mut problems = check_names(root, &known, names, |name| arguments.contains_key(name));
    problems.extend(arguments.iter().filter_map(|(name, value)| unfit(&known, name, value)));
    problems
}

fn unfit(known: &[Parameter<'_>], name: &str, value: &Value) -> Option<String> {
    let parameter = known.iter().find(|parameter| parameter.name == name)?;
    (!parameter.fits(value)).then(|| parameter.expected(&value.to_string()))
}

fn check_names<'a>(
    root: &Value,
    known: &[Parameter<'_>],
    written: impl Iterator<Item = &'a str>,
    given: impl Fn(&str) -> bool,
) -> Vec<String> {
    let missing = known.iter().filter(|parameter| parameter.required && !given(parameter.name));
    let missing = missing.map(|parameter| format!("`{}` is missing: {}", parameter.name, parameter.allowed()));
    let names: Vec<_> = known.iter().map(|parameter| parameter.name).collect();
    let unknown = written.filter(|name| !names.contains(name) && !allows_others(root));
    let unknown = unknown.map(|name| match names[..] {
        [] => format!("there is no argument `{name}`; the tool takes none"),
        _ => format!("there is no argument `{name}`; {}", did_you_mean(name, &names)),
    });
    missing.chain(unknown).collect()
}

/// Whether arguments may have names that the schema does not list.
///
/// JSON Schema allows them where it says nothing; but a tool that lists its arguments ignores others, and a slip that is
/// ignored is what a person wants to hear of.
fn allows_others(root: &Value) -> bool {
    let says = |key: &str| root.get(key).is_some();
    let composed = ["$ref", "allOf", "anyOf", "oneOf", "patternProperties"].into_iter().any(says);
    let open = root.get("additionalProperties").is_some_and(|others| *others != Value::Bool(false));
    composed || open || (!says("properties") && !says("additionalProperties"))
}

impl Parameter<'_> {
    /// What it may be, as a person says it: `integer`, `string or null`, one of several values.
    pub(crate) fn allowed(&self) -> String {
        if let Some(values) = self.values() {
            return one_of(values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
        match &self.kinds()[..] {
            [] => "any value".to_owned(),
            kinds => one_of(kinds.iter().map(|kind| self.with_items(kind))),
        }
    }

    /// `array of string`, where that is all that is said of its items.
    fn with_items(&self, kind: &str) -> String {
        let items = &resolved(self.root, self.schema)["items"];
        let mut kinds = Vec::new();
        gather(self.root, items, DEEPEST, &mut kinds);
        match &kinds[..] {
            [only] if kind == "array" => format!("array of {only}"),
            _ => kind.to_owned(),
        }
    }

    fn read(&self, text: &str) -> Result<Value, String> {
        let kinds = self.kinds();
        if kinds.is_empty() {
            return Ok(json_or_text(text));
        }
        let json = serde_json::from_str(text).ok().filter(|value: &Value| !value.is_string());
        match json.filter(|value| kinds.iter().any(|kind| is(value, kind))) {
            Some(value) => Ok(value),
            None if kinds.contains(&"string") => Ok(Value::String(text.to_owned())),
            None => Err(self.expected(&format!("\"{}\"", text.escape_debug()))),
        }
    }

    fn expected(&self, found: &str) -> String {
        format!("`{}`: expected {}, found {found}", self.name, self.allowed())
    }

    fn fits(&self, value: &Value) -> bool {
        let kinds = self.kinds();
        let kind = kinds.is_empty() || kinds.iter().any(|kind| is(value, kind));
        kind && self.values().is_none_or(|values| values.contains(value))
    }

    fn values(&self) -> Option<&Vec<Value>> {
        resolved(self.root, self.schema)["enum"].as_array()
    }

    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        gather(self.root, self.schema, DEEPEST, &mut kinds);
        kinds
    }
}

/// Adds the kinds that a schema allows; none where it allows all, or says it in a way that is not understood.
fn gather(root: &Value, schema: &Value, deep: usize, kinds: &mut Vec<&'static str>) {
    let schema = resolved(root, schema);
    let names = match &schema["type"] {
        Value::Array(names) => &names[..],
        name => std::slice::from_ref(name),
    };
    let known = names.iter().filter_map(|name| KINDS.into_iter().find(|kind| name.as_str() == Some(*kind)));
    let stated = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    let stated = stated.filter_map(|value| KINDS.into_iter().find(|kind| is(value, kind)));
    for kind in known.chain(stated) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let choices = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    for choice in choices.filter(|_| deep > 0) {
        gather(root, choice, deep - 1, kinds);
    }
}

/// What a reference within the schema stands for.
fn resolved<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    for _ in 0..DEEPEST {
        let pointed = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?));
        let Some(pointed) = pointed else { break };
        schema = pointed;
    }
    schema
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_null(),
    }
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn one_of(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    match &names[..] {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        all => all.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["id"],
            "additionalProperties": false,
            "properties": {
                "id": { "type": "integer" },
                "name": { "type": "string" },
                "ratio": { "type": "number" },
                "deep": { "type": "boolean" },
                "tags": { "type": "array", "items": { "type": "string" } },
                "since": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
                "key": { "type": ["string", "integer"] },
                "order": { "$ref": "#/$defs/Order" },
                "rest": {},
            },
            "$defs": { "Order": { "type": "string", "enum": ["asc", "desc"] } },
        })
    }

    fn typed(pairs: &[(&str, &str)]) -> Result<Value, String> {
        let pairs: Vec<_> = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        read(&schema(), &pairs).map(Value::Object).map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn a_text_is_read_as_what_its_argument_is() {
        for (name, text, value) in [
            ("name", "7", json!("7")),
            ("name", "true", json!("true")),
            ("name", "", json!("")),
            ("ratio", "0.5", json!(0.5)),
            ("deep", "true", json!(true)),
            ("tags", "[\"a\", \"b\"]", json!(["a", "b"])),
            ("since", "null", json!(null)),
            ("since", "5", json!(5)),
            ("key", "5", json!(5)),
            ("key", "five", json!("five")),
            ("key", "\"5\"", json!("\"5\"")),
            ("order", "desc", json!("desc")),
            ("rest", "{\"a\": 1}", json!({ "a": 1 })),
            ("rest", "plain", json!("plain")),
        ] {
            assert_eq!(typed(&[("id", "1"), (name, text)]), Ok(json!({ "id": 1, name: value })), "{name}={text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_is_allowed_all_at_once() {
        assert_eq!(
            typed(&[("id", "seven"), ("nmae", "x"), ("since", "soon"), ("order", "up")]).unwrap_err(),
            "`id`: expected integer, found \"seven\"\n`since`: expected integer or null, found \"soon\"\n\
             there is no argument `nmae`; did you mean `name`?\n`order`: expected asc or desc, found \"up\""
        );
        assert_eq!(typed(&[("name", "x")]).unwrap_err(), "`id` is missing: integer");
        assert_eq!(
            typed(&[("id", "1"), ("tags", "a,b")]).unwrap_err(),
            "`tags`: expected array of string, found \"a,b\""
        );
        assert_eq!(typed(&[("id", "1.5")]).unwrap_err(), "`id`: expected integer, found \"1.5\"");
    }

    #[test]
    fn arguments_given_as_json_are_held_to_the_same() {
        let problems = |arguments: Value| check(&schema(), arguments.as_object().unwrap());
        assert_eq!(problems(json!({ "id": 1, "key": "x", "rest": null })), [""; 0]);
        assert_eq!(
            problems(json!({ "name": 5, "colour": 1 })),
            [
                "`id` is missing: integer",
                "there is no argument `colour`; expected `id`, `deep`, `key`, `name`, `order`, `ratio`, `rest`, `since` or `tags`",
                "`name`: expected string, found 5",
            ]
        );
    }

    #[test]
    fn other_names_are_allowed_where_the_schema_is_open_and_not_where_it_lists_them() {
        let problems = |schema: Value| check(&schema, json!({ "x": 1 }).as_object().unwrap()).len();
        assert_eq!(problems(json!({ "type": "object" })), 0);
        assert_eq!(problems(json!({ "properties": {}, "additionalProperties": true })), 0);
        assert_eq!(problems(json!({ "allOf": [] })), 0);
        assert_eq!(problems(json!({ "properties": {} })), 1);
        assert_eq!(problems(json!({ "additionalProperties": false })), 1);
        assert_eq!(problems(json!(true)), 0, "a schema may be `true`");
    }

    #[test]
    fn a_schema_that_refers_to_itself_has_an_end() {
        let endless = json!({
            "properties": { "a": { "$ref": "#/$defs/a" }, "b": { "$ref": "#/$defs/b" } },
            "$defs": { "a": { "$ref": "#/$defs/a" }, "b": { "anyOf": [{ "$ref": "#/$defs/b" }, { "type": "null" }] } },
        });
        assert_eq!(read(&endless, &[("a".into(), "1".into())]), Ok(json!({ "a": 1 }).as_object().unwrap().clone()));
        assert!(read(&endless, &[("b".into(), "null".into())]).is_ok());
    }
}
