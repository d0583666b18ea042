//! What the writer knows of every target, and how it comes to learn from it.
//!
//! The history of a target is read from the store once, then added to as records come, and read again for the last
//! hours from time to time, because other processes add to the same store. A move is on disk before it is in force.

use super::Seen;
use super::block_on::block_on;
use super::lock;
use super::writer::Writer;
use crate::clock::Wall;
use crate::evidence::{History, Hourly, Key, Lately, PastHour, Situations, Watch, block_of};
use crate::learner::degradation;
use crate::learner::siblings::{Families, Siblings};
use crate::outcome::{Ending, TargetId};
use crate::profile::Utility;
use crate::store::{ParameterChange, ParameterRow, Published, StoreError, TargetKey};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The most targets by which a domain is known, and the hours of each.
const MAX_SIBLINGS: usize = 64;
const SIBLINGS_SINCE: i64 = 7 * 24;

/// A service and operation, and what is known of it.
pub(super) struct Target {
    pub(super) key: TargetKey,
    /// All counts, of every process as far as they were read.
    history: History,
    /// Those of them that the store has not taken yet.
    pub(super) unsent: History,
    /// What its calls are worth and cost; `None` where nothing is learned about it.
    pub(super) utility: Option<Utility>,
    /// Whether `history` holds what the store had before.
    is_loaded: bool,
    /// Attempts, and calls made as part of another one: those known, and those of them that came since it was last
    /// learned from.
    known: u64,
    fresh: u64,
    /// The hour at which `history` was last put together, and the day on which it was last read hour by hour.
    coarsened: i64,
    hourly: Option<i64>,
    /// What `history` holds of the hours before the present one.
    lately: Option<Lately>,
    learned: Instant,
    /// What this process saw last, and what attempts came to in such situations when it was last learned from.
    pub(super) watch: Watch,
    situations: Situations,
    /// What the other services of its domain had shown, and the hour by which that was.
    siblings: Siblings,
    siblings_of: Option<i64>,
    /// When it was last told how it does, and whether there is news since.
    told: Option<Instant>,
    untold: bool,
    read_until: i64,
    /// The hour from which on counts are those of the operation as it is now.
    since: i64,
}

impl Writer {
    /// Asks the directory about every target with enough news.
    pub(super) fn learn(&mut self) {
        let mut touched = mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let (now, wall) = (self.shared.clock.now(), self.wall());
        for id in touched {
            let Some(target) = self.targets.get(&id) else { continue };
            let waited = now.saturating_duration_since(target.learned) >= self.settings.learn_interval;
            let enough = self.settings.learn_every.max((target.known as f64 * self.settings.learn_share) as u64);
            if target.fresh < enough && !(waited && target.fresh > 0) {
                continue;
            }
            if !target.is_loaded && !self.is_resting() {
                let _ = self.read_evidence(id);
            }
            // Whoever waits for an entry of the audit waits for one target at most.
            self.keep_promises();
            if let Some(target) = self.targets.get_mut(&id) {
                target.fresh = 0;
                target.learned = now;
                target.situations = degradation::counted(&target.history, wall);
            }
            self.learn_from(id);
        }
    }

    fn learn_from(&mut self, id: TargetId) {
        let wall = self.wall();
        let hourly = self.read_hourly(id, wall);
        let hourly = hourly.as_ref().map(|(history, past)| Hourly { history, past });
        self.read_siblings(id);
        let Some(target) = self.targets.get(&id) else { return };
        let directory = &self.directory;
        let targets = &self.targets;
        let histories = |id: TargetId| targets.get(&id).map(|target| &target.history);
        let seen = Seen { histories: &histories, hourly, siblings: &target.siblings };
        let learned = catch_unwind(AssertUnwindSafe(|| directory.learn(id, &seen, wall)));
        let Ok(lesson) = learned else {
            tracing::error!(service = target.key.service, operation = target.key.operation, "learning panicked");
            let mut health = lock(&self.shared.health);
            health.failed += 1;
            health.error = Some(format!("learning about {} panicked", target.key.service));
            return;
        };
        // What is not on disk is not in force; the next evidence says it again.
        for change in lesson.moves {
            let _ = self.publish(&change);
        }
        for settlement in lesson.settled {
            let settled = block_on(self.store.settle(settlement));
            if let Ok(Some(row)) = self.noted(settled) {
                self.apply(&row);
            }
        }
    }

