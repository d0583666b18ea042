//! A job: a call that was put off, with everything that is needed to make it later.
//!
//! Six states. *Pending* waits to be due, *leased* is under way in some process, *done*, *failed* and *dead* have ended.
//! *Uncertain* is what a job becomes that may have been executed and must not be executed twice: only a person, or the
//! worker that held it and was merely slow, can say what came of it.
//!
//! Arguments are stored as they are, because the call has to be made with them; the file is readable by its owner only.
//! They are replaced by null when the job is done. A job that failed or was given up keeps them until it is pruned,
//! because it can be retried. Results are kept for [`crate::config::QueueConfig::keep`].

use crate::clock::Wall;
use crate::policy::jitter;
use crate::site::Priority;
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;
use uuid::{ContextV7, Timestamp, Uuid};

/// Why a call was put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The circuit of the service was open.
    ServiceDegraded,
    /// The service had asked to be left alone.
    RetryAfter,
    /// The call came in hours in which the service does badly.
    AvoidedHours,
    /// The call came in hours in which the service is maintained.
    Maintenance,
    /// The call was made, failed, and may be made again.
    Failed,
    /// Nobody waits for the answer.
    Acknowledged,
    /// The service took the call on and does it in its own time.
    Accepted,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::ServiceDegraded,
        Self::RetryAfter,
        Self::AvoidedHours,
        Self::Maintenance,
        Self::Failed,
        Self::Acknowledged,
        Self::Accepted,
    ];

    /// The name under which the reason is stored and reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceDegraded => "service_degraded",
            Self::RetryAfter => "retry_after",
            Self::AvoidedHours => "avoided_hours",
            Self::Maintenance => "maintenance",
            Self::Failed => "failed",
            Self::Acknowledged => "acknowledged",
            Self::Accepted => "accepted",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// The number of a job: a version 7 UUID, so that ids sort by the time they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

impl JobId {
    /// A new one. Those of one process rise even within a millisecond.
    #[must_use]
    pub fn new(now: Wall) -> Self {
        static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());
        let millis = now.millis().max(0).cast_unsigned();
        let nanos = u32::try_from(millis % 1000 * 1_000_000).expect("less than a second");
        Self(Uuid::new_v7(Timestamp::from_unix(&CONTEXT, millis / 1000, nanos)))
    }

    /// One without chance, for virtual time: the same of the same seed and number. Those of rising numbers rise.
    pub(crate) fn drawn(now: Wall, seed: u64, number: u64) -> Self {
        let millis = now.millis().max(0).cast_unsigned();
        // Around the number lies what tells the seeds apart; version and variant take some bits of the first and the
        // third byte.
        let tag = jitter::fraction(seed, 0).to_bits().to_be_bytes();
        let mut bytes = [0; 10];
        bytes[..3].copy_from_slice(&tag[3..6]);
        bytes[3..8].copy_from_slice(&number.to_be_bytes()[3..]);
        bytes[8..].copy_from_slice(&tag[6..]);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

/// A text that is no number of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidJobId(String);

impl fmt::Display for InvalidJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no number of a job; write one as `poet queue list` shows it", self.0)
    }
}

impl std::error::Error for InvalidJobId {}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidJobId(text.to_owned()))
    }
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It waits to be due, or for an older job of its order key.
    Pending,
    /// A worker is making the call.
    Leased,
    /// The service did what was asked.
    Done,
    /// The service refused for good.
    Failed,
    /// Given up: expired, cancelled, or out of attempts.
    Dead,
    /// It may have been executed, and must not be executed twice; a person has to look.
    Uncertain,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Leased, Self::Done, Self::Failed, Self::Dead, Self::Uncertain];

    /// The name under which the state is stored and reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Uncertain => "uncertain",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing more happens to the job by itself, nor has a person to look at it.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Dead)
    }

    /// Whether younger jobs of the same order key have to wait for it.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !self.has_ended()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A job before it is in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its number, given by whoever puts it there: the same one put there twice is one job.
    pub id: JobId,
    /// The name of the domain's profile.
    pub profile: String,
    /// The service that is called.
    pub service: String,
    /// The operation (tool) of it.
    pub operation: String,
    /// The arguments of the call.
    pub arguments: Map<String, Value>,
    /// What else the request says, as whoever runs the job reads it. The queue only keeps it.
    pub options: Value,
    /// Whether it may be executed twice.
    pub repeatable: bool,
    /// What is leased first among those that are due.
    pub priority: Priority,
    /// Jobs with the same key run one after the other, in the order in which they were put there.
    pub order_key: Option<String>,
    /// Why it was put off.
    pub reason: Reason,
    /// When it was made.
    pub created: Wall,
    /// When it may start.
    pub due: Wall,
    /// When it is given up if it has not started.
    pub expires: Wall,
    /// How often it is tried before it is given up.
    pub max_attempts: u32,
    /// The execution that was put off.
    pub execution: Option<String>,
    /// What the service is asked by, where it has taken the call on already.
    pub accepted: Option<String>,
}

