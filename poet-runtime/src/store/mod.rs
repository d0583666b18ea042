//! Where evidence, outcomes and parameters outlive the process.
//!
//! The trait speaks of evidence and parameters, never of SQL, and is asynchronous because an engine across the
//! network would be; the embedded implementations answer at once. Any implementation must pass [`conformance`].

pub mod conformance;
mod memory;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

pub use memory::MemoryStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

use crate::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey};
use crate::clock::Wall;
use crate::evidence::{Felt, History, PastHour};
use crate::outcome::{Ending, FailureKind, Withheld};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future of a store.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A service and an operation of it, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// The service.
    pub service: String,
    /// The operation (tool, function).
    pub operation: String,
}

/// One finished call as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct OutcomeRow {
    /// What was called.
    pub target: TargetKey,
    /// The function site (`module::function`), where the call was one.
    pub function: Option<String>,
    /// The process that made the call.
    pub run: String,
    /// The number of the execution within the process.
    pub execution: u64,
    /// When it ended.
    pub ended: Wall,
    /// How it ended.
    pub ending: Ending,
    /// The class of the last attempt; `None` where none was made.
    pub class: Option<String>,
    /// Attempts made.
    pub attempts: u8,
    /// How long it took.
    pub elapsed: Duration,
    /// The limit of one attempt that was in force.
    pub timeout: Duration,
    /// The retries that were allowed.
    pub retries: u8,
    /// The revision of the parameters that were in force; 0 where nothing was learned yet.
    pub revision: u64,
    /// Why a retry that was due was not made.
    pub withheld: Option<Withheld>,
}

/// What a function felt of an operation that it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The function, under the name its own calls have.
    pub function: TargetKey,
    /// What it called.
    pub operation: TargetKey,
    /// How its executions went.
    pub felt: Felt,
}

/// What one flush adds, all or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Finished calls.
    pub outcomes: Vec<OutcomeRow>,
    /// Counts to be added.
    pub evidence: Vec<(TargetKey, History)>,
    /// What functions felt of what they call, to be added at that hour.
    pub needs: Vec<(i64, Need)>,
    /// Records that came when the queue was full: in the evidence, but without an outcome row.
    pub folded: u64,
    /// What is written down about calls, where their audit is on; one of an execution that is there and has not ended
    /// takes its place.
    pub audit: Vec<AuditEntry>,
    /// Calls whose audit is on and that have no entry, because more ended than could be stored.
    pub audit_dropped: u64,
}

impl Batch {
    /// Whether there is nothing to add.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
            && self.evidence.is_empty()
            && self.needs.is_empty()
            && self.folded == 0
            && self.audit.is_empty()
            && self.audit_dropped == 0
    }
}

/// Which parameter of which service and operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterKey {
    /// What it applies to.
    pub target: TargetKey,
    /// Its name in [`crate::parameter::ALL`].
    pub name: String,
    /// The kind of failure, for a parameter learned for each kind apart.
    pub after: Option<FailureKind>,
}

/// A learned value with the reason it has.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterRow {
    /// Which parameter.
    pub key: ParameterKey,
    /// The value in the parameter's unit (seconds for durations).
    pub value: f64,
    /// What it is: on trial, confirmed, only reported, …
    pub standing: Standing,
    /// What was in force before the trial it is on, and what a person has not approved yet would replace.
    pub good: Option<Good>,
    /// The observations it rests on.
    pub sample: u64,
    /// The interval of the estimate.
    pub interval: (f64, f64),
    /// The posterior probability that the value beats the one before it.
    pub confidence: f64,
    /// What it was expected to bring for each call, in the unit of the profile's utility; `None` where nobody could say.
    pub predicted: Option<f64>,
    /// In one sentence, for a person.
    pub reason: String,
    /// What the estimate was made from, as a JSON object.
    pub evidence: String,
    /// When it was published.
    pub changed: Wall,
    /// Counts every move of any parameter in this store; the newest move has the highest.
    pub revision: u64,
}

impl ParameterRow {
    /// The value that calls are made with because of this row; `None`: the one of profile and configuration.
    #[must_use]
    pub fn in_force(&self) -> Option<f64> {
        match self.standing {
            Standing::Trial | Standing::Confirmed | Standing::RolledBack | Standing::Pinned => Some(self.value),
            Standing::Proposed => self.good.map(|good| good.value),
            Standing::Shadow | Standing::Found | Standing::Reset | Standing::Forgotten => None,
        }
    }