    /// Tells how the targets do that were called, those again whose turn has not come when somebody asks for it.
    pub(super) fn tell(&mut self, force: bool) {
        let (now, wall) = (self.shared.clock.now(), self.wall());
        let interval = self.settings.tell_interval;
        for (&id, target) in self.targets.iter_mut().filter(|(_, target)| target.untold) {
            if force || target.told.is_none_or(|told| now.saturating_duration_since(told) >= interval) {
                (target.told, target.untold) = (Some(now), false);
                let lately = target.lately.take().filter(|lately| lately.holds(wall));
                let lately = lately.unwrap_or_else(|| Lately::of(&target.history, wall));
                let mut vitals = lately.vitals(&target.history, wall);
                target.lately = Some(lately);
                vitals.last = Some((target.watch, target.situations.clone()));
                let directory = &self.directory;
                if catch_unwind(AssertUnwindSafe(|| directory.tell(id, vitals))).is_err() {
                    tracing::error!(service = target.key.service, "telling how it does panicked");
                }
            }
        }
    }

    /// When the next target is due to be told how it does.
    pub(super) fn next_tell(&self) -> Option<Instant> {
        let untold = self.targets.values().filter(|target| target.untold);
        untold.filter_map(|target| Some(target.told? + self.settings.tell_interval)).min()
    }

    fn publish(&mut self, change: &ParameterChange) -> Result<(), StoreError> {
        let expected = self.applied.get(&change.new.key).map(|(revision, _)| *revision);
        let published = block_on(self.store.publish(change, expected));
        let (Published::Moved(row) | Published::Superseded(row)) = self.noted(published)?;
        self.apply(&row);
        Ok(())
    }

    pub(super) fn apply(&mut self, row: &ParameterRow) {
        self.applied.insert(row.key.clone(), (row.revision, row.standing));
        let directory = &self.directory;
        if catch_unwind(AssertUnwindSafe(|| directory.apply(row))).is_err() {
            tracing::error!(parameter = row.key.name, "applying a learned value panicked");
        }
    }

    /// Reads what others stored, and deletes what is too old, when it is time.
    pub(super) fn keep_house(&mut self) {
        let now = self.shared.clock.now();
        if now >= self.next_refresh {
            self.next_refresh = now + self.settings.refresh_interval;
            if !self.is_resting() {
                self.find_audit_key();
                let _ = self.refresh();
            }
            self.touched.extend(self.targets.iter().filter(|(_, target)| target.fresh > 0).map(|(id, _)| *id));
            self.learn();
        }
        if now >= self.next_prune && !self.is_resting() {
            self.next_prune = now + self.settings.prune_interval;
            let (evidence, now) = (self.oldest_hour(), self.wall().hour());
            let outcomes = self.wall().before(self.settings.retention);
            for target in self.targets.values_mut() {
                // A block that reaches into what is kept is kept.
                target.history.forget_before(block_of(evidence, now).0);
                target.unsent.forget_before(evidence);
            }
            self.needs.forget_before(evidence);
            let pruned = block_on(self.store.prune(outcomes, evidence));
            let _ = self.noted(pruned);
            let began = self.wall().before(self.settings.audit_retention);
            let pruned = block_on(self.store.prune_audit(began, self.settings.audit_entries));
            let _ = self.noted(pruned);
        }
    }

    fn refresh(&mut self) -> Result<(), StoreError> {
        self.read_parameters()?;
        self.read_schemas()?;
        let ids: Vec<_> = self.targets.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.read_evidence(id))
    }

    pub(super) fn read_parameters(&mut self) -> Result<(), StoreError> {
        let rows = block_on(self.store.parameters());
        for row in self.noted(rows)? {
            if self.applied.get(&row.key) != Some(&(row.revision, row.standing)) {
                self.apply(&row);
            }
        }
        Ok(())
    }

    /// Reads the counts of a target: all of them the first time, then those of the hours that may have changed.
    fn read_evidence(&mut self, id: TargetId) -> Result<(), StoreError> {
        let (oldest, this_hour) = (self.oldest_hour(), self.wall().hour());
        let Some(target) = self.targets.get_mut(&id) else { return Ok(()) };
        // A process may be late with an hour that has just ended.
        let since = if target.is_loaded { (target.read_until - 1).max(oldest) } else { oldest };
        let since = block_of(since, this_hour).0;
        // What is put together again begins with a block, and what is read with the operation as it is now.
        let stored = block_on(self.store.evidence(&target.key, since.max(target.since)));
        let stored = self.noted(stored)?;
        if let Some(target) = self.targets.get_mut(&id) {
            target.replace_since(since, &stored, this_hour);
            target.read_until = this_hour;
            target.untold = true;
        }
        Ok(())
    }

    /// What the store has of a target, hour by hour, with what it has not taken yet, and of the hours before: on the first
    /// occasion of a day.
    fn read_hourly(&mut self, id: TargetId, now: Wall) -> Option<(History, Vec<PastHour>)> {
        let (day, oldest) = (now.hour().div_euclid(24), self.oldest_hour());
        let target = self.targets.get(&id).filter(|target| target.hourly != Some(day))?;
        if self.is_resting() {
            return None;
        }
        let since = oldest.max(target.since);
        let stored = block_on(self.store.evidence(&target.key, since));
        let past = block_on(self.store.past(&target.key, target.since));
        let mut hourly = self.noted(stored).ok()?;
        let past = self.noted(past).ok()?;
        let target = self.targets.get_mut(&id)?;
        target.hourly = Some(day);
        hourly.merge(&target.unsent.since(target.since));
        Some((hourly, past))
    }

    /// What the other services of its domain showed, as the store has it: once an hour, and of so many targets that
    /// reading it never takes long.
    fn read_siblings(&mut self, id: TargetId) {
        let hour = self.wall().hour();
        let is_read = |target: &Target| target.siblings_of == Some(hour);
        if self.is_resting() || self.targets.get(&id).is_none_or(is_read) {
            return;
        }
        if self.families_of != Some(hour) {
            self.families_of = Some(hour);
            if let Ok(families) = self.read_families(hour) {
                self.families = families;
            }
        }
        if let Some(target) = self.targets.get_mut(&id) {
            target.siblings_of = Some(hour);
            target.siblings = self.families.siblings(&target.key, self.directory.domain(&target.key));
        }
    }

    fn read_families(&mut self, hour: i64) -> Result<Families, StoreError> {
        let stored = block_on(self.store.targets());
        let mut families = Families::default();
        let mut targets = self.noted(stored)?;
        // Which of them are read shall not depend on the store.
        targets.sort_unstable();
        for target in targets.into_iter().take(MAX_SIBLINGS) {
            let seen = block_on(self.store.evidence(&target, hour - SIBLINGS_SINCE));
            let seen = self.noted(seen)?;
            let domain = self.directory.domain(&target);
            families.add(target, domain, &seen);
        }
        Ok(families)
    }

    pub(super) fn wall(&self) -> Wall {
        self.shared.clock.anchor().wall(self.shared.clock.now())
    }

    fn oldest_hour(&self) -> i64 {
        self.wall().before(self.settings.evidence_retention).hour()
    }
}

