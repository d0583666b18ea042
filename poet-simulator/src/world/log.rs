//! The log of a run: one line of JSON for every call, attempt and decision, dated in virtual seconds.
//!
//! Nothing in it comes from the machine or the process, so a seed gives the same bytes wherever it is lived through.

use poet_runtime::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey};
use poet_runtime::evidence::{History, PastHour};
use poet_runtime::store::{
    Batch, BoxFuture, MemoryStore, Need, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, Published, SchemaRow,
    Settlement, Store, StoreError, TargetKey,
};
use poet_runtime::{Clock, Wall};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the lines go.
#[derive(Clone, Default)]
pub struct Log(Option<Arc<Mutex<Out>>>);

struct Out {
    to: Box<dyn Write + Send>,
    problem: Option<std::io::Error>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Log(on)" } else { "Log(off)" })
    }
}

impl Log {
    /// A log that is written there.
    #[must_use]
    pub fn to(to: Box<dyn Write + Send>) -> Self {
        Self(Some(Arc::new(Mutex::new(Out { to, problem: None }))))
    }

    /// Whether anybody reads it.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes one line. The world goes on where that fails; [`Log::end`] says that it did.
    pub(crate) fn line(&self, second: f64, event: &str, what: impl FnOnce() -> Value) {
        let Some(out) = &self.0 else { return };
        let mut line = json!({ "at": (second * 1e6).round() / 1e6, "event": event });
        if let (Value::Object(line), Value::Object(what)) = (&mut line, what()) {
            line.extend(what);
        }
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(problem) = writeln!(out.to, "{line}") {
            out.problem.get_or_insert(problem);
        }
    }

    /// Sees to it that everything is written.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong while it was written.
    pub fn end(&self) -> std::io::Result<()> {
        let Some(out) = &self.0 else { return Ok(()) };
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        match out.problem.take() {
            Some(problem) => Err(problem),
            None => out.to.flush(),
        }
    }
}

/// A store that tells the log of every move of a parameter.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) store: MemoryStore,
    pub(super) log: Log,
    pub(super) clock: Clock,
    pub(super) begin: i64,
}

impl Watched {
    fn second(&self) -> f64 {
        (self.clock.wall().millis() - self.begin) as f64 / 1_000.0
    }
}

impl Store for Watched {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn append<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.append(batch)
    }

    fn targets(&mut self) -> BoxFuture<'_, Result<Vec<TargetKey>, StoreError>> {
        self.store.targets()
    }

    fn evidence<'a>(
        &'a mut self,
        target: &'a TargetKey,
        since_hour: i64,
    ) -> BoxFuture<'a, Result<History, StoreError>> {
        self.store.evidence(target, since_hour)
    }

    fn past<'a>(&'a mut self, target: &'a TargetKey, since: i64) -> BoxFuture<'a, Result<Vec<PastHour>, StoreError>> {
        self.store.past(target, since)
    }

    fn needs(&mut self, since_hour: i64) -> BoxFuture<'_, Result<Vec<Need>, StoreError>> {
        self.store.needs(since_hour)
    }

    fn parameters(&mut self) -> BoxFuture<'_, Result<Vec<ParameterRow>, StoreError>> {
        self.store.parameters()
    }

    fn publish<'a>(
        &'a mut self,
        change: &'a ParameterChange,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<Published, StoreError>> {
        self.log.line(self.second(), "moved", || {
            let ParameterRow { key, value, standing, sample, confidence, reason, .. } = &change.new;
            json!({
                "service": key.target.service, "operation": key.target.operation, "parameter": key.name,
                "after": key.after.map(poet_runtime::FailureKind::as_str), "old": change.old, "new": value,
                "standing": standing.as_str(), "sample": sample, "confidence": confidence, "reason": reason,
            })
        });
        self.store.publish(change, expected)
    }

    fn settle(&mut self, settlement: Settlement) -> BoxFuture<'_, Result<Option<ParameterRow>, StoreError>> {
        self.log.line(self.second(), "settled", || {
            let gain = settlement.realised.map(|realised| realised.gain);
            json!({ "revision": settlement.revision, "standing": settlement.standing.as_str(), "gain": gain })
        });
        self.store.settle(settlement)
    }

    fn changes<'a>(
        &'a mut self,
        key: Option<&'a ParameterKey>,
    ) -> BoxFuture<'a, Result<Vec<ParameterChange>, StoreError>> {
        self.store.changes(key)
    }

    fn outcomes<'a>(
        &'a mut self,
        target: Option<&'a TargetKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<OutcomeRow>, StoreError>> {
        self.store.outcomes(target, limit)
    }

    fn schemas(&mut self) -> BoxFuture<'_, Result<Vec<SchemaRow>, StoreError>> {
        self.store.schemas()
    }

    fn note_schema<'a>(&'a mut self, row: &'a SchemaRow) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.note_schema(row)
    }

    fn folded(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.store.folded()
    }

    fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.store.prune(outcomes, evidence_hour)
    }

    fn promise<'a>(&'a mut self, entries: &'a [AuditEntry]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.promise(entries)
    }

    fn audit<'a>(
        &'a mut self,
        filter: &'a AuditFilter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        self.store.audit(filter, limit)
    }

    fn audit_counts(&mut self) -> BoxFuture<'_, Result<AuditCounts, StoreError>> {
        self.store.audit_counts()
    }

    fn audit_key(&mut self) -> BoxFuture<'_, Result<Option<AuditKey>, StoreError>> {
        self.store.audit_key()
    }

    fn keep_audit_key(&mut self, drawn: AuditKey) -> BoxFuture<'_, Result<AuditKey, StoreError>> {
        self.store.keep_audit_key(drawn)
    }

    fn prune_audit(&mut self, before: Wall, most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.store.prune_audit(before, most)
    }
}