    /// What its evidence says under a name; `None` where it says nothing, or was written by a newer version as no JSON.
    pub(crate) fn evidence_of(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_str::<serde_json::Value>(&self.evidence).ok()?.get_mut(name).map(serde_json::Value::take)
    }

    /// Whether its own value is the one in force.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.in_force().is_some() && self.standing != Standing::Proposed
    }
}

/// What a learned value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// In force, and compared with the last good value on the calls that are held out.
    Trial,
    /// In force, and no worse than what it replaced.
    Confirmed,
    /// Learned in shadow: reported, never in force.
    Shadow,
    /// Waits for a person's approval; the value before it is in force.
    Proposed,
    /// Worth knowing, and not worth acting on: reported, not in force.
    Found,
    /// The last good value, which is in force again because what replaced it did harm, or because a person said so.
    RolledBack,
    /// Taken back: with all that was learned about single calls, because calls were worth more without it, or with all
    /// that was learned, because the operation became another one. The value of profile and configuration is in force.
    Reset,
    /// Forgotten because a person said so: the value of profile and configuration is in force.
    Forgotten,
    /// In force, and not moved by learning, because a person said so.
    Pinned,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 9] = [
        Self::Trial,
        Self::Confirmed,
        Self::Shadow,
        Self::Proposed,
        Self::Found,
        Self::RolledBack,
        Self::Reset,
        Self::Forgotten,
        Self::Pinned,
    ];

    /// The name under which it is stored and reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::Shadow => "shadow",
            Self::Proposed => "proposed",
            Self::Found => "found",
            Self::RolledBack => "rolled_back",
            Self::Reset => "reset",
            Self::Forgotten => "forgotten",
            Self::Pinned => "pinned",
        }
    }

    /// The standing of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == name)
    }
}

/// The last good value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Good {
    /// In the parameter's unit.
    pub value: f64,
    /// The highest revision among the values of its target when it was in force.
    pub revision: u64,
}

/// What a move turned out to bring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Realised {
    /// For each call, in the unit of the profile's utility: that of calls with the value, less that of calls with the
    /// last good one.
    pub gain: f64,
    /// A 95 % confidence sequence of it, which holds at whatever time it is looked at.
    pub interval: (f64, f64),
    /// The calls with the value.
    pub calls: u64,
    /// The calls it was compared with.
    pub compared: u64,
}

/// One move of a parameter: the row it became, and the value it had.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterChange {
    /// The value before; `None` where the default was in force.
    pub old: Option<f64>,
    /// The row it became.
    pub new: ParameterRow,
    /// What it turned out to bring; `None` until its trial has ended.
    pub realised: Option<Realised>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settlement {
    /// The revision of the move that was on trial.
    pub revision: u64,
    /// What its value is from here on.
    pub standing: Standing,
    /// What it turned out to bring, as far as it is known.
    pub realised: Option<Realised>,
}

/// A schema that an operation was seen with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRow {
    /// The service and operation.
    pub target: TargetKey,
    /// What tells the schema from others.
    pub schema: u64,
    /// When it was seen first.
    pub seen: Wall,
    /// Whether the operation became another one by it, so that what was counted before counts no more.
    pub began: bool,
}

/// What came of publishing a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// It is in force, and on disk, with this revision.
    Moved(ParameterRow),
    /// Another process moved it first; this is what it is now.
    Superseded(ParameterRow),
}

/// What kept a store from doing what it was asked, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trouble {
    /// Somebody else held it for longer than could be waited for; the same request may succeed later.
    Locked,
    /// No space is left.
    Full,
    /// It may not be written, or its folder may not.
    ReadOnly,
    /// What is stored cannot be read.
    Corrupt,
    /// There is nothing there.
    Missing,
    /// It belongs to another program.
    Foreign,
    /// A newer version of this program wrote it.
    Newer,
    /// The request itself cannot be stored.
    Refused,
    /// Anything else; the source says what.
    Other,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug)]
pub struct StoreError {
    attempted: String,
    trouble: Trouble,
    source: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// An error with what was attempted, as in "opening outcome store at /var/lib/poet.db".
    pub fn new(attempted: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::of(Trouble::Other, attempted, source)
    }

    /// The same, where it is known what the trouble is.
    pub fn of(
        trouble: Trouble,
        attempted: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { attempted: attempted.into(), trouble, source: Arc::from(source.into()) }
    }

    /// What kept the store from it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.attempted, self.source)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// How many hours the attempts of an hour are kept beyond everything else that was counted in it: ten months, so that
/// with the 90 days before them they are thirteen, of which any day of the week in any week of a month is in twelve.
pub const PAST_HOURS: i64 = 306 * 24;

/// Keeps evidence, outcomes and parameters.
///
/// Every method may fail, and the framework goes on without it: a store costs learning, never a call.
pub trait Store: Send + fmt::Debug {
    /// What and where it is, for logs and reports.
    fn describe(&self) -> String;

