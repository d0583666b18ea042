//! What a step does: a closure, or a call of a service that the runtime may move.

use crate::error::Error;
use crate::reply::{Disposition, Reply};
use crate::runtime::Runtime;
use crate::site::Priority;
use crate::store::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::future::Future;

/// What a step does when it is its turn.
///
/// Implemented for closures `async |inputs: Inputs| -> Result<Value, Error>`, and by the clients of domains.
pub trait Action: Send + Sync + 'static {
    /// Does it. The arguments are resolved; dropping the future gives it up.
    fn run<'a>(
        &'a self,
        runtime: &'a Runtime,
        arguments: Map<String, Value>,
        step: StepContext,
    ) -> BoxFuture<'a, Result<StepAnswer, Error>>;

    /// The service and operation that are called; `None` for what is no call.
    fn target(&self) -> Option<(&str, &str)> {
        None
    }

    /// What is known about the call before it is made. Nothing by default: it may not be repeated and is made at once.
    fn outlook(&self, runtime: &Runtime) -> Outlook {
        let _ = runtime;
        Outlook::default()
    }
}

/// What is known about a call before it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outlook {
    /// Whether it may be executed twice.
    pub repeatable: bool,
    /// Whether the cache may answer it.
    pub cacheable: bool,
    /// Whether it may be made together with others.
    pub batchable: bool,
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Whether it may be put off; `None` where neither the call nor the configuration says.
    pub deferrable: Option<bool>,
    /// Up to which priority it is left to a worker; `None` if it never is.
    pub queued: Option<Priority>,
    /// How much it matters by its own word, which stands before that of the step.
    pub priority: Option<Priority>,
}

/// What the plan says about the step whose turn it is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StepContext {
    /// Its position in the plan, from 1.
    pub position: usize,
    /// How much it matters; `None` means as the plan, or the function around it.
    pub priority: Option<Priority>,
    /// Whether it was declared repeatable.
    pub idempotent: bool,
    /// Whether it may be put off.
    pub deferrable: bool,
    /// Whether it is left to a worker.
    pub queued: bool,
}

/// What a closure of a step is given: its arguments, with every reference replaced by what it stood for.
#[derive(Clone, Debug, Default)]
pub struct Inputs(pub(super) Map<String, Value>);

impl Inputs {
    /// An argument; `null` where there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// The arguments read as `T`.
    ///
    /// # Errors
    ///
    /// [`Error::is_denied`] if they are not a `T`.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        serde_json::from_value(Value::Object(self.0)).map_err(|error| Error::denied(format!("the arguments: {error}")))
    }

    /// All of them.
    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

/// What a step gave back.
#[derive(Clone, Debug)]
pub struct StepAnswer(Held);

#[derive(Clone, Debug)]
enum Held {
    Plain(Value),
    Reply(Box<Reply>),
}

impl StepAnswer {
    /// The value; an object that says so where it is not there yet.
    #[must_use]
    pub fn value(&self) -> &Value {
        match &self.0 {
            Held::Plain(value) => value,
            Held::Reply(reply) => reply.value(),
        }
    }

    /// How it came about; `None` for what is no call of a service.
    #[must_use]
    pub fn disposition(&self) -> Option<&Disposition> {
        match &self.0 {
            Held::Plain(_) => None,
            Held::Reply(reply) => Some(reply.disposition()),
        }
    }

    pub(super) fn into_value(self) -> Value {
        match self.0 {
            Held::Plain(value) => value,
            Held::Reply(reply) => reply.value().clone(),
        }
    }

    /// Attempts made: 1 for what is no call of a service.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match &self.0 {
            Held::Plain(_) => 1,
            Held::Reply(reply) => reply.attempts(),
        }
    }
}

impl From<Value> for StepAnswer {
    fn from(value: Value) -> Self {
        Self(Held::Plain(value))
    }
}

impl From<Reply> for StepAnswer {
    fn from(reply: Reply) -> Self {
        Self(Held::Reply(Box::new(reply)))
    }
}

impl<F, R> Action for F
where
    F: Fn(Inputs) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Value, Error>> + Send + 'static,
{
    fn run<'a>(
        &'a self,
        _: &'a Runtime,
        arguments: Map<String, Value>,
        _: StepContext,
    ) -> BoxFuture<'a, Result<StepAnswer, Error>> {
        let body = self(Inputs(arguments));
        Box::pin(async move { body.await.map(StepAnswer::from) })
    }
}
