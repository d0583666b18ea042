//! A store that forgets everything with the process: for tests, simulations, and where no file can be written.

use super::{
    Batch, BoxFuture, Need, OutcomeRow, PAST_HOURS, ParameterChange, ParameterKey, ParameterRow, Published, SchemaRow,
    Settlement, Store, StoreError, TargetKey, Trouble,
};
use crate::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey};
use crate::clock::Wall;
use crate::evidence::{AttemptClass, Felt, History, Key, PastHour};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps everything in memory. A clone is another handle to the same store, as a second connection would be.
///
/// Outcomes are bounded by [`MemoryStore::MAX_OUTCOMES`]; the oldest go first.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    outcomes: VecDeque<OutcomeRow>,
    /// No outcome ended before.
    oldest: Option<Wall>,
    evidence: BTreeMap<TargetKey, History>,
    /// By target, the attempts of hours that are no longer in the evidence.
    past: BTreeMap<TargetKey, BTreeMap<i64, PastHour>>,
    /// By function and operation, then by hour.
    needs: BTreeMap<(TargetKey, TargetKey), BTreeMap<i64, Felt>>,
    parameters: BTreeMap<ParameterKey, ParameterRow>,
    changes: Vec<ParameterChange>,
    schemas: BTreeMap<TargetKey, Vec<SchemaRow>>,
    folded: u64,
    /// In the order of writing, and where each execution stands in it.
    audit: BTreeMap<u64, AuditEntry>,
    executions: HashMap<String, u64>,
    audit_counts: AuditCounts,
    audit_key: Option<AuditKey>,
}

impl MemoryStore {
    /// The most outcomes that are kept.
    pub const MAX_OUTCOMES: usize = 100_000;

    /// The most entries of the audit that are kept.
    pub const MAX_AUDIT: usize = 10_000;

    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Every change below is made after everything that could fail, so a poisoned table is still a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn append(&mut self, batch: &Batch) {
        let oldest = batch.outcomes.iter().map(|row| row.ended).min();
        self.oldest = self.oldest.into_iter().chain(oldest).min();
        self.outcomes.extend(batch.outcomes.iter().cloned());
        let surplus = self.outcomes.len().saturating_sub(MemoryStore::MAX_OUTCOMES);
        self.outcomes.drain(..surplus);
        for (target, delta) in batch.evidence.iter().filter(|(_, delta)| !delta.is_empty()) {
            self.evidence.entry(target.clone()).or_default().merge(delta);
        }
        for (hour, Need { function, operation, felt }) in &batch.needs {
            let hours = self.needs.entry((function.clone(), operation.clone())).or_default();
            hours.entry(*hour).or_default().merge(felt);
        }
        self.folded = self.folded.saturating_add(batch.folded);
        self.write_down(&batch.audit);
        self.audit_counts.dropped = self.audit_counts.dropped.saturating_add(batch.audit_dropped);
    }

    fn write_down(&mut self, entries: &[AuditEntry]) {
        for entry in entries {
            let next = self.audit.last_key_value().map_or(0, |(number, _)| number + 1);
            let number = *self.executions.entry(entry.execution.clone()).or_insert(next);
            let known = self.audit.entry(number).or_insert_with(|| entry.clone());
            if known.ended.is_none() {
                known.clone_from(entry);
            }
        }
        self.bound_audit(MemoryStore::MAX_AUDIT);
    }

    /// Deletes the oldest of more than so many, and says how many.
    fn bound_audit(&mut self, most: usize) -> u64 {
        let surplus = self.audit.len().saturating_sub(most);
        for _ in 0..surplus {
            if let Some((_, gone)) = self.audit.pop_first() {
                self.executions.remove(&gone.execution);
            }
        }
        self.audit_counts.deleted += surplus as u64;
        surplus as u64
    }

    fn prune_audit(&mut self, before: Wall, most: u64) -> u64 {
        let all = self.audit.len();
        self.audit.retain(|_, entry| entry.began >= before);
        let gone = all - self.audit.len();
        if gone > 0 {
            let audit = &self.audit;
            self.executions.retain(|_, number| audit.contains_key(number));
        }
        gone as u64 + self.bound_audit(usize::try_from(most).unwrap_or(usize::MAX))
    }

    fn targets(&self) -> Vec<TargetKey> {
        let mut targets: Vec<_> = self.evidence.iter().filter(|(_, h)| !h.is_empty()).map(|(t, _)| t.clone()).collect();
        targets.extend(self.parameters.keys().map(|key| key.target.clone()));
        targets.sort();
        targets.dedup();
        targets
    }

    fn evidence(&self, target: &TargetKey, since_hour: i64) -> History {
        self.evidence.get(target).map(|history| history.since(since_hour)).unwrap_or_default()
    }

