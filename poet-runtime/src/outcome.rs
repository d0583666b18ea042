//! What happened: the class of an attempt, the ending of a call, and the record the pipeline hands to the recorder.
//!
//! Only attempts that reached the service are evidence about the service. Everything else a call can end with
//! (refused, joined, answered by a fallback, dropped by its caller) is counted, but apart.

use crate::site::Declaration;
use std::time::{Duration, Instant};

/// What a finished attempt was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The service answered and did what was asked.
    Success,
    /// The service answered that it cannot just now (5xx, overloaded, restarting).
    Transient,
    /// The connection failed. `sent` says whether the request may have reached the service.
    Network {
        /// Whether the request may have reached the service, and so may have been executed.
        sent: bool,
    },
    /// The attempt did not finish within its time; whether it was executed is unknown.
    Timeout,
    /// The service refused for its own protection, before executing anything.
    Throttled {
        /// How long the service asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// Asking again cannot help: validation, authentication, not found.
    Permanent,
    /// The service answered, but the answer failed validation.
    Invalid,
    /// The caller dropped the call before it finished.
    Cancelled,
}

impl Class {
    /// Whether the operation may have been executed, so that only a repeatable one may be started again.
    #[must_use]
    pub const fn may_have_run(self) -> bool {
        !matches!(self, Self::Network { sent: false } | Self::Throttled { .. })
    }

    /// Whether the same request could succeed if it were sent again.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        self.failure().is_some()
    }

    /// The kind of failure that retries are learned by; `None` for success and for what a retry cannot mend.
    #[must_use]
    pub const fn failure(self) -> Option<FailureKind> {
        match self {
            Self::Transient => Some(FailureKind::Transient),
            Self::Network { sent: false } => Some(FailureKind::Connect),
            Self::Network { sent: true } => Some(FailureKind::Lost),
            Self::Timeout => Some(FailureKind::Timeout),
            Self::Throttled { .. } => Some(FailureKind::Throttled),
            Self::Invalid => Some(FailureKind::Invalid),
            Self::Success | Self::Permanent | Self::Cancelled => None,
        }
    }

    /// The name under which the class is stored and reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Permanent => "permanent",
            Self::Cancelled => "cancelled",
            Self::Transient => FailureKind::Transient.as_str(),
            Self::Network { sent: false } => FailureKind::Connect.as_str(),
            Self::Network { sent: true } => FailureKind::Lost.as_str(),
            Self::Timeout => FailureKind::Timeout.as_str(),
            Self::Throttled { .. } => FailureKind::Throttled.as_str(),
            Self::Invalid => FailureKind::Invalid.as_str(),
        }
    }
}

/// The kinds of failure that a retry may mend; retries are learned for each apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FailureKind {
    /// The service answered that it cannot just now.
    Transient,
    /// No connection; nothing was sent.
    Connect,
    /// The connection was lost after the request may have been sent.
    Lost,
    /// No answer in time.
    Timeout,
    /// The service asked to be left alone.
    Throttled,
    /// The answer failed validation.
    Invalid,
}

impl FailureKind {
    /// Every kind, in the order of their discriminants.
    pub const ALL: [Self; 6] =
        [Self::Transient, Self::Connect, Self::Lost, Self::Timeout, Self::Throttled, Self::Invalid];

    /// The name under which the kind is stored and reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Connect => "connect",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Invalid => "invalid",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The position in [`FailureKind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ending {
    /// The service answered successfully.
    Done,
    /// The last attempt failed and no further one was made.
    Failed,
    /// Nothing is known about whether the operation was executed; it was not started again.
    OutcomeUnknown,
    /// Refused because the circuit was open.
    CircuitOpen,
    /// Refused because the service had asked to be left alone for longer than the caller could wait.
    Throttled,
    /// Refused or given up because the deadline had passed before an attempt could start.
    Deadline,
    /// Refused by a check in perceive or enforce.
    Denied,
    /// Answered by joining an identical call that was under way.
    Coalesced,
    /// Answered by the fallback after the service failed.
    Fallback,
    /// Dropped by the caller.
    Cancelled,
    /// Answered from the cache.
    Cached,
    /// Answered as one item of a call that was made for several.
    Batched,
    /// Put off: a durable job will make the call when it is due.
    Deferred,
    /// Acknowledged: a durable job makes the call at once, and nobody waits for it.
    Queued,
    /// Refused because its turn would not have come before its deadline: as many attempts as may be were under way.
    Crowded,
}