impl Target {
    pub(super) fn new(key: TargetKey, utility: Option<Utility>, now: Instant) -> Self {
        Self {
            key,
            utility,
            history: History::default(),
            unsent: History::default(),
            is_loaded: false,
            known: 0,
            fresh: 0,
            coarsened: 0,
            hourly: None,
            lately: None,
            learned: now,
            watch: Watch::default(),
            situations: Situations::default(),
            siblings: Siblings::default(),
            siblings_of: None,
            told: None,
            untold: false,
            read_until: 0,
            since: i64::MIN,
        }
    }

    /// Lets go of what was counted before an hour: it was another operation then.
    pub(super) fn begin(&mut self, since: i64) {
        if since <= self.since {
            return;
        }
        self.since = since;
        self.history.forget_before(since);
        self.known = news(&self.history);
        self.fresh = self.fresh.min(self.known);
        (self.lately, self.watch, self.situations) = (None, Watch::default(), Situations::default());
        self.untold = true;
    }

    /// Adds counts, at this hour.
    pub(super) fn add(&mut self, counts: &History, hour: i64) {
        self.unsent.merge(counts);
        let is_other = counts.oldest().is_some_and(|oldest| oldest < self.since);
        let own = is_other.then(|| counts.since(self.since));
        let counts = own.as_ref().unwrap_or(counts);
        self.history.merge(counts);
        let news = news(counts);
        self.known += news;
        self.fresh += news;
        self.untold = true;
        if counts.oldest().is_some_and(|oldest| oldest < hour) {
            self.lately = None;
        }
        if hour != self.coarsened {
            self.coarsened = hour;
            self.history.coarsen(hour);
        }
    }

    /// Takes the store's word for an hour and all after it, and adds what it does not know yet. What other processes
    /// added is news.
    fn replace_since(&mut self, hour: i64, stored: &History, now: i64) {
        let before = news(&self.history.since(hour));
        self.history.forget_from(hour);
        self.history.merge(stored);
        let from = hour.max(self.since);
        for (at, key, n) in self.unsent.cells().filter(|(at, ..)| *at >= from) {
            self.history.add(at, key, n);
        }
        let after = news(&self.history.since(hour));
        self.known = (self.known + after).saturating_sub(before);
        if self.is_loaded {
            self.fresh += after.saturating_sub(before);
        }
        self.is_loaded = true;
        self.lately = None;
        self.coarsened = now;
        self.history.coarsen(now);
    }
}

/// What is worth learning from again: attempts, calls made as part of another one, and those that were kept from the
/// service: should a value that does harm keep all of them from it, there would be no attempts to find that out by.
fn news(counts: &History) -> u64 {
    const REFUSED: [Ending; 3] = [Ending::CircuitOpen, Ending::Crowded, Ending::Deadline];
    let counted = |key: &Key| match key {
        Key::Attempt(_) | Key::Call(Ending::Batched) => true,
        Key::Call(ending) => REFUSED.contains(ending),
        _ => false,
    };
    counts.cells().filter(|(_, key, _)| counted(key)).map(|(.., count)| count).sum()
}
