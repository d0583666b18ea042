//! What is written down about one call: who asked for what, whether it was allowed, what was decided and by whom.
//!
//! Names in here are stored and read by machines, so they do not change. Arguments are hashes but for those that are
//! allowed by name; no text in here is one that may hold a secret, see [`super::redact`].

use crate::clock::Wall;
use crate::outcome::Ending;
use crate::store::TargetKey;
use serde::{Deserialize, Serialize};

/// What is written down about one call.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// The key of the call, as [`Reply::audit_id`](crate::Reply::audit_id) says it.
    pub execution: String,
    /// What was called.
    pub target: TargetKey,
    /// The annotated function around it (`module::function`), where there is one.
    pub function: Option<String>,
    /// The execution of that function.
    pub inside: Option<String>,
    /// The job it was put off as, or was made for.
    pub job: Option<String>,
    /// When it began.
    pub began: Wall,
    /// When it ended; `None` while it is about to be made, and for ever where its process was killed meanwhile.
    pub ended: Option<Wall>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// Arguments by which it can be found: allowed ones as they are, all others as a hash that begins with `#`.
    pub fields: Vec<(String, String)>,
    /// All else.
    pub detail: Detail,
}

/// What is written down about a call and never looked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// `on` or `strict`.
    pub level: String,
    /// How much it mattered.
    pub priority: String,
    /// Whether it may be executed more than once.
    pub repeatable: bool,
    /// Who says so; `None` where nobody does, and it is taken for a write.
    pub declared: Option<Declared>,
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Which rule allowed or denied it.
    pub access: Option<AccessRule>,
    /// Whether its arguments are as declared.
    pub arguments: Validation,
    /// Whether its answer is.
    pub answer: Validation,
    /// A keyed hash of all its arguments; `None` where the caller has none to show.
    pub fingerprint: Option<String>,
    /// A keyed hash of the credentials it was sent with; `None` where there are none.
    pub identity: Option<String>,
    /// The execution that was put off and is made here.
    pub made_for: Option<String>,
    /// What was decided, in order.
    pub decisions: Vec<Decision>,
    /// Decisions beyond [`MAX_DECISIONS`].
    pub left_out: u32,
    /// Attempts made, those at a fallback included.
    pub attempts: u32,
    /// Seconds from the call to its end.
    pub seconds: f64,
    /// The price of the attempts, in the configured currency; `None` where no price is configured.
    pub cost: Option<f64>,
    /// How the answer came about; `None` where an error was given.
    pub disposition: Option<String>,
    /// The error that was given, without what may be secret in it.
    pub error: Option<String>,
}

/// The most decisions of one entry.
pub const MAX_DECISIONS: usize = 64;

/// Who says that a call may, or may not, be executed more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Declared {
    /// The call itself.
    Call,
    /// The configuration.
    Configuration,
    /// The server, which is trusted.
    TrustedServer,
    /// The method of the request, as its protocol has it.
    Protocol,
}

/// The rule by which a call was allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    /// Whether it was allowed.
    pub allowed: bool,
    /// Which rule said so.
    pub rule: String,
}

/// What came of holding arguments or an answer against what was declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Validation {
    /// Nobody looks, or it did not come to that.
    #[default]
    NotChecked,
    /// There is no schema to hold it against.
    NoSchema,
    /// It is as declared.
    Passed,
    /// It is not.
    Failed,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Seconds after the call began.
    pub at: f64,
    /// What was decided.
    #[serde(flatten)]
    pub what: What,
    /// Who decided it.
    pub by: Decider,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// Answered with a kept answer.
    Cached {
        /// Its age in seconds.
        age: f64,
    },
    /// Joined an identical call under way.
    Joined,
    /// Made together with others.
    Batched {
        /// How many, this one included.
        size: usize,
        /// The execution of the call for all.
        execution: Option<String>,
    },
    /// Put off.
    PutOff {
        /// Why.
        reason: String,
        /// The job it became.
        job: String,
        /// When that is due.
        due: String,
    },
    /// Waited.
    Waited {
        /// What for.
        why: Wait,
        /// How long, in seconds.
        seconds: f64,
    },
    /// One attempt.
    Attempted {
        /// 1 for the first.
        number: u8,
        /// What it was: `success`, `transient`, …
        class: String,
        /// How long it took, in seconds.
        seconds: f64,
        /// The longest it might have taken, in seconds.
        limit: f64,
        /// Whether it found out if the service is back.
        probe: bool,
    },
    /// Another attempt was made after a failure.
    Retried {
        /// The kind of failure.
        after: String,
    },
    /// A second copy was sent beside the first.
    Raced,
    /// Fetched anew while nobody waits, because a kept answer was given.
    Refreshed,
    /// Refused before an attempt.
    Refused {
        /// Why: `circuit_open`, `throttled`, `crowded`, `deadline`, `access`, `arguments`, `configuration`,
        /// `unreachable`, `queue`, `audit`.
        why: String,
        /// After how many seconds it may be asked again.
        retry_in: Option<f64>,
    },
    /// No further attempt was made.
    GaveUp {
        /// Why: `attempts`, `permanent`, `not_repeatable`, `deadline`, `execution_budget`, `service_budget`,
        /// `circuit_open`, `batch`.
        why: String,
    },
    /// Somebody else answered.
    FellBack {
        /// Who: `cache`, `service`, `handler`.
        to: String,
        /// The execution of the other service's call.
        execution: Option<String>,
    },
    /// Dropped by whoever waited for it.
    Dropped {
        /// Whether an attempt was under way, and may have been executed.
        under_way: bool,
    },
}

