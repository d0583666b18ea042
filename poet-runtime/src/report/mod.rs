//! What an operator asks: how do my services do, why did this call wait, and who decided that?
//!
//! [`Report::gather`] reads a store, [`Report::of`] makes of what it read a report, without I/O; [`text`] and [`json`]
//! write one down. Everything a decision rests on is in the store, so a report of a file says what a report of the
//! running process would.

pub mod json;
mod needs;
mod outages;
pub mod text;

#[cfg(test)]
mod tests;

use crate::clock::Wall;
use crate::evidence::{AttemptClass, History, Key, Sketch, Vitals};
use crate::health::Condition;
use crate::learner::degradation;
use crate::outcome::{Ending, FailureKind};
use crate::parameter::{self, ATTEMPT_TIMEOUT, MAX_RETRIES, Parameter};
use crate::profile::Profile;
use crate::store::{
    Need, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, SchemaRow, Standing, Store, StoreError, TargetKey,
};
use std::collections::BTreeMap;
use std::time::Duration;

pub use needs::{Dependency, ENOUGH, Share};
pub use outages::{Cascade, CascadeRisk, Outages};

/// How far back evidence is read.
const EVIDENCE: Duration = Duration::from_secs(90 * 24 * 3_600);

/// The newest calls of a service and operation from which the times of whole calls are taken.
const RECENT_CALLS: usize = 1_000;

/// What of a store is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Only this service; `None` means all.
    pub service: Option<String>,
    /// The newest calls to be listed. Default 20.
    pub executions: usize,
}

impl Default for Scope {
    fn default() -> Self {
        Self { service: None, executions: 20 }
    }
}

/// What was read from a store.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// What and where the store is.
    pub store: String,
    /// Each service and operation with its evidence and its newest calls, newest first.
    pub targets: Vec<(TargetKey, History, Vec<OutcomeRow>)>,
    /// What functions felt of what they call.
    pub needs: Vec<Need>,
    /// What was learned.
    pub parameters: Vec<ParameterRow>,
    /// Every move, oldest first.
    pub changes: Vec<ParameterChange>,
    /// Every schema that operations were seen with.
    pub schemas: Vec<SchemaRow>,
    /// Records that were folded into counters because the recorder's queue was full.
    pub folded: u64,
}

/// What a store says about the services it knows.
#[derive(Clone, Debug)]
pub struct Report {
    /// What and where the store is.
    pub store: String,
    /// When it was read.
    pub taken: Wall,
    /// Every service and operation, by name.
    pub targets: Vec<Target>,
    /// Every move of a parameter, newest first.
    pub changes: Vec<ParameterChange>,
    /// The newest calls, newest first.
    pub executions: Vec<Execution>,
    /// Records that were folded into counters because the recorder's queue was full: in every number here, but
    /// without a call of their own in the list.
    pub folded: u64,
}

/// How one service and operation does.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub key: TargetKey,
    /// How its calls ended, every ending that occurred.
    pub endings: Vec<(Ending, u64)>,
    /// What its attempts came to, every class that occurred; probes of an open circuit are left out.
    pub attempts: Vec<(&'static str, u64)>,
    /// Attempts for each call that reached the service.
    pub attempts_per_call: Option<f64>,
    /// The share of calls that were answered successfully by the service, by its kept answers or as part of a batch, of
    /// those that were not dropped by their caller, joined to another or put off. Neither a refusal nor a fallback is a
    /// success.
    pub success_rate: Option<f64>,
    /// The share of calls that the cache answered, of the same; `None` where it answered none.
    pub cache_hit_rate: Option<f64>,
    /// How it did over the last hour and day. The circuit is known to the running process only, and not in it.
    pub vitals: Vitals,
    /// What that says, against the target for success of the built-in profile.
    pub condition: Condition,
    /// By how much knowing how its last attempts went beats knowing its mean rate, in foretelling whether the next one
    /// fails: a Brier skill, at most 1; `None` where too little was seen.
    pub degradation_skill: Option<f64>,
    /// The times when it was down; `None` where it never was.
    pub outages: Option<Outages>,
    /// How long attempts took that were answered.
    pub latency: Option<Times>,
    /// Attempts given up on after the limit.
    pub given_up: u64,
    /// How long the newest calls took as a whole, with their retries and waits.
    pub call_time: Option<Times>,
    /// What it calls, where it is a function; where a failure costs it most first.
    pub needs: Vec<Dependency>,
    /// Its executions that called more operations than are told apart: what is beyond them is not in [`Target::needs`].
    pub untold: u64,
    /// The functions that call it; which feels its failures most first.
    pub felt_by: Vec<Dependency>,
    /// Since when it is another one than before, by its schema; what was counted before is reported, and not learned from.
    pub another_since: Option<Wall>,
    /// Its parameters: those that were learned, and those that could be.
    pub parameters: Vec<InForce>,
}

/// A distribution of times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their median.
    pub p50: f64,
    /// What 95 % of them are within.
    pub p95: f64,
    /// What 99 % of them are within.
    pub p99: f64,
}

