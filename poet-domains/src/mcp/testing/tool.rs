//! A tool of the scripted server: what it is listed as, what it does, and what becomes of its calls.

use super::answer::{Answer, Call, Faults};
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;

type Work = dyn Fn(&Map<String, Value>) -> Result<Value, String> + Send + Sync;
type Decide = dyn Fn(&Call) -> Answer + Send + Sync;

/// A tool. Unless something else is said, it takes any object, answers `{}`, and every call of it is answered.
#[derive(Clone)]
pub struct Tool {
    name: String,
    description: Option<String>,
    input_schema: Value,
    output_schema: Option<Value>,
    annotations: Map<String, Value>,
    work: Arc<Work>,
    decide: Arc<Decide>,
}

impl Tool {
    /// A tool of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            input_schema: json!({ "type": "object" }),
            output_schema: None,
            annotations: Map::new(),
            work: Arc::new(|_| Ok(json!({}))),
            decide: Arc::new(|_| Answer::Done),
        }
    }

    /// The name it is called by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says what it does.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Says what it takes, as a JSON schema. It is not checked.
    #[must_use]
    pub fn takes(mut self, schema: Value) -> Self {
        self.input_schema = schema;
        self
    }

    /// Says what it answers, as a JSON schema. It is not checked.
    #[must_use]
    pub fn gives(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// Claims to change nothing.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.claiming("readOnlyHint")
    }

    /// Claims to do no more if called again with the same arguments.
    #[must_use]
    pub fn idempotent(self) -> Self {
        self.claiming("idempotentHint")
    }

    fn claiming(mut self, hint: &str) -> Self {
        self.annotations.insert(hint.to_owned(), Value::Bool(true));
        self
    }

    /// Answers this value.
    #[must_use]
    pub fn answers(self, value: Value) -> Self {
        self.does(move |_| Ok(value.clone()))
    }

    /// Does this when it is executed. The text of an error becomes an error of the tool.
    #[must_use]
    pub fn does(mut self, work: impl Fn(&Map<String, Value>) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        self.work = Arc::new(work);
        self
    }

    /// Lets this become of its first calls, in this order, and answers all others. Replaces what was said before.
    #[must_use]
    pub fn script(self, answers: impl Into<Vec<Answer>>) -> Self {
        let answers = answers.into();
        self.decide(move |call| {
            let place = usize::try_from(call.number - 1).ok();
            place.and_then(|place| answers.get(place)).cloned().unwrap_or(Answer::Done)
        })
    }

    /// Lets chance decide what becomes of its calls. Replaces what was said before.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        self.decide(move |call| faults.answer(call.number))
    }

    /// Decides what becomes of each of its calls. Replaces what was said before.
    #[must_use]
    pub fn decide(mut self, decide: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        self.decide = Arc::new(decide);
        self
    }

    /// As the protocol lists it.
    pub(super) fn listed(&self) -> Value {
        let mut listed = json!({
            "name": self.name,
            "inputSchema": self.input_schema,
            "annotations": self.annotations,
        });
        if let Some(description) = &self.description {
            listed["description"] = json!(description);
        }
        if let Some(schema) = &self.output_schema {
            listed["outputSchema"] = schema.clone();
        }
        listed
    }

    pub(super) fn decides(&self, call: &Call) -> Answer {
        (self.decide)(call)
    }

    pub(super) fn execute(&self, arguments: &Map<String, Value>) -> Result<Value, String> {
        (self.work)(arguments)
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}