/// What a call waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wait {
    /// The service asked to be left alone.
    RetryAfter,
    /// The delay before a retry.
    Backoff,
    /// As many attempts were under way as may be.
    Concurrency,
}

/// Who decided, and by which value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decider {
    /// Who.
    pub who: Who,
    /// The parameter that was obeyed, as in `poet params list`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parameter: Option<String>,
    /// Its value, in the parameter's unit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
    /// The move of it that was in force, as in `poet params history`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision: Option<u64>,
}

impl From<Who> for Decider {
    fn from(who: Who) -> Self {
        Self { who, parameter: None, value: None, revision: None }
    }
}

/// Who may have decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Who {
    /// A default of the profile.
    Default,
    /// The configuration.
    Configuration,
    /// A number written on the call.
    Call,
    /// A person, by `poet params`.
    Person,
    /// What was learned.
    Learned,
    /// What was in force before, or would be without learning: the call was held out for comparison.
    HeldOut,
    /// The service.
    Service,
    /// A rule that nothing moves: never twice, the retry budgets, the audit itself.
    Rule,
    /// Whoever made the call, or the function around it.
    Caller,
}

/// Which entries are wanted: all of what is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditFilter {
    /// Of this execution.
    pub execution: Option<String>,
    /// Of this service.
    pub service: Option<String>,
    /// Of this operation.
    pub operation: Option<String>,
    /// That began then or later.
    pub since: Option<Wall>,
    /// That ended so.
    pub ending: Option<Ending>,
    /// That have not ended: about to be made, or left so by a process that was killed.
    pub unfinished: bool,
    /// With this argument, under one of these spellings: as it is, and hashed.
    pub field: Option<(String, Vec<String>)>,
    /// Whose execution begins like this.
    pub prefix: Option<String>,
    /// Put off as this job, or made for it.
    pub job: Option<String>,
    /// Made inside this execution of a function.
    pub inside: Option<String>,
}

/// What is missing from an audit, since there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditCounts {
    /// Calls without an entry, because more ended than could be stored.
    pub dropped: u64,
    /// Entries that were deleted before their time, because there were more than are kept.
    pub deleted: u64,
}

impl AuditEntry {
    /// An entry of a call that begins.
    #[must_use]
    pub fn begun(execution: impl Into<String>, target: TargetKey, began: Wall) -> Self {
        Self {
            execution: execution.into(),
            target,
            function: None,
            inside: None,
            job: None,
            began,
            ended: None,
            ending: None,
            fields: Vec::new(),
            detail: Detail::default(),
        }
    }

    /// Whether an entry is one that is wanted.
    pub(crate) fn passes(&self, filter: &AuditFilter) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, found: &T) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        }
        is(&filter.execution, &self.execution)
            && is(&filter.service, &self.target.service)
            && is(&filter.operation, &self.target.operation)
            && filter.since.is_none_or(|since| self.began >= since)
            && (filter.ending.is_none() || filter.ending == self.ending)
            && !(filter.unfinished && self.ended.is_some())
            && filter.field.as_ref().is_none_or(|(name, values)| {
                self.fields.iter().any(|(field, value)| field == name && values.contains(value))
            })
            && filter.prefix.as_ref().is_none_or(|prefix| self.execution.starts_with(prefix))
            && (filter.job.is_none() || filter.job == self.job)
            && (filter.inside.is_none() || filter.inside == self.inside)
    }
}