impl Ending {
    /// Every ending, in the order of their discriminants.
    pub const ALL: [Self; 15] = [
        Self::Done,
        Self::Failed,
        Self::OutcomeUnknown,
        Self::CircuitOpen,
        Self::Throttled,
        Self::Deadline,
        Self::Denied,
        Self::Coalesced,
        Self::Fallback,
        Self::Cancelled,
        Self::Cached,
        Self::Batched,
        Self::Deferred,
        Self::Queued,
        Self::Crowded,
    ];

    /// The name under which the ending is stored and reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::CircuitOpen => "circuit_open",
            Self::Throttled => "throttled",
            Self::Deadline => "deadline",
            Self::Denied => "denied",
            Self::Coalesced => "coalesced",
            Self::Fallback => "fallback",
            Self::Cancelled => "cancelled",
            Self::Cached => "cached",
            Self::Batched => "batched",
            Self::Deferred => "deferred",
            Self::Queued => "queued",
            Self::Crowded => "crowded",
        }
    }

    /// The ending of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| ending.as_str() == name)
    }
}

/// Why a retry that was due was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Withheld {
    /// The operation may have been executed and is not known to be repeatable.
    NotRepeatable,
    /// Its wait would have ended after the deadline.
    Deadline,
    /// The retries of this execution were used up.
    ExecutionBudget,
    /// The retries of this service were used up.
    ServiceBudget,
    /// The circuit had opened in the meantime.
    CircuitOpen,
}

impl Withheld {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 5] =
        [Self::NotRepeatable, Self::Deadline, Self::ExecutionBudget, Self::ServiceBudget, Self::CircuitOpen];

    /// The name under which the reason is stored and reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRepeatable => "not_repeatable",
            Self::Deadline => "deadline",
            Self::ExecutionBudget => "execution_budget",
            Self::ServiceBudget => "service_budget",
            Self::CircuitOpen => "circuit_open",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// The number of a (service, operation) pair within one runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// One attempt that reached, or tried to reach, the service.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// 1 for the first attempt of a call.
    pub ordinal: u8,
    /// What it was.
    pub class: Class,
    /// How long it took; for a timeout, how long it was waited for (a censored latency, not a latency).
    pub elapsed: Duration,
    /// The failure of the attempt before it in the same call.
    pub after: Option<FailureKind>,
    /// Whether the circuit was half-open, so that this was a probe and not ordinary evidence.
    pub probe: bool,
    /// Whether the deadline of the call ended it before its own limit did.
    pub at_deadline: bool,
    /// How long the call waited before it, as a bin of [`crate::evidence::wait_bin`]; `None` for a first attempt.
    pub waited: Option<u8>,
    /// How many attempts of the operation were under way when it began, itself included, as a bin of
    /// [`crate::evidence::load_bin`].
    pub load: u8,
    /// What it had to do with a second copy of the same request.
    pub hedge: Hedge,
    /// The longest it gave no sign of life, where it gave any before it ended; `None` means that it gave none.
    pub silent: Option<Duration>,
}

impl Attempt {
    /// A first attempt, which waited for nothing, was alone and nobody's probe.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::{Attempt, Class, FailureKind};
    /// use std::time::Duration;
    ///
    /// let first = Attempt::first(Class::Success, Duration::from_millis(5));
    /// let retry = Attempt { ordinal: 2, after: Some(FailureKind::Transient), ..first };
    /// assert_eq!((first.ordinal, retry.load), (1, 0));
    /// ```
    #[must_use]
    pub const fn first(class: Class, elapsed: Duration) -> Self {
        Self {
            ordinal: 1,
            class,
            elapsed,
            after: None,
            probe: false,
            at_deadline: false,
            waited: None,
            load: 0,
            hedge: Hedge::None,
            silent: None,
        }
    }
}

/// Whether an attempt was raced by a second copy of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Hedge {
    /// There was no second copy.
    #[default]
    None,
    /// There was one, and it did not answer first.
    Lost,
    /// There was one, and it answered first.
    Won,
}

impl Hedge {
    /// Every case, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::None, Self::Lost, Self::Won];
}