    fn needs(&self, since_hour: i64) -> Vec<Need> {
        let summed = self.needs.iter().map(|((function, operation), hours)| {
            let mut felt = Felt::default();
            hours.range(since_hour..).for_each(|(_, of_hour)| felt.merge(of_hour));
            Need { function: function.clone(), operation: operation.clone(), felt }
        });
        summed.filter(|need| need.felt.called > 0).collect()
    }

    fn publish(&mut self, change: &ParameterChange, expected: Option<u64>) -> Published {
        if let Some(now) = self.parameters.get(&change.new.key).filter(|row| Some(row.revision) != expected) {
            return Published::Superseded(now.clone());
        }
        let newest = self.changes.last().map_or(0, |change| change.new.revision);
        let row = ParameterRow { revision: newest.max(expected.unwrap_or(0)) + 1, ..change.new.clone() };
        self.changes.push(ParameterChange { old: change.old, new: row.clone(), realised: change.realised });
        self.parameters.insert(row.key.clone(), row.clone());
        Published::Moved(row)
    }

    fn settle(&mut self, settlement: Settlement) -> Option<ParameterRow> {
        let change = self.changes.iter_mut().rev().find(|change| change.new.revision == settlement.revision)?;
        change.new.standing = settlement.standing;
        change.realised = settlement.realised;
        let row = self.parameters.get_mut(&change.new.key).filter(|row| row.revision == settlement.revision)?;
        row.standing = settlement.standing;
        Some(row.clone())
    }

    fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> u64 {
        let mut gone = self.outcomes.len();
        if self.oldest.is_some_and(|oldest| oldest < outcomes) {
            self.outcomes.retain(|row| row.ended >= outcomes);
            self.oldest = self.outcomes.iter().map(|row| row.ended).min();
        }
        gone -= self.outcomes.len();
        for (target, history) in &mut self.evidence {
            if history.oldest().is_some_and(|oldest| oldest < evidence_hour) {
                let past = self.past.entry(target.clone()).or_default();
                let old = history.cells().take_while(|(hour, ..)| *hour < evidence_hour);
                old.for_each(|(hour, key, count)| remember(past, hour, key, count));
                gone += history.len();
                history.forget_before(evidence_hour);
                gone -= history.len();
            }
        }
        for past in self.past.values_mut() {
            *past = past.split_off(&evidence_hour.saturating_sub(PAST_HOURS));
        }
        for hours in self.needs.values_mut() {
            gone += hours.len();
            *hours = hours.split_off(&evidence_hour);
            gone -= hours.len();
        }
        self.needs.retain(|_, hours| !hours.is_empty());
        gone as u64
    }
}

fn remember(past: &mut BTreeMap<i64, PastHour>, hour: i64, key: Key, count: u64) {
    let failures = match key {
        Key::Attempt(AttemptClass::Success) => 0,
        Key::Attempt(AttemptClass::Failure(_)) => count,
        _ => return,
    };
    let known = past.entry(hour).or_insert(PastHour { hour, attempts: 0, failures: 0 });
    known.attempts += count;
    known.failures += failures;
}

/// Refuses a value that no arithmetic can use and no database can hold.
pub(super) fn storable(change: &ParameterChange) -> Result<(), StoreError> {
    let row = &change.new;
    let optional = [change.old, row.predicted, row.good.map(|good| good.value)].map(|number| number.unwrap_or(0.0));
    let numbers = [row.value, row.interval.0, row.interval.1, row.confidence].into_iter().chain(optional);
    if numbers.into_iter().any(f64::is_nan) {
        let attempted = format!("publishing {} of {}", row.key.name, row.key.target.service);
        return Err(StoreError::of(Trouble::Refused, attempted, "a value is not a number"));
    }
    Ok(())
}

fn answer<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(ready(Ok(value)))
}

impl Store for MemoryStore {
    fn describe(&self) -> String {
        "in memory".to_owned()
    }

    fn append<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StoreError>> {
        self.tables().append(batch);
        answer(())
    }