/// Who decided a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was learned and is applied, or was taken back for the harm that it did.
    Learned,
    /// It was learned, but learning is in shadow: the value before it is in force.
    Shadow,
    /// It was learned and waits for approval: the value before it is in force.
    Proposed,
    /// It was learned, but it is not worth acting on: the default is in force.
    Found,
    /// A person decided it after it was learned.
    Person,
    /// Nothing was learned: a person or the profile decided.
    Configured,
}

impl Origin {
    fn of(standing: Standing) -> Self {
        match standing {
            Standing::Trial | Standing::Confirmed | Standing::RolledBack | Standing::Reset => Self::Learned,
            Standing::Shadow => Self::Shadow,
            Standing::Proposed => Self::Proposed,
            Standing::Found => Self::Found,
            Standing::Forgotten | Standing::Pinned => Self::Person,
        }
    }

    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Shadow => "shadow",
            Self::Proposed => "proposed",
            Self::Found => "found",
            Self::Person => "person",
            Self::Configured => "configured",
        }
    }
}

/// A parameter and the value it has.
#[derive(Clone, Debug)]
pub struct InForce {
    /// What it is.
    pub parameter: &'static Parameter,
    /// The kind of failure it applies after; `None` also for all kinds about which nothing was learned.
    pub after: Option<FailureKind>,
    /// The value that calls obey.
    pub value: f64,
    /// The value before anything was learned.
    pub default: f64,
    /// Who decided it.
    pub origin: Origin,
    /// What was learned about it, with the reason.
    pub learned: Option<ParameterRow>,
}

/// One finished call, and what decided how long it could take.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// What happened, with the timeout, retries and revision in force.
    pub outcome: OutcomeRow,
    /// The learned rows that were in force, newest first; empty where nothing was learned yet.
    pub decided_by: Vec<ParameterRow>,
}

impl Report {
    /// Reports everything a store knows.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub async fn gather(store: &mut dyn Store, now: Wall) -> Result<Self, StoreError> {
        Self::gather_within(store, &Scope::default(), now).await
    }

    /// Reports what a store knows within a scope.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub async fn gather_within(store: &mut dyn Store, scope: &Scope, now: Wall) -> Result<Self, StoreError> {
        let within = |target: &TargetKey| scope.service.as_ref().is_none_or(|service| target.service == *service);
        let mut rows = Rows { store: store.describe(), folded: store.folded().await?, ..Rows::default() };
        let since = now.before(EVIDENCE).hour();
        rows.needs = store.needs(since).await?;
        rows.needs.retain(|need| within(&need.function) || within(&need.operation));
        for target in store.targets().await?.into_iter().filter(within) {
            let history = store.evidence(&target, since).await?;
            let outcomes = store.outcomes(Some(&target), scope.executions.max(RECENT_CALLS)).await?;
            rows.targets.push((target, history, outcomes));
        }
        rows.parameters = store.parameters().await?;
        rows.parameters.retain(|row| within(&row.key.target));
        rows.changes = store.changes(None).await?;
        rows.changes.retain(|change| within(&change.new.key.target));
        rows.schemas = store.schemas().await?;
        Ok(Self::of(rows, scope.executions, now))
    }

    /// Makes a report of what was read, with this many calls listed.
    #[must_use]
    pub fn of(rows: Rows, executions: usize, now: Wall) -> Self {
        let Rows { store, mut targets, needs, parameters, mut changes, schemas, folded } = rows;
        targets.sort_by(|a, b| a.0.cmp(&b.0));
        let mut newest: Vec<OutcomeRow> = targets.iter().flat_map(|(_, _, outcomes)| outcomes).cloned().collect();
        newest.sort_by_key(|row| std::cmp::Reverse((row.ended, row.execution)));
        newest.truncate(executions);
        let executions = newest.into_iter().map(|outcome| Execution::of(outcome, &changes)).collect();
        let targets = targets
            .into_iter()
            .map(|(key, history, outcomes)| Target {
                needs: needs::needs(&key, &needs),
                felt_by: needs::felt_by(&key, &needs),
                another_since: schemas.iter().filter(|row| row.began && row.target == key).map(|row| row.seen).max(),
                ..Target::of(key, &history, &outcomes, (&parameters, &changes), now)
            })
            .collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.new.revision));
        Self { store, taken: now, targets, changes, executions, folded }
    }

    /// Whether the store knows nothing within the scope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