impl NewJob {
    /// A job that is due at once, may not be repeated, is tried ten times and is given up after a day.
    #[must_use]
    pub fn new(
        profile: impl Into<String>,
        service: impl Into<String>,
        operation: impl Into<String>,
        now: Wall,
    ) -> Self {
        Self {
            id: JobId::new(now),
            profile: profile.into(),
            service: service.into(),
            operation: operation.into(),
            arguments: Map::new(),
            options: Value::Null,
            repeatable: false,
            priority: Priority::Normal,
            order_key: None,
            reason: Reason::Acknowledged,
            created: now,
            due: now,
            expires: now.after(Duration::from_secs(86_400)),
            max_attempts: 10,
            execution: None,
            accepted: None,
        }
    }
}

/// What a worker shows for the lease it holds. It rises with every lease and every verdict of a job, so that what an
/// earlier holder shows is worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token(pub u64);

/// A job in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// The name of the domain's profile.
    pub profile: String,
    /// The service that is called.
    pub service: String,
    /// The operation (tool) of it.
    pub operation: String,
    /// The arguments; `None` once it is done.
    pub arguments: Option<Map<String, Value>>,
    /// What else the request says; null once it is done.
    pub options: Value,
    /// Whether it may be executed twice.
    pub repeatable: bool,
    /// What is leased first among those that are due.
    pub priority: Priority,
    /// Jobs with the same key run one after the other.
    pub order_key: Option<String>,
    /// Why it was put off.
    pub reason: Reason,
    /// How far it has come.
    pub state: State,
    /// When it was made.
    pub created: Wall,
    /// When it may start.
    pub due: Wall,
    /// When it is given up if it has not started.
    pub expires: Wall,
    /// When it was last leased.
    pub started: Option<Wall>,
    /// When it was done, failed or given up.
    pub ended: Option<Wall>,
    /// How often it was tried, the present try included.
    pub attempts: u32,
    /// How often it is tried before it is given up.
    pub max_attempts: u32,
    /// The worker that holds it, or held it last.
    pub owner: Option<String>,
    /// What the holder of the newest lease has to show.
    pub token: Token,
    /// When the lease ends unless it is renewed; `None` where it is not leased.
    pub until: Option<Wall>,
    /// The execution that was put off.
    pub execution: Option<String>,
    /// What the service is asked by, where it has taken the call on: the job then asks, and starts nothing.
    pub accepted: Option<String>,
    /// What last went wrong, or why it was given up.
    pub error: Option<String>,
    /// What the service answered.
    pub result: Option<Value>,
    /// Who cancelled, retried or resolved it last, and what they wrote about it.
    pub resolved: Option<String>,
}

/// What came of one try, as the worker saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The service did it and answered this.
    Done(Value),
    /// The service refused for good, or it cannot be made at all.
    Failed(String),
    /// It was not executed, or may be executed again: not now, but then.
    Again {
        /// When.
        due: Wall,
        /// What went wrong.
        why: String,
        /// Whether it was a try; `false` where nothing was sent.
        counts_as_attempt: bool,
    },
    /// The service has taken it on and is to be asked what came of it.
    Accepted {
        /// By what.
        token: String,
        /// When.
        due: Wall,
        /// Why that is not known yet, if something went wrong.
        why: Option<String>,
    },
    /// It may have been executed and must not be executed twice.
    Uncertain(String),
}

/// What a person found out about an uncertain job.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// It was executed; with the answer, where it is known.
    Done(Option<Value>),
    /// It was not executed, and shall not be.
    Failed,
    /// It was not executed, and shall be.
    Again,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_within_a_millisecond_and_come_back_from_text() {
        let now = Wall::from_millis(1_800_000_000_123);
        let ids: Vec<_> = (0..1000).map(|_| JobId::new(now)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[7].to_string().parse(), Ok(ids[7]));
        let drawn: Vec<_> = (0..1000).map(|number| JobId::drawn(now, 7, number)).collect();
        assert!(
            drawn.is_sorted_by(|a, b| a < b) && drawn[999] < JobId::drawn(now.after(Duration::from_millis(1)), 7, 0)
        );
        assert_eq!(drawn[9].to_string().parse(), Ok(JobId::drawn(now, 7, 9)));
        assert_ne!(drawn[9], JobId::drawn(now, 8, 9));
        assert!("seven".parse::<JobId>().unwrap_err().to_string().contains("`seven`"));
    }

    #[test]
    fn names_come_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.as_str()), Some(state));
        }
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
        }
    }
}