    /// Where a damaged store was moved, if that had to be done since this one was opened.
    fn set_aside(&self) -> Option<PathBuf> {
        None
    }

    /// Adds a batch, all or nothing. Counts are added to what any process has stored.
    fn append<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Every service and operation that has evidence or parameters.
    fn targets(&mut self) -> BoxFuture<'_, Result<Vec<TargetKey>, StoreError>>;

    /// The counts of one service and operation since an hour, of every process.
    fn evidence<'a>(&'a mut self, target: &'a TargetKey, since_hour: i64)
    -> BoxFuture<'a, Result<History, StoreError>>;

    /// The attempts of one service and operation since an hour, in the hours that [`Store::prune`] took from its evidence,
    /// oldest first.
    fn past<'a>(
        &'a mut self,
        target: &'a TargetKey,
        since_hour: i64,
    ) -> BoxFuture<'a, Result<Vec<PastHour>, StoreError>>;

    /// What every function has felt of every operation it calls since an hour, summed up over all processes.
    fn needs(&mut self, since_hour: i64) -> BoxFuture<'_, Result<Vec<Need>, StoreError>>;

    /// Every parameter that has moved, with its present value.
    fn parameters(&mut self) -> BoxFuture<'_, Result<Vec<ParameterRow>, StoreError>>;

    /// Moves a parameter and stores the move, durably, if its present revision is still `expected`
    /// (`None`: it has none yet). `new.revision` is ignored and assigned: above any revision of this store and above
    /// `expected`, so that a store which was replaced by an empty one takes the move and never counts backwards.
    fn publish<'a>(
        &'a mut self,
        change: &'a ParameterChange,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<Published, StoreError>>;

    /// Ends the trial of a move, durably. Returns the row if its value is still the present one; `None` if it moved on
    /// meanwhile, and then only the move itself is noted.
    fn settle(&mut self, settlement: Settlement) -> BoxFuture<'_, Result<Option<ParameterRow>, StoreError>>;

    /// Every move of a parameter (or of all), oldest first.
    fn changes<'a>(
        &'a mut self,
        key: Option<&'a ParameterKey>,
    ) -> BoxFuture<'a, Result<Vec<ParameterChange>, StoreError>>;

    /// The newest `limit` outcomes (of one target, or of all), newest first.
    fn outcomes<'a>(
        &'a mut self,
        target: Option<&'a TargetKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<OutcomeRow>, StoreError>>;

    /// Every schema that was noted, in the order of targets and of noting.
    fn schemas(&mut self) -> BoxFuture<'_, Result<Vec<SchemaRow>, StoreError>>;

    /// Notes a schema of a target, durably. One that was noted before stays as it is.
    fn note_schema<'a>(&'a mut self, row: &'a SchemaRow) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The sum of [`Batch::folded`] over the life of the store.
    fn folded(&mut self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Deletes outcomes that ended before `outcomes` and counts of hours before `evidence_hour`, those of needs
    /// among them, in slices. Of each such hour the attempts stay for [`PAST_HOURS`] more, see [`Store::past`]. Returns how
    /// many outcomes and counts went.
    fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Adds entries of the audit, all or none; they are on disk, and outlive a power cut, when this returns.
    ///
    /// An entry of an execution that is there and has not ended takes its place; one that has ended stays as it is.
    fn promise<'a>(&'a mut self, entries: &'a [AuditEntry]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The newest `limit` entries of the audit that pass, those that began last first.
    fn audit<'a>(
        &'a mut self,
        filter: &'a AuditFilter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>>;

    /// What is missing from the audit.
    fn audit_counts(&mut self) -> BoxFuture<'_, Result<AuditCounts, StoreError>>;

    /// The key that arguments are hashed with by every process of this store; `None` where none was stored yet.
    fn audit_key(&mut self) -> BoxFuture<'_, Result<Option<AuditKey>, StoreError>>;

    /// Stores a key where there is none, durably; returns the one that is there then.
    fn keep_audit_key(&mut self, drawn: AuditKey) -> BoxFuture<'_, Result<AuditKey, StoreError>>;

    /// Deletes entries of the audit that began before then, in slices, and the oldest of more than `most`, which are
    /// counted. Returns how many went.
    fn prune_audit(&mut self, before: Wall, most: u64) -> BoxFuture<'_, Result<u64, StoreError>>;
}