/// Which values a call was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Arm {
    /// Those in force.
    #[default]
    InForce,
    /// The last good ones: it was held out, so that what is in force can be compared with them.
    HeldOut,
    /// Those in force, but it is compared with nothing: it matters too much to be held out, or it was allowed one retry
    /// more to see what no longer is tried. Others beside it would not be its like.
    Aside,
    /// Those of profile and configuration: it was held out while nothing is on trial, so that what learning brings is
    /// measured all the time.
    Unlearned,
}

impl Arm {
    /// Every arm, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::InForce, Self::HeldOut, Self::Aside, Self::Unlearned];
}

/// What a circuit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opened.
    Opened {
        /// The failures that opened it, by [`FailureKind::index`]: they belong to the outage, not to the service when
        /// it is up.
        blamed: [u8; FailureKind::ALL.len()],
        /// Whether it had closed so shortly before that the service was not back after all.
        relapsed: bool,
    },
    /// It closed: the service is back. Both times count from the first of the failures that opened it.
    Closed {
        /// When it was last seen down.
        down_for: Duration,
        /// When it was first seen back.
        back_after: Duration,
    },
}

/// How the whole call went.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// How it ended for the caller.
    pub ending: Ending,
    /// Attempts made; 0 if the call was refused, joined or answered without the service.
    pub attempts: u8,
    /// From entering the pipeline to leaving it.
    pub elapsed: Duration,
    /// The limit of one attempt that was in force.
    pub timeout: Duration,
    /// The retries that were allowed after the kind of failure that allows most.
    pub retries: u8,
    /// The revision of the parameters that were in force.
    pub revision: u64,
    /// Why a retry that was due was not made.
    pub withheld: Option<Withheld>,
    /// What else the call showed, beside how it went.
    pub shown: Option<Shown>,
    /// Which values it was made with.
    pub arm: Arm,
}

impl Finished {
    /// A call that ended so after one attempt, with no limits, in no time.
    #[must_use]
    pub const fn of(ending: Ending) -> Self {
        Self {
            ending,
            attempts: 1,
            elapsed: Duration::ZERO,
            timeout: Duration::ZERO,
            retries: 0,
            revision: 0,
            withheld: None,
            shown: None,
            arm: Arm::InForce,
        }
    }
}

/// What a finished call shows beside its class and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// An answer that was asked for again, and whether it was another one by then.
    Refetched {
        /// The age of the answer before, as a bin of [`crate::evidence::age_bin`].
        age: u8,
        /// Whether the new answer differs from it.
        changed: bool,
    },
    /// A call for several items at once.
    Batch {
        /// How many.
        items: u16,
    },
}

/// What the pipeline hands to the recorder: an attempt, the end of a call, or both at once; or what a circuit did.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Which service and operation.
    pub target: TargetId,
    /// The function site, where the call was one.
    pub function: Option<&'static Declaration>,
    /// The number of the execution within this process.
    pub execution: u64,
    /// When it ended.
    pub ended: Instant,
    /// The attempt that ended.
    pub attempt: Option<Attempt>,
    /// The call that ended.
    pub call: Option<Finished>,
    /// What the circuit of the target did. Stands alone: a record of it has neither attempt nor call.
    pub turn: Option<Turn>,
}

impl Record {
    /// A record of one execution in which nothing stands yet.
    #[must_use]
    pub const fn new(target: TargetId, execution: u64, ended: Instant) -> Self {
        Self { target, function: None, execution, ended, attempt: None, call: None, turn: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_kind_stands_at_its_index_and_is_found_by_name() {
        for (index, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert_eq!(FailureKind::from_name(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn every_ending_is_found_by_name() {
        for ending in Ending::ALL {
            assert_eq!(Ending::from_name(ending.as_str()), Some(ending));
        }
    }

    #[test]
    fn every_reason_is_found_by_name_and_stands_at_its_discriminant() {
        for (index, reason) in Withheld::ALL.into_iter().enumerate() {
            assert_eq!((reason as usize, Withheld::from_name(reason.as_str())), (index, Some(reason)));
        }
    }

    #[test]
    fn only_what_was_surely_not_executed_may_be_repeated_freely() {
        assert!(!Class::Network { sent: false }.may_have_run());
        assert!(!Class::Throttled { retry_after: None }.may_have_run());
        assert!(Class::Timeout.may_have_run());
        assert!(Class::Transient.may_have_run());
    }
}
