//! The one error type of the framework.
//!
//! Opaque, because what callers decide by is a handful of questions, and those are methods: was it a timeout, is the
//! circuit open, may it have been executed. The service's own error is kept as the source. A function under `#[poet]`
//! needs only an error that is `From<Error>` to be refused, timed out and retried.

use crate::clock::Wall;
use crate::outcome::{Class, Ending};
use crate::reply::ExecutionId;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Why a call under the framework did not return the service's answer.
///
/// # Examples
///
/// ```
/// use poet_runtime::Error;
///
/// fn advice(error: &Error) -> &'static str {
///     if error.is_outcome_unknown() {
///         "look before you repeat it"
///     } else if error.is_circuit_open() || error.is_throttled() {
///         "the service is resting; come back later"
///     } else {
///         "read the source"
///     }
/// }
/// assert_eq!(advice(&Error::configuration("service `crm` is not configured")), "read the source");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    service: String,
    operation: String,
    attempts: u8,
    elapsed: Duration,
    source: Option<Source>,
    audit: Option<ExecutionId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Kind {
    Timeout { limit: Duration },
    Deadline { limit: Duration },
    CircuitOpen { retry_in: Option<Duration> },
    Crowded { waiting: u32 },
    Throttled { retry_after: Option<Duration> },
    OutcomeUnknown,
    BudgetExhausted,
    Denied,
    InvalidResponse,
    Configuration,
    Unrecorded { sent: bool },
    Pending { due: Wall },
    Service { class: Class },
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Box::new(Inner {
            kind,
            service: String::new(),
            operation: String::new(),
            attempts: 0,
            elapsed: Duration::ZERO,
            source: None,
            audit: None,
        }))
    }

    pub(crate) fn at(mut self, service: &str, operation: &str) -> Self {
        if self.0.service.is_empty() {
            service.clone_into(&mut self.0.service);
            operation.clone_into(&mut self.0.operation);
        }
        self
    }

    pub(crate) fn after(mut self, attempts: u8, elapsed: Duration) -> Self {
        self.0.attempts = attempts;
        self.0.elapsed = elapsed;
        self
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: Option<Source>) -> Self {
        self.0.source = source;
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Something is configured wrongly, so that nothing was sent.
    #[cold]
    pub fn configuration(message: impl Into<Source>) -> Self {
        Self::new(Kind::Configuration).with_source(Some(message.into()))
    }

    /// A check refused the call, so that nothing was sent.
    #[cold]
    pub fn denied(message: impl Into<Source>) -> Self {
        Self::new(Kind::Denied).with_source(Some(message.into()))
    }

    /// The service answered, but not with what was agreed.
    #[cold]
    pub fn invalid_response(message: impl Into<Source>) -> Self {
        Self::new(Kind::InvalidResponse).with_source(Some(message.into()))
    }

    /// The service's own error, of a class.
    #[cold]
    pub fn service(class: Class, source: impl Into<Source>) -> Self {
        Self::new(Kind::Service { class }).with_source(Some(source.into()))
    }

    /// A value was asked for that will be there later.
    #[cold]
    pub(crate) fn pending(due: Wall) -> Self {
        Self::new(Kind::Pending { due })
    }

    /// Whether the value is not there yet because its call was put off. [`Reply::disposition`](crate::Reply::disposition)
    /// has the ticket.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.0.kind, Kind::Pending { .. })
    }

    /// Whether one attempt, the last one, took longer than it was given.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::Timeout { .. })
    }

    /// Whether the time for the whole call was up.
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.0.kind, Kind::Deadline { .. })
    }

    /// Whether the call was refused because its circuit was open. Nothing was sent.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        matches!(self.0.kind, Kind::CircuitOpen { .. })
    }

    /// Whether the call was refused because so many of its operation were under way that its turn would not have come
    /// before its deadline. Nothing was sent.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        matches!(self.0.kind, Kind::Crowded { .. })
    }

    /// Whether the service asked to be left alone; [`Error::retry_after`] says for how long.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        matches!(self.0.kind, Kind::Throttled { .. } | Kind::Service { class: Class::Throttled { .. } })
    }

    /// Whether the operation may have been executed and was not started again, because it is not known to be
    /// repeatable. Look before you repeat it.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self.0.kind, Kind::OutcomeUnknown)
    }

    /// Whether a retry was due but the retry budget of the service or of the execution was used up.
    #[must_use]
    pub fn is_budget_exhausted(&self) -> bool {
        matches!(self.0.kind, Kind::BudgetExhausted)
    }

    /// Whether a check refused the call. Nothing was sent.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.0.kind, Kind::Denied)
    }

    /// Whether the service answered with something else than was agreed.
    #[must_use]
    pub fn is_invalid_response(&self) -> bool {
        matches!(self.0.kind, Kind::InvalidResponse)
    }

    /// Whether the audit of the call is strict and could not be written down. Either nothing was sent, or what was asked was
    /// done, may be done twice, and its answer is withheld ([`attempts`](Self::attempts) says which): the call may be made
    /// again. Where what was done must not be done twice, this is [`is_outcome_unknown`](Self::is_outcome_unknown).
    #[must_use]
    pub fn is_unrecorded(&self) -> bool {
        matches!(self.0.kind, Kind::Unrecorded { .. })
    }

    /// The key under which the call can be found in the audit, where that is on: `poet audit show`.
    #[must_use]
    pub fn audit_id(&self) -> Option<&ExecutionId> {
        self.0.audit.as_ref()
    }

    /// Says under which key the call is found in the audit, unless it is said already.
    pub(crate) fn in_audit(mut self, id: ExecutionId) -> Self {
        self.0.audit.get_or_insert(id);
        self
    }

    /// Whether something is configured wrongly. Nothing was sent.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self.0.kind, Kind::Configuration)
    }

    /// Whether this is the service's own error, which is the source.
    #[must_use]
    pub fn is_service(&self) -> bool {
        matches!(self.0.kind, Kind::Service { .. })
    }

    /// How long to leave the service alone, as far as it or its circuit said.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            Kind::Throttled { retry_after } | Kind::Service { class: Class::Throttled { retry_after } } => retry_after,
            Kind::CircuitOpen { retry_in } => retry_in,
            _ => None,
        }
    }

    /// Attempts made before giving up; 0 if nothing was sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        u32::from(self.0.attempts)
    }

    /// How long the call took.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The service that was called; empty for an error outside any call.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.0.service
    }

    /// The operation that was called; empty for an error outside any call.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The class of this error where a function returns it: what the attempt around that function was.
    ///
    /// A refusal is no failure of the service; around a function it counts as one that a retry cannot mend.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.0.kind {
            Kind::Timeout { .. } => Class::Timeout,
            Kind::Service { class } => class,
            Kind::InvalidResponse => Class::Invalid,
            Kind::Deadline { .. }
            | Kind::CircuitOpen { .. }
            | Kind::Crowded { .. }
            | Kind::Throttled { .. }
            | Kind::OutcomeUnknown
            | Kind::BudgetExhausted
            | Kind::Denied
            | Kind::Configuration
            | Kind::Unrecorded { .. }
            | Kind::Pending { .. } => Class::Permanent,
        }
    }

    /// Whether the call that ended with this may be made again, here or elsewhere: it is known to be repeatable, or it
    /// was not executed.
    pub(crate) fn allows_another(&self, repeatable: bool) -> bool {
        repeatable
            || match self.0.kind {
                // A budget withholds only retries that would have been safe.
                Kind::BudgetExhausted
                | Kind::CircuitOpen { .. }
                | Kind::Crowded { .. }
                | Kind::Throttled { .. }
                | Kind::Denied
                | Kind::Configuration
                | Kind::Unrecorded { sent: false } => true,
                Kind::Deadline { .. } => self.0.attempts == 0,
                Kind::Service { class } => !class.may_have_run(),
                Kind::Timeout { .. }
                | Kind::OutcomeUnknown
                | Kind::InvalidResponse
                | Kind::Unrecorded { sent: true }
                | Kind::Pending { .. } => false,
            }
    }

    pub(crate) fn ending(&self) -> Ending {
        match self.0.kind {
            Kind::CircuitOpen { .. } => Ending::CircuitOpen,
            Kind::Crowded { .. } => Ending::Crowded,
            Kind::Throttled { .. } => Ending::Throttled,
            Kind::Deadline { .. } => Ending::Deadline,
            Kind::Denied | Kind::Configuration | Kind::Unrecorded { sent: false } | Kind::Pending { .. } => {
                Ending::Denied
            }
            Kind::OutcomeUnknown => Ending::OutcomeUnknown,
            Kind::Timeout { .. }
            | Kind::BudgetExhausted
            | Kind::InvalidResponse
            | Kind::Unrecorded { sent: true }
            | Kind::Service { .. } => Ending::Failed,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("service", &self.0.service)
            .field("operation", &self.0.operation)
            .field("attempts", &self.0.attempts)
            .field("elapsed", &self.0.elapsed)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if !inner.service.is_empty() {
            write!(f, "calling {} of {}: ", inner.operation, inner.service)?;
        }
        match inner.kind {
            Kind::Timeout { limit } => write!(f, "no answer within {:?}", readable(limit))?,
            Kind::Deadline { limit } => write!(f, "the deadline of {:?} has passed", readable(limit))?,
            Kind::CircuitOpen { retry_in: Some(wait) } => write!(f, "the circuit is open for another {wait:.1?}")?,
            Kind::CircuitOpen { retry_in: None } => write!(f, "the circuit is being probed by other calls")?,
            Kind::Crowded { waiting } => {
                write!(f, "all places are taken, and {waiting} calls wait for one: its turn would come too late")?;
            }
            Kind::Throttled { retry_after: Some(wait) } => write!(f, "the service asked to wait {wait:.1?}")?,
            Kind::Throttled { retry_after: None } => write!(f, "the service asked to be left alone")?,
            Kind::OutcomeUnknown => {
                write!(f, "it may have been executed, and it is not known to be repeatable")?;
            }
            Kind::BudgetExhausted => write!(f, "the retry budget is used up")?,
            Kind::Denied => write!(f, "refused")?,
            Kind::InvalidResponse => write!(f, "the answer is not what was agreed")?,
            Kind::Configuration => write!(f, "not configured")?,
            Kind::Unrecorded { sent: false } => write!(f, "not sent, because its audit is strict")?,
            Kind::Unrecorded { sent: true } => write!(f, "its answer is withheld, because its audit is strict")?,
            Kind::Pending { due } => write!(f, "the call was put off; its answer is due at {due}")?,
            Kind::Service { class } => write!(f, "the service failed ({})", class.as_str())?,
        }
        if inner.attempts > 1 {
            write!(f, " (after {} attempts)", inner.attempts)?;
        }
        // The cause is one word away for a reader of a log line, and still there as `source`.
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

/// To the millisecond: what a surrounding deadline left is a number of nanoseconds that nobody chose.
fn readable(limit: Duration) -> Duration {
    let half = Duration::from_micros(500);
    let rounded = limit.saturating_add(half).as_millis();
    if rounded < 10 { limit } else { u64::try_from(rounded).map_or(limit, Duration::from_millis) }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.to_string()
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.0.kind {
            Kind::Timeout { .. } | Kind::Deadline { .. } => std::io::ErrorKind::TimedOut,
            Kind::InvalidResponse => std::io::ErrorKind::InvalidData,
            Kind::Denied => std::io::ErrorKind::PermissionDenied,
            _ => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_call_the_attempts_and_the_cause() {
        let error = Error::service(Class::Transient, "503 from upstream")
            .at("salesforce_crm", "update_contact")
            .after(3, Duration::from_secs(2));
        assert_eq!(
            error.to_string(),
            "calling update_contact of salesforce_crm: the service failed (transient) (after 3 attempts): 503 from upstream"
        );
    }

    #[test]
    fn an_open_circuit_is_no_failure_of_the_service_and_is_never_retried() {
        let error = Error::new(Kind::CircuitOpen { retry_in: None });
        assert!(!error.class().is_retryable());
        assert_eq!(error.ending(), Ending::CircuitOpen);
    }
}
