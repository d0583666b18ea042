//! A store that forgets everything with the process: for tests, simulations, and where no file can be written.

use super::{
    Batch, BoxFuture, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, Published, SchemaRow, Settlement, Store,
    StoreError, TargetKey, Trouble,
};
use crate::clock::Wall;
use crate::evidence::History;
use std::collections::{BTreeMap, VecDeque};
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
    parameters: BTreeMap<ParameterKey, ParameterRow>,
    changes: Vec<ParameterChange>,
    schemas: BTreeMap<TargetKey, Vec<SchemaRow>>,
    folded: u64,
}

impl MemoryStore {
    /// The most outcomes that are kept.
    pub const MAX_OUTCOMES: usize = 100_000;

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
        self.folded = self.folded.saturating_add(batch.folded);
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
        for history in self.evidence.values_mut() {
            if history.oldest().is_some_and(|oldest| oldest < evidence_hour) {
                gone += history.len();
                history.forget_before(evidence_hour);
                gone -= history.len();
            }
        }
        gone as u64
    }
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
