//! What a service call gives back: the value, and how it came about.

use crate::defer::Ticket;
use crate::error::Error;
use crate::pipeline::service::{Accepted, Answer};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How an answer came about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// The service answered this very call.
    Done,
    /// The cache answered.
    Cached {
        /// How long ago the service gave the answer.
        age: Duration,
    },
    /// An identical call under way answered this one too.
    Coalesced,
    /// The call was made together with others.
    Batched {
        /// How many were made as one, this one included.
        size: usize,
    },
    /// The call was put off; it will be made when the ticket is due. There is no value yet.
    Deferred(Ticket),
    /// The call was acknowledged and is made at once by a worker. There is no value yet.
    Queued(Ticket),
    /// The service failed, and a fallback answered.
    Fallback {
        /// Why the service's own answer is not to be had.
        reason: String,
    },
}

impl Disposition {
    /// The ticket of a call that was not made yet.
    #[must_use]
    pub fn ticket(&self) -> Option<&Ticket> {
        match self {
            Self::Deferred(ticket) | Self::Queued(ticket) => Some(ticket),
            _ => None,
        }
    }
}

/// The key of one call in the store: the process that made it, and the call's number within it.
///
/// # Examples
///
/// ```
/// use poet_runtime::ExecutionId;
///
/// let id: ExecutionId = ExecutionId::new("0199c0de", 17);
/// assert_eq!(id.to_string(), "0199c0de-17");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExecutionId {
    run: Arc<str>,
    number: u64,
}

impl ExecutionId {
    /// The key of the call of that number in that process.
    pub fn new(run: impl Into<Arc<str>>, number: u64) -> Self {
        Self { run: run.into(), number }
    }

    /// The process.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The number within the process. It tells executions apart and says nothing about their order.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

/// The answer of a service call.
#[derive(Clone, Debug)]
pub struct Reply {
    answer: Answer<Arc<Value>>,
    cost: Option<f64>,
    /// What the service said instead of an answer, where a worker is to ask for it later.
    accepted: Option<Box<Accepted>>,
}

/// The key of the object that stands where a value is not there yet. What contains it is never sent to a service.
pub(crate) const PENDING: &str = "$poet.pending";

impl Reply {
    /// A reply from an answer; `price` is what one attempt costs, in the configured currency.
    #[must_use]
    pub fn new(answer: Answer<Value>, price: Option<f64>) -> Self {
        let Answer { value, disposition, attempts, elapsed, execution } = answer;
        Self::shared(Answer { value: Arc::new(value), disposition, attempts, elapsed, execution }, price)
    }

    /// The same for a value that others hold too.
    pub(crate) fn shared(answer: Answer<Arc<Value>>, price: Option<f64>) -> Self {
        let cost = price.map(|price| price * f64::from(answer.attempts));
        Self { answer, cost, accepted: None }
    }

    /// The same reply at another price.
    pub(crate) fn costing(self, cost: Option<f64>) -> Self {
        Self { cost, ..self }
    }

    /// The same, of a service that took the call on.
    pub(crate) fn accepted(self, accepted: Accepted) -> Self {
        Self { accepted: Some(Box::new(accepted)), ..self }
    }

    /// What the service said instead of an answer.
    pub(crate) fn is_accepted(&self) -> Option<&Accepted> {
        self.accepted.as_deref()
    }

    /// A reply without a value yet.
    pub(crate) fn pending(disposition: Disposition, elapsed: Duration, execution: ExecutionId) -> Self {
        let ticket = disposition.ticket().expect("only what has a ticket is pending");
        let value = json!({ PENDING: { "ticket": ticket.id(), "due": ticket.due().to_string() } });
        let answer = Answer { value: Arc::new(value), disposition, attempts: 0, elapsed, execution };
        Self { answer, cost: None, accepted: None }
    }

    /// The same after attempts that were made before the call was put off.
    pub(crate) fn after(mut self, attempts: u32, price: Option<f64>) -> Self {
        self.answer.attempts = attempts;
        self.cost = price.map(|price| price * f64::from(attempts));
        self
    }

    /// The ticket of a call that was put off or acknowledged; `None` where the value is there.
    #[must_use]
    pub fn ticket(&self) -> Option<&Ticket> {
        self.answer.disposition.ticket()
    }

    /// Whether the value is not there yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.ticket().is_some()
    }

    /// What the service answered.
    ///
    /// A call that was put off has no value yet: this is then an object that says so, which reads as `null` wherever
    /// it is looked into and is refused wherever it is sent. [`Reply::json`] is an error then.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.answer.value
    }

    /// [`value`](Self::value) as it is shared with the cache.
    pub(crate) fn shared_value(&self) -> &Arc<Value> {
        &self.answer.value
    }

    /// What the service answered, read as `T`.
    ///
    /// # Errors
    ///
    /// [`Error::is_pending`] if the call was put off, with the moment it is due;
    /// [`Error::is_invalid_response`] if the answer is not a `T`, where the source says where it differs.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if let Some(ticket) = self.answer.disposition.ticket() {
            return Err(Error::pending(ticket.due()));
        }
        T::deserialize(&*self.answer.value).map_err(Error::invalid_response)
    }

    /// How the answer came about.
    #[must_use]
    pub fn disposition(&self) -> &Disposition {
        &self.answer.disposition
    }

    /// Attempts made, those before it was put off or answered by a fallback included; 0 where the service was not asked.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.answer.attempts
    }

    /// From the call to the answer.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.answer.elapsed
    }

    /// The price of the attempts made, in the configured currency; `None` where no price is configured.
    #[must_use]
    pub fn cost(&self) -> Option<f64> {
        self.cost
    }

    /// The key of the call in the store.
    #[must_use]
    pub fn execution_id(&self) -> &ExecutionId {
        &self.answer.execution
    }

    /// The key under which the call can be found in the audit, which is its execution.
    #[must_use]
    pub fn audit_id(&self) -> &ExecutionId {
        &self.answer.execution
    }
}

/// Whether a value holds, at any depth, the place of one that is not there yet.
#[must_use]
pub fn is_pending(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.contains_key(PENDING) || map.values().any(is_pending),
        Value::Array(items) => items.iter().any(is_pending),
        _ => false,
    }
}
