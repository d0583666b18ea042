//! Holds calls against the JSON schemas that a server declares for its tools.
//!
//! A schema is compiled once, when something is first held against it, and again only if the server changes it. Drafts from 4 to
//! 2020-12 are known, 2020-12 where none is named. Nothing is fetched: a `$ref` leads to somewhere in the schema itself.
//! A schema that cannot be compiled, or that has no bound, is the server's own mistake: it is ignored, with one warning,
//! because a tool that worked without being checked would otherwise stop working.
//!
//! Messages name keys, types and what the schema allows; never a value, which may be a secret.

use super::connection::ToolInfo;
use super::schema;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The most tools whose schemas are kept; beyond it they are all read and compiled anew, as they are called.
const MAX_TOOLS: usize = 1024;
/// The most values a schema may be made of. The largest of the reference servers has some two hundred.
const MAX_NODES: usize = 10_000;
/// The most bytes a compiled pattern may take.
const MAX_PATTERN: usize = 1 << 20;
/// The most names that are listed as allowed.
const MAX_SHOWN: usize = 12;

/// The schemas of the tools of one service.
#[derive(Debug, Default)]
pub(super) struct Schemas(Mutex<HashMap<String, Arc<ToolSchemas>>>);

impl Schemas {
    /// The schemas of a tool.
    pub(super) fn of(&self, tool: &ToolInfo) -> Arc<ToolSchemas> {
        let found = self.known().get(&tool.name).cloned();
        // Compared while others go on: a schema may be long.
        if let Some(schemas) = found.filter(|schemas| schemas.are_those_of(tool)) {
            return schemas;
        }
        let mut known = self.known();
        // Somebody else may have read it meanwhile.
        if let Some(schemas) = known.get(&tool.name).filter(|schemas| schemas.are_those_of(tool)) {
            return schemas.clone();
        }
        if known.len() >= MAX_TOOLS {
            known.clear();
        }
        let read = Arc::new(ToolSchemas::read(tool));
        known.insert(tool.name.clone(), read.clone());
        read
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<ToolSchemas>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The schemas of one tool.
#[derive(Debug)]
pub(super) struct ToolSchemas {
    tool: String,
    input: Value,
    output: Option<Value>,
    /// What tells them from others, whatever they say to people.
    pub(super) shape: u64,
    arguments: OnceLock<Option<Validator>>,
    answer: OnceLock<Option<Validator>>,
}

impl ToolSchemas {
    fn read(tool: &ToolInfo) -> Self {
        Self {
            tool: tool.name.clone(),
            arguments: OnceLock::new(),
            answer: OnceLock::new(),
            input: tool.input_schema.clone(),
            output: tool.output_schema.clone(),
            shape: schema::shape(&tool.input_schema, tool.output_schema.as_ref()),
        }
    }

    fn are_those_of(&self, tool: &ToolInfo) -> bool {
        self.input == tool.input_schema && self.output == tool.output_schema
    }

    /// What arguments are held against, if against anything.
    fn arguments(&self) -> Option<&Validator> {
        self.arguments.get_or_init(|| self.compiled(&self.input, "input")).as_ref()
    }

    fn answer(&self) -> Option<&Validator> {
        let output = self.output.as_ref()?;
        self.answer.get_or_init(|| self.compiled(output, "output")).as_ref()
    }

    fn compiled(&self, schema: &Value, of: &str) -> Option<Validator> {
        compile(schema).unwrap_or_else(|problem| {
            tracing::warn!(tool = self.tool, schema = of, %problem, "a declared schema is ignored");
            None
        })
    }

    /// Whether the tool declared what it is given.
    pub(super) fn ask_for_arguments(&self) -> bool {
        self.arguments().is_some()
    }

    /// Whether the tool declared what it answers.
    pub(super) fn promise_an_answer(&self) -> bool {
        self.output.is_some()
    }

    /// What is wrong with arguments, if anything is. `null` for what may be left out is as good as leaving it out: that is
    /// how most languages write it, and the protocol sends no header for it.
    pub(super) fn refuse(&self, arguments: &Map<String, Value>) -> Option<String> {
        let validator = self.arguments()?;
        let required = self.input["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
        let mut said = arguments.clone();
        said.retain(|name, value| !value.is_null() || is_required(name));
        problem(validator, &Value::Object(said), &self.input, "arguments")
    }

    /// What about structured content is not as declared, if anything is.
    pub(super) fn contradicted_by(&self, structured: &Value) -> Option<String> {
        problem(self.answer()?, structured, self.output.as_ref()?, "answer")
    }
}

/// `Ok(None)` is a schema that allows everything.
fn compile(schema: &Value) -> Result<Option<Validator>, String> {
    if is_open(schema) {
        return Ok(None);
    }
    if nodes(schema, MAX_NODES) == 0 {
        return Err(format!("it is made of more than {MAX_NODES} values"));
    }
    // Patterns without look-around are matched in linear time, whatever a server wrote.
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN);
    let options = jsonschema::options().offline().with_pattern_options(patterns);
    options.build(schema).map(Some).map_err(|error| error.to_string())
}

/// Whether a schema says no more than that there is an object, which arguments are anyway.
fn is_open(schema: &Value) -> bool {
    const NAMES: &[&str] = &["type", "$schema", "title", "description", "properties"];
    match schema {
        Value::Null | Value::Bool(true) => true,
        Value::Object(schema) => {
            let nothing = schema.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty);
            nothing
                && schema.get("type").is_none_or(|kind| kind == "object")
                && schema.keys().all(|key| NAMES.contains(&key.as_str()))
        }
        _ => false,
    }
}

/// What is left of a budget after counting a value and all in it; 0 if it was exceeded.
fn nodes(value: &Value, budget: usize) -> usize {
    let left = budget.saturating_sub(1);
    match value {
        Value::Array(items) => items.iter().fold(left, |left, item| nodes(item, left)),
        Value::Object(fields) => fields.values().fold(left, |left, item| nodes(item, left)),
        _ => left,
    }
}

/// The first thing that is wrong with a value, said without it.
fn problem(validator: &Validator, value: &Value, schema: &Value, what: &str) -> Option<String> {
    let error = validator.validate(value).err()?;
    let place = place(&error, what);
    Some(match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!("{place}: `{}` is missing", property.as_str().unwrap_or_default())
        }
        ValidationErrorKind::Type { kind } => {
            format!("{place}: expected {}, found {}", types(kind), kind_of(error.instance()))
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let allowed = names_allowed(&error, schema);
            format!("{place}: there is no `{}`; {allowed}", unexpected.first().map_or("", String::as_str))
        }
        ValidationErrorKind::Enum { options } => {
            format!("{place}: expected {}, found another {}", one_of(options), kind_of(error.instance()))
        }
        ValidationErrorKind::Constant { expected_value } => {
            format!("{place}: expected {expected_value}, found another {}", kind_of(error.instance()))
        }
        ValidationErrorKind::Pattern { pattern } => format!("{place}: expected a text like `{pattern}`"),
        // The library's own words, with the value left out of them.
        _ => format!("{place}: {}", error.masked_with("the value")),
    })
}