impl Target {
    fn of(
        key: TargetKey,
        history: &History,
        outcomes: &[OutcomeRow],
        (parameters, changes): (&[ParameterRow], &[ParameterChange]),
        now: Wall,
    ) -> Self {
        let vitals = Vitals::of(history, now);
        let mut counts: BTreeMap<Key, u64> = BTreeMap::new();
        for (_, key, count) in history.cells() {
            *counts.entry(key).or_default() += count;
        }
        let count = |key| counts.get(&key).copied().unwrap_or(0);
        let calls = |endings: &[Ending]| endings.iter().map(|ending| count(Key::Call(*ending))).sum::<u64>();
        let all =
            calls(&Ending::ALL) - calls(&[Ending::Cancelled, Ending::Coalesced, Ending::Deferred, Ending::Queued]);
        let reached = calls(&[Ending::Done, Ending::Failed, Ending::OutcomeUnknown, Ending::Fallback]);
        let mut attempts = vec![("success", count(Key::Attempt(AttemptClass::Success)))];
        let failures = FailureKind::ALL;
        attempts.extend(failures.map(|kind| (kind.as_str(), count(Key::Attempt(AttemptClass::Failure(kind))))));
        attempts.push(("permanent", count(Key::Attempt(AttemptClass::Permanent))));
        attempts.retain(|(_, count)| *count > 0);
        let sketch = Sketch::of_times(history);
        let mut times: Vec<f64> =
            outcomes.iter().filter(|row| row.attempts > 0).map(|row| row.elapsed.as_secs_f64()).collect();
        Self {
            endings: Ending::ALL
                .into_iter()
                .map(|ending| (ending, count(Key::Call(ending))))
                .filter(|(_, count)| *count > 0)
                .collect(),
            attempts_per_call: share(attempts.iter().map(|(_, count)| count).sum(), reached),
            attempts,
            success_rate: share(calls(&[Ending::Done, Ending::Cached, Ending::Batched]), all),
            cache_hit_rate: share(calls(&[Ending::Cached]), all).filter(|rate| *rate > 0.0),
            condition: Condition::of(&vitals, Profile::GENERAL.success_target),
            vitals,
            degradation_skill: degradation::skill(&degradation::counted(history, now)),
            outages: Outages::of(history, now),
            latency: Times::of_sketch(&sketch),
            given_up: sketch.censored() as u64,
            call_time: Times::of(&mut times),
            needs: Vec::new(),
            untold: count(Key::Untold),
            felt_by: Vec::new(),
            another_since: None,
            // What was answered without asking the service had no limits.
            parameters: in_force(&key, outcomes.iter().find(|row| row.attempts > 0), parameters, changes),
            key,
        }
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Times {
    fn of_sketch(sketch: &Sketch) -> Option<Self> {
        Some(Self {
            count: sketch.answered() as u64,
            mean: sketch.mean()?,
            p50: sketch.quantile(0.5)?,
            p95: sketch.quantile(0.95)?,
            p99: sketch.quantile(0.99)?,
        })
    }

    fn of(times: &mut [f64]) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let last = times.len().checked_sub(1)?;
        // The nearest rank: a time that was seen, not one between two.
        let at = |q: f64| times[((q * times.len() as f64).ceil() as usize).saturating_sub(1).min(last)];
        Some(Self {
            count: times.len() as u64,
            mean: times.iter().sum::<f64>() / times.len() as f64,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
        })
    }
}

impl Execution {
    fn of(outcome: OutcomeRow, changes: &[ParameterChange]) -> Self {
        let mut decided_by: BTreeMap<&ParameterKey, &ParameterRow> = BTreeMap::new();
        // A revision names the newest learned value that was in force; the others are the newest before it.
        for change in changes.iter().filter(|change| {
            change.new.is_applied()
                && change.new.key.target == outcome.target
                && change.new.revision <= outcome.revision
        }) {
            let newest = decided_by.entry(&change.new.key).or_insert(&change.new);
            if change.new.revision > newest.revision {
                *newest = &change.new;
            }
        }
        let mut decided_by: Vec<ParameterRow> = decided_by.into_values().cloned().collect();
        decided_by.sort_by_key(|row| std::cmp::Reverse(row.revision));
        Self { outcome, decided_by }
    }
}

/// What was learned about a target, and the two values of the newest call that was made where nothing was.
fn in_force(
    target: &TargetKey,
    newest: Option<&OutcomeRow>,
    parameters: &[ParameterRow],
    changes: &[ParameterChange],
) -> Vec<InForce> {
    let mut list = Vec::new();
    for row in parameters.iter().filter(|row| row.key.target == *target) {
        // A row of a newer version is left to that version.
        let Some(parameter) = parameter::find(&row.key.name) else {
            continue;
        };
        let mut moves = changes.iter().filter(|change| change.new.key == row.key);
        let built_in = (parameter.default)(Profile::GENERAL);
        let default = moves.next().and_then(|first| first.old).unwrap_or(built_in);
        list.push(InForce {
            parameter,
            after: row.key.after,
            value: row.in_force().unwrap_or(default),
            default,
            origin: Origin::of(row.standing),
            learned: Some(row.clone()),
        });
    }
    for parameter in [&MAX_RETRIES, &ATTEMPT_TIMEOUT] {
        let Some(newest) = newest else { continue };
        let known = list.iter().any(|known| known.parameter.name == parameter.name);
        if known {
            continue;
        }
        let value =
            if parameter.name == MAX_RETRIES.name { f64::from(newest.retries) } else { newest.timeout.as_secs_f64() };
        list.push(InForce { parameter, after: None, value, default: value, origin: Origin::Configured, learned: None });
    }
    list.sort_by_key(|known| (known.parameter.name, known.after));
    list
}
