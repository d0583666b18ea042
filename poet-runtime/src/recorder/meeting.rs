//! What the writer does about the schemas that operations were met with: it remembers them, and takes back what was
//! learned about an operation that became another one.
//!
//! What is taken back is on disk before the schema is noted, so that a process that is killed in between does the rest
//! when it meets the schema again. Other processes read of it with the values that they read anyway.

use super::block_on::block_on;
use super::lock;
use super::writer::Writer;
use crate::clock::Wall;
use crate::learner::became;
use crate::store::{Published, SchemaRow, Settlement, Standing, StoreError, TargetKey};
use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::Ordering;

/// An operation, and the schema it was met with.
pub(super) type Met = (TargetKey, u64);

/// The most that wait to be noted; one that is turned away is met again by a later call.
pub(super) const MAX_MET: usize = 1_024;

/// The schemas of every operation, as the store has them; `None` until they could be read.
pub(super) type Schemas = Option<BTreeMap<TargetKey, Vec<SchemaRow>>>;

impl Writer {
    /// Notes what was met since; what the store does not take waits for it.
    pub(super) fn meet(&mut self) {
        if self.shared.has_met.swap(false, Ordering::SeqCst) {
            self.to_note.append(&mut lock(&self.shared.met));
            self.to_note.truncate(MAX_MET);
        }
        if self.to_note.is_empty() || self.is_resting() {
            return;
        }
        let mut waiting = mem::take(&mut self.to_note).into_iter();
        for (target, schema) in waiting.by_ref() {
            if self.note(&target, schema).is_err() {
                self.to_note.push((target, schema));
                break;
            }
        }
        self.to_note.extend(waiting);
    }

    fn note(&mut self, target: &TargetKey, schema: u64) -> Result<(), StoreError> {
        if self.schemas.is_none() {
            self.read_schemas()?;
        }
        if self.unseen(target, schema).is_none() {
            return Ok(());
        }
        // Another process may have met it first.
        self.read_schemas()?;
        let Some(row) = self.unseen(target, schema) else { return Ok(()) };
        if row.began {
            let TargetKey { service, operation } = target;
            tracing::info!(service, operation, "the tool became another one: what was learned about it is taken back");
            self.take_back(&row)?;
        }
        let noted = block_on(self.store.note_schema(&row));
        self.noted(noted)?;
        self.read_schemas()
    }

    fn unseen(&self, target: &TargetKey, schema: u64) -> Option<SchemaRow> {
        became::seen(self.known_schemas(target), target, schema, self.wall())
    }

    fn known_schemas(&self, target: &TargetKey) -> &[SchemaRow] {
        self.schemas.as_ref().and_then(|schemas| schemas.get(target)).map_or(&[], Vec::as_slice)
    }

    /// The first hour whose counts are those of an operation as it is now.
    pub(super) fn since(&self, target: &TargetKey, now: Wall) -> Option<i64> {
        became::since(self.known_schemas(target), now)
    }

    fn take_back(&mut self, began: &SchemaRow) -> Result<(), StoreError> {
        let rows = block_on(self.store.parameters());
        let rows = self.noted(rows)?;
        for row in rows.into_iter().filter(|row| row.key.target == began.target) {
            let history = block_on(self.store.changes(Some(&row.key)));
            let history = self.noted(history)?;
            let default = history.first().and_then(|first| first.old).unwrap_or(row.value);
            let Some(change) = became::taken_back(&row, default, began) else { continue };
            let published = block_on(self.store.publish(&change, Some(row.revision)));
            let (Published::Moved(now) | Published::Superseded(now)) = self.noted(published)?;
            self.apply(&now);
            if row.standing == Standing::Trial {
                let ended = Settlement { revision: row.revision, standing: Standing::RolledBack, realised: None };
                let settled = block_on(self.store.settle(ended));
                self.noted(settled)?;
            }
        }
        Ok(())
    }

    /// Reads the schemas of all operations, and lets go of what was counted before a regime began.
    pub(super) fn read_schemas(&mut self) -> Result<(), StoreError> {
        let rows = block_on(self.store.schemas());
        let mut schemas: BTreeMap<_, Vec<SchemaRow>> = BTreeMap::new();
        for row in self.noted(rows)? {
            schemas.entry(row.target.clone()).or_default().push(row);
        }
        self.schemas = Some(schemas);
        let now = self.wall();
        let begun: Vec<_> =
            self.targets.iter().filter_map(|(&id, target)| Some((id, self.since(&target.key, now)?))).collect();
        for (id, since) in begun {
            if let Some(target) = self.targets.get_mut(&id) {
                target.begin(since);
            }
        }
        Ok(())
    }
}