/// `arguments.filter.0`, `answer`.
fn place(error: &ValidationError<'_>, what: &str) -> String {
    const LONGEST: usize = 200;
    let pointer = error.instance_path().to_string();
    let dotted: String = pointer.split('/').skip(1).flat_map(|part| [".", part]).collect();
    let dotted: String = dotted.chars().take(LONGEST).collect();
    format!("{what}{dotted}")
}

/// The keys that the schema names where one was found that it does not.
fn names_allowed(error: &ValidationError<'_>, schema: &Value) -> String {
    let pointer = error.schema_path().to_string();
    let around = pointer.rsplit_once('/').map_or("", |(around, _)| around);
    let named = schema.pointer(around).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    match named.filter(|named| !named.is_empty()) {
        Some(named) => {
            let shown: Vec<_> = named.keys().take(MAX_SHOWN).map(|name| format!("`{name}`")).collect();
            let more = if named.len() > MAX_SHOWN { ", …" } else { "" };
            format!("allowed are {}{more}", shown.join(", "))
        }
        None => "nothing more is allowed".to_owned(),
    }
}

fn one_of(options: &Value) -> String {
    let options: Vec<_> = options.as_array().into_iter().flatten().collect();
    let shown: Vec<_> = options.iter().take(MAX_SHOWN).map(|option| option.to_string()).collect();
    let more = if options.len() > MAX_SHOWN { ", …" } else { "" };
    format!("one of {}{more}", shown.join(", "))
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => kind.to_string(),
        TypeKind::Multiple(kinds) => kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(" or "),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(input: Value, output: Option<Value>) -> ToolInfo {
        ToolInfo { name: "t".to_owned(), input_schema: input, output_schema: output, ..ToolInfo::default() }
    }

    fn refused(schema: Value, arguments: &Value) -> Option<String> {
        ToolSchemas::read(&tool(schema, None)).refuse(arguments.as_object().unwrap())
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_what_was_found_and_what_is_allowed() {
        let schema = json!({
            "type": "object",
            "properties": {
                "id": { "type": "integer" },
                "kind": { "enum": ["hot", "cold"] },
                "filter": { "type": "object", "properties": { "name": { "type": ["string", "null"] } }, "additionalProperties": false },
                "day": { "type": "string", "pattern": "^[0-9]{4}$" },
                "few": { "type": "array", "maxItems": 1 },
            },
            "required": ["id"],
            "additionalProperties": false,
        });
        for (arguments, problem) in [
            (json!({}), "arguments: `id` is missing"),
            (json!({ "id": "hunter2" }), "arguments.id: expected integer, found string"),
            (
                json!({ "id": 7, "kind": "hunter2" }),
                "arguments.kind: expected one of \"hot\", \"cold\", found another string",
            ),
            (json!({ "id": 7, "filter": { "nam": "x" } }), "arguments.filter: there is no `nam`; allowed are `name`"),
            (
                json!({ "id": 7, "filter": { "name": 7 } }),
                "arguments.filter.name: expected null or string, found number",
            ),
            (json!({ "id": 7, "day": "hunter2" }), "arguments.day: expected a text like `^[0-9]{4}$`"),
        ] {
            assert_eq!(refused(schema.clone(), &arguments).as_deref(), Some(problem));
        }
        let long = refused(schema.clone(), &json!({ "id": 7, "few": ["hunter2", "hunter2"] })).unwrap();
        assert!(long.starts_with("arguments.few: ") && !long.contains("hunter2"), "{long}");
        assert_eq!(refused(schema, &json!({ "id": 7, "kind": "hot", "filter": { "name": null } })), None);
    }

    #[test]
    fn a_schema_is_compiled_when_something_is_held_against_it_and_not_before() {
        let schemas = ToolSchemas::read(&tool(json!({ "required": ["id"] }), Some(json!({ "required": ["id"] }))));
        assert!(schemas.promise_an_answer() && schemas.shape != 0);
        assert!(schemas.arguments.get().is_none() && schemas.answer.get().is_none());
        assert!(schemas.refuse(&Map::new()).is_some());
        assert!(schemas.arguments.get().is_some() && schemas.answer.get().is_none());
    }

    #[test]
    fn nothing_for_what_may_be_left_out_is_as_good_as_leaving_it_out() {
        let schema = json!({
            "type": "object",
            "properties": { "id": { "type": "integer" }, "note": { "type": "string" } },
            "required": ["id"],
        });
        assert_eq!(refused(schema.clone(), &json!({ "id": 7, "note": null })), None);
        let problem = refused(schema, &json!({ "id": null, "note": "x" }));
        assert_eq!(problem.as_deref(), Some("arguments.id: expected integer, found null"));
    }

    #[test]
    fn both_drafts_in_use_are_known() {
        let of = |draft: &str, keyword: &str| json!({ "$schema": draft, "properties": { "a": { "$ref": format!("#/{keyword}/text") } }, keyword: { "text": { "type": "string" } } });
        for schema in [
            of("http://json-schema.org/draft-07/schema#", "definitions"),
            of("https://json-schema.org/draft/2020-12/schema", "$defs"),
        ] {
            assert_eq!(refused(schema.clone(), &json!({ "a": "x" })), None);
            assert!(refused(schema, &json!({ "a": 7 })).is_some());
        }
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_ignored() {
        for schema in [
            json!({ "type": "no such type" }),
            json!({ "properties": { "a": { "$ref": "https://schemas.test/a.json" } } }),
            json!({ "$schema": "https://schemas.test/my-own", "type": "object", "required": ["a"] }),
            json!({ "properties": { "a": { "pattern": "(?=x)" } } }),
            json!({ "required": ["a"], "enum": (0..MAX_NODES).collect::<Vec<_>>() }),
            json!("a text"),
        ] {
            assert_eq!(refused(schema, &json!({ "a": 7 })), None);
        }
    }

    #[test]
    fn an_answer_is_held_against_what_was_declared() {
        let declared =
            json!({ "type": "object", "properties": { "total": { "type": "number" } }, "required": ["total"] });
        let schemas = ToolSchemas::read(&tool(json!({ "type": "object" }), Some(declared)));
        assert_eq!(schemas.contradicted_by(&json!({ "total": 7 })), None);
        assert_eq!(
            schemas.contradicted_by(&json!({ "total": "7" })).as_deref(),
            Some("answer.total: expected number, found string")
        );
    }

    #[test]
    fn a_schema_is_compiled_once_and_again_when_it_changes() {
        let schemas = Schemas::default();
        let strict = tool(json!({ "required": ["id"] }), None);
        let first = schemas.of(&strict);
        assert!(Arc::ptr_eq(&first, &schemas.of(&strict)));
        let lax = tool(json!({ "required": [] }), None);
        assert!(first.refuse(&Map::new()).is_some() && schemas.of(&lax).refuse(&Map::new()).is_none());
    }
}
