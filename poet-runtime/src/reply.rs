//! What a service call gives back: the value, and how it came about.

use crate::error::Error;
use crate::pipeline::service::Answer;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How an answer came about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// The service answered this very call.
    Done,
    /// An identical call under way answered this one too.
    Coalesced,
    /// The service failed, and a fallback answered.
    Fallback {
        /// Why the service's own answer is not to be had.
        reason: String,
    },
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

    /// The number within the process.
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
    answer: Answer<Value>,
    price: Option<f64>,
}

impl Reply {
    /// A reply from an answer; `price` is what one attempt costs, in the configured currency.
    #[must_use]
    pub fn new(answer: Answer<Value>, price: Option<f64>) -> Self {
        Self { answer, price }
    }

    /// What the service answered.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.answer.value
    }

    /// What the service answered, read as `T`.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_response`] if the answer is not a `T`; the source says where it differs.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.answer.value).map_err(Error::invalid_response)
    }

    /// How the answer came about.
    #[must_use]
    pub fn disposition(&self) -> &Disposition {
        &self.answer.disposition
    }

    /// Attempts made; 0 where the service was not asked.
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
        self.price.map(|price| price * f64::from(self.answer.attempts))
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