    fn targets(&mut self) -> BoxFuture<'_, Result<Vec<TargetKey>, StoreError>> {
        let targets = self.tables().targets();
        answer(targets)
    }

    fn evidence<'a>(
        &'a mut self,
        target: &'a TargetKey,
        since_hour: i64,
    ) -> BoxFuture<'a, Result<History, StoreError>> {
        let history = self.tables().evidence(target, since_hour);
        answer(history)
    }

    fn past<'a>(
        &'a mut self,
        target: &'a TargetKey,
        since_hour: i64,
    ) -> BoxFuture<'a, Result<Vec<PastHour>, StoreError>> {
        let tables = self.tables();
        let hours = tables.past.get(target).into_iter().flat_map(|past| past.range(since_hour..));
        answer(hours.map(|(_, hour)| *hour).collect())
    }

    fn needs(&mut self, since_hour: i64) -> BoxFuture<'_, Result<Vec<Need>, StoreError>> {
        let needs = self.tables().needs(since_hour);
        answer(needs)
    }

    fn parameters(&mut self) -> BoxFuture<'_, Result<Vec<ParameterRow>, StoreError>> {
        let rows = self.tables().parameters.values().cloned().collect();
        answer(rows)
    }

    fn publish<'a>(
        &'a mut self,
        change: &'a ParameterChange,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<Published, StoreError>> {
        Box::pin(ready(storable(change).map(|()| self.tables().publish(change, expected))))
    }

    fn settle(&mut self, settlement: Settlement) -> BoxFuture<'_, Result<Option<ParameterRow>, StoreError>> {
        let settled = self.tables().settle(settlement);
        answer(settled)
    }

    fn changes<'a>(
        &'a mut self,
        key: Option<&'a ParameterKey>,
    ) -> BoxFuture<'a, Result<Vec<ParameterChange>, StoreError>> {
        let tables = self.tables();
        let wanted = |change: &&ParameterChange| key.is_none_or(|key| change.new.key == *key);
        let changes = tables.changes.iter().filter(wanted).cloned().collect();
        answer(changes)
    }

    fn outcomes<'a>(
        &'a mut self,
        target: Option<&'a TargetKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<OutcomeRow>, StoreError>> {
        let tables = self.tables();
        let wanted = |row: &&OutcomeRow| target.is_none_or(|target| row.target == *target);
        let rows = tables.outcomes.iter().rev().filter(wanted).take(limit).cloned().collect();
        answer(rows)
    }

    fn schemas(&mut self) -> BoxFuture<'_, Result<Vec<SchemaRow>, StoreError>> {
        let rows = self.tables().schemas.values().flatten().cloned().collect();
        answer(rows)
    }

    fn note_schema<'a>(&'a mut self, row: &'a SchemaRow) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut tables = self.tables();
        let known = tables.schemas.entry(row.target.clone()).or_default();
        if known.iter().all(|known| known.schema != row.schema) {
            known.push(row.clone());
        }
        drop(tables);
        answer(())
    }

    fn folded(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        let folded = self.tables().folded;
        answer(folded)
    }

    fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
        let gone = self.tables().prune(outcomes, evidence_hour);
        answer(gone)
    }

    fn promise<'a>(&'a mut self, entries: &'a [AuditEntry]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.tables().write_down(entries);
        answer(())
    }

    fn audit<'a>(
        &'a mut self,
        filter: &'a AuditFilter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        let tables = self.tables();
        let mut passing: Vec<_> = tables.audit.iter().filter(|(_, entry)| entry.passes(filter)).collect();
        passing.sort_by_key(|(number, entry)| std::cmp::Reverse((entry.began, **number)));
        let entries = passing.into_iter().take(limit).map(|(_, entry)| entry.clone()).collect();
        answer(entries)
    }

    fn audit_counts(&mut self) -> BoxFuture<'_, Result<AuditCounts, StoreError>> {
        let counts = self.tables().audit_counts;
        answer(counts)
    }

    fn audit_key(&mut self) -> BoxFuture<'_, Result<Option<AuditKey>, StoreError>> {
        let key = self.tables().audit_key;
        answer(key)
    }

    fn keep_audit_key(&mut self, drawn: AuditKey) -> BoxFuture<'_, Result<AuditKey, StoreError>> {
        let key = *self.tables().audit_key.get_or_insert(drawn);
        answer(key)
    }

    fn prune_audit(&mut self, before: Wall, most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        let gone = self.tables().prune_audit(before, most);
        answer(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[tokio::test]
    async fn it_passes_every_claim_of_the_conformance_suite() {
        for claim in conformance::ALL {
            (claim.check)(&mut MemoryStore::new()).await;
        }
    }

    #[tokio::test]
    async fn outcomes_beyond_the_bound_push_out_the_oldest() {
        let mut store = MemoryStore::new();
        let row = |n: usize| OutcomeRow { execution: n as u64, ..conformance::outcome("crm", 0) };
        let outcomes = (0..MemoryStore::MAX_OUTCOMES + 5).map(row).collect();
        store.append(&Batch { outcomes, ..Batch::default() }).await.unwrap();
        let kept = store.outcomes(None, usize::MAX).await.unwrap();
        assert_eq!(kept.len(), MemoryStore::MAX_OUTCOMES);
        assert_eq!(kept.last().unwrap().execution, 5);
    }
}
