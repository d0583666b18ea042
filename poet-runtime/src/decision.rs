//! What a person decides about a learned value: one stored move, as learning would store it.
//!
//! [`decide`] reads what stands in the store, asks `judged` (pure) what is to be moved, and publishes it, unless somebody
//! moved the value meanwhile. Processes that share the store take it up when they next read what others stored, within
//! a minute.

use crate::clock::Wall;
use crate::config::Pins;
use crate::defer::Note;
use crate::parameter;
use crate::store::{
    Good, ParameterChange, ParameterKey, ParameterRow, Published, Settlement, Standing, Store, StoreError,
};
use serde_json::json;
use std::fmt;

/// What a person decides about a parameter of a service and operation.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// The value that waits for approval is put in force, on trial.
    Approve,
    /// This value, in the parameter's unit, is in force and does not move.
    Pin(f64),
    /// What was pinned may move again, from the value it has.
    Unpin,
    /// The last good value is in force again, else the one before the last move; it does not move for 24 hours.
    RollBack,
    /// What was learned is forgotten: profile and configuration decide. It does not move for 24 hours, in which calls
    /// say anew what is best.
    Reset,
}

impl Decision {
    const fn done(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Pin(_) => "pinned",
            Self::Unpin => "unpinned",
            Self::RollBack => "rolled back",
            Self::Reset => "reset",
        }
    }
}

/// What is decided about which parameter, by whom and when.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Which parameter.
    pub key: ParameterKey,
    /// What is decided.
    pub decision: Decision,
    /// What calls were made with where nothing was learned, as far as that is known.
    pub unlearned: Option<f64>,
    /// Who decided it, and why.
    pub note: Note,
    /// When.
    pub now: Wall,
}

/// Why a decision was not carried out: nothing is changed.
#[derive(Debug)]
pub struct Declined(Kind);

#[derive(Debug)]
enum Kind {
    Refused(String),
    Superseded(Box<ParameterRow>),
    Store(StoreError),
}

impl Declined {
    fn refused(why: impl Into<String>) -> Self {
        Self(Kind::Refused(why.into()))
    }

    /// What somebody else moved it to meanwhile, where that is why.
    #[must_use]
    pub fn superseded_by(&self) -> Option<&ParameterRow> {
        match &self.0 {
            Kind::Superseded(row) => Some(row),
            Kind::Refused(_) | Kind::Store(_) => None,
        }
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Refused(why) => f.write_str(why),
            Kind::Superseded(row) => write!(
                f,
                "it was moved meanwhile, and nothing was changed: {} (revision {}: {})",
                present(row),
                row.revision,
                row.reason
            ),
            Kind::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Declined {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Store(error) => std::error::Error::source(error),
            Kind::Refused(_) | Kind::Superseded(_) => None,
        }
    }
}

impl From<StoreError> for Declined {
    fn from(error: StoreError) -> Self {
        Self(Kind::Store(error))
    }
}

/// Carries a decision out, and returns the move as it is stored. A trial that it cuts short is noted as ended.
///
/// # Errors
///
/// Where there is nothing to decide so about, where somebody moved the parameter meanwhile, and where the store fails.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use poet_runtime::Wall;
/// use poet_runtime::decision::{Decision, Instruction, decide};
/// use poet_runtime::defer::Note;
/// use poet_runtime::store::{MemoryStore, ParameterKey, Standing, TargetKey};
///
/// let target = TargetKey { service: "crm".to_owned(), operation: "get".to_owned() };
/// let pin = Instruction {
///     key: ParameterKey { target, name: "timeout.attempt".to_owned(), after: None },
///     decision: Decision::Pin(3.0),
///     unlearned: Some(10.0),
///     note: Note { by: "ops".to_owned(), text: None },
///     now: Wall::from_millis(0),
/// };
/// let moved = decide(&mut MemoryStore::new(), &pin).await.unwrap();
/// assert_eq!((moved.old, moved.new.value, moved.new.standing), (Some(10.0), 3.0, Standing::Pinned));
/// # }
/// ```
pub async fn decide(store: &mut dyn Store, instruction: &Instruction) -> Result<ParameterChange, Declined> {
    let rows = store.parameters().await?;
    let history = store.changes(Some(&instruction.key)).await?;
    let change = judged(instruction, &rows, &history)?;
    let before = rows.iter().find(|row| row.key == instruction.key);
    let row = match store.publish(&change, before.map(|row| row.revision)).await? {
        Published::Moved(row) => row,
        Published::Superseded(row) => return Err(Declined(Kind::Superseded(Box::new(row)))),
    };
    if let Some(trial) = before.filter(|row| row.standing == Standing::Trial) {
        let stays = row.in_force() == Some(trial.value);
        let standing = if stays { Standing::Confirmed } else { Standing::RolledBack };
        store.settle(Settlement { revision: trial.revision, standing, realised: None }).await?;
    }
    Ok(ParameterChange { new: row, ..change })
}

/// The move that carries a decision out, given every row and the history of the parameter, oldest first.
fn judged(
    instruction: &Instruction,
    rows: &[ParameterRow],
    history: &[ParameterChange],
) -> Result<ParameterChange, Declined> {
    let Instruction { key, decision, unlearned, .. } = instruction;
    let parameter =
        parameter::find(&key.name).ok_or_else(|| Declined::refused(format!("there is no parameter `{}`", key.name)))?;
    let row = rows.iter().find(|row| row.key == *key);
    let default = history.first().and_then(|first| first.old).or(*unlearned);
    let old = row.and_then(ParameterRow::in_force).or(default);
    let known = || row.ok_or_else(|| Declined::refused("nothing was learned about it yet"));
    let (value, standing, good) = match *decision {
        Decision::Approve => {
            let row = known()?;
            if row.standing != Standing::Proposed {
                return Err(Declined::refused(format!("nothing waits for approval: {}", present(row))));
            }
            (row.value, Standing::Trial, old.map(|value| Good { value, revision: in_force(rows, key) }))
        }
        Decision::Pin(value) => {
            let value = Pins::check(parameter, value).map_err(Declined::refused)?;
            if row.is_some_and(|row| row.standing == Standing::Pinned && row.value == value) {
                return Err(Declined::refused(format!("it is pinned at {} already", parameter.unit.show(value))));
            }
            (value, Standing::Pinned, None)
        }
        Decision::Unpin => {
            let row = row.filter(|row| row.standing == Standing::Pinned).ok_or_else(|| {
                let is = row.map_or("nothing was learned about it yet".to_owned(), present);
                Declined::refused(format!("nobody pinned it: {is}"))
            })?;
            (row.value, Standing::Confirmed, None)
        }
        Decision::RollBack => (before(known()?, old, history)?, Standing::RolledBack, None),
        Decision::Reset => {
            let row = known()?;
            if matches!(row.standing, Standing::Reset | Standing::Forgotten) {
                return Err(Declined::refused(format!("there is nothing to forget: {}", present(row))));
            }
            (default.unwrap_or(row.value), Standing::Forgotten, None)
        }
    };
    Ok(ParameterChange { old, new: written(instruction, row, (value, standing, good)), realised: None })
}

/// The row that is stored. What is approved rests on the estimate that proposed it; all else on a person's word.
fn written(
    Instruction { key, decision, note, now, .. }: &Instruction,
    before: Option<&ParameterRow>,
    (value, standing, good): (f64, Standing, Option<Good>),
) -> ParameterRow {
    let why = note.text.as_ref().map_or(String::new(), |text| format!(": {text}"));
    let said = format!("{} by a person ({}){why}", decision.done(), note.by);
    if let (Decision::Approve, Some(row)) = (decision, before) {
        let reason = format!("{said}; it was proposed because {}", row.reason);
        return ParameterRow { standing, good, reason, changed: *now, revision: 0, ..row.clone() };
    }
    let dropped = before.filter(|row| row.standing == Standing::Proposed && *decision == Decision::RollBack);
    let dropped = dropped.map_or(String::new(), |row| format!("; the proposal of {} is dropped", shown(row)));
    let evidence = json!({
        "decided": decision.done(),
        "by": note.by,
        "note": note.text,
        "before": before.map(|row| json!({ "revision": row.revision, "standing": row.standing.as_str() })),
    });
    ParameterRow {
        key: key.clone(),
        value,
        standing,
        good,
        sample: 0,
        interval: (value, value),
        confidence: 1.0,
        predicted: None,
        reason: format!("{said}{dropped}"),
        evidence: evidence.to_string(),
        changed: *now,
        revision: 0,
    }
}

/// The value to go back to.
fn before(row: &ParameterRow, old: Option<f64>, history: &[ParameterChange]) -> Result<f64, Declined> {
    let nothing = |why| Err(Declined::refused(format!("there is nothing to go back to: {why}")));
    match row.standing {
        // What is in force stays, and the proposal goes.
        Standing::Proposed => {}
        Standing::Trial | Standing::Confirmed | Standing::Pinned => {
            let was_in_force = |change: &&ParameterChange| {
                !matches!(change.new.standing, Standing::Shadow | Standing::Found | Standing::Proposed)
            };
            let earlier = history.iter().rev().filter(was_in_force).filter_map(|change| change.old);
            let mut earlier = row.good.map(|good| good.value).into_iter().chain(earlier);
            return match earlier.find(|value| *value != row.value) {
                Some(value) => Ok(value),
                None => nothing(format!("{}, and no other value was before", present(row))),
            };
        }
        Standing::RolledBack | Standing::Shadow | Standing::Found | Standing::Reset | Standing::Forgotten => {
            return nothing(present(row));
        }
    }
    old.map_or_else(|| nothing("what is in force is not known".to_owned()), Ok)
}

/// The newest revision in force at the target of a parameter.
fn in_force(rows: &[ParameterRow], key: &ParameterKey) -> u64 {
    let at_target = rows.iter().filter(|row| row.key.target == key.target && row.in_force().is_some());
    at_target.map(|row| row.revision).max().unwrap_or(0)
}

fn shown(row: &ParameterRow) -> String {
    parameter::find(&row.key.name).map_or(row.value.to_string(), |known| known.unit.show(row.value))
}

/// How a parameter stands.
fn present(row: &ParameterRow) -> String {
    let value = shown(row);
    match row.standing {
        Standing::Trial => format!("{value} is in force, on trial"),
        Standing::Confirmed => format!("{value} is in force"),
        Standing::Shadow => format!("{value} was learned in shadow, which is never in force"),
        Standing::Proposed => format!("{value} waits for approval"),
        Standing::Found => format!("{value} was learned and is not worth acting on"),
        Standing::RolledBack => format!("{value} is in force, and what came after it was rolled back"),
        Standing::Reset => "what was learned was taken back".to_owned(),
        Standing::Forgotten => "a person reset it".to_owned(),
        Standing::Pinned => format!("a person pinned it at {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey};
    use crate::outcome::FailureKind;
    use crate::store::conformance::change;
    use crate::store::{Batch, BoxFuture, MemoryStore, OutcomeRow, SchemaRow, TargetKey};
    use Standing::{Confirmed, Forgotten, Found, Pinned, Proposed, Reset, RolledBack, Shadow, Trial};

    const NAME: &str = "timeout.attempt";

    fn instruction(decision: Decision) -> Instruction {
        Instruction {
            key: change("crm", NAME, None, 0.0).new.key,
            decision,
            unlearned: Some(10.0),
            note: Note { by: "alice".to_owned(), text: Some("the vendor says so".to_owned()) },
            now: Wall::from_millis(1_800_000_000_000),
        }
    }

    /// A store in which the timeout moved so, from ten seconds.
    async fn moved(moves: &[(f64, Standing, Option<f64>)]) -> MemoryStore {
        let mut store = MemoryStore::new();
        let (mut old, mut revision) = (10.0, None);
        for (value, standing, good) in moves {
            let good = good.map(|value| Good { value, revision: 0 });
            let mut moved = change("crm", NAME, None, *value);
            (moved.old, moved.new.standing, moved.new.good) = (Some(old), *standing, good);
            let Published::Moved(row) = store.publish(&moved, revision).await.unwrap() else { panic!("superseded") };
            (old, revision) = (row.in_force().unwrap_or(old), Some(row.revision));
        }
        store
    }

    async fn decided(moves: &[(f64, Standing, Option<f64>)], decision: Decision) -> ParameterChange {
        decide(&mut moved(moves).await, &instruction(decision)).await.unwrap()
    }

    async fn declined(moves: &[(f64, Standing, Option<f64>)], decision: Decision) -> String {
        decide(&mut moved(moves).await, &instruction(decision)).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_is_approved_is_on_trial_against_what_was_in_force() {
        let change = decided(&[(6.0, Confirmed, None), (4.0, Proposed, Some(6.0))], Decision::Approve).await;
        assert_eq!((change.old, change.new.value, change.new.standing), (Some(6.0), 4.0, Trial));
        assert_eq!(change.new.good, Some(Good { value: 6.0, revision: 2 }));
        assert_eq!(change.new.sample, 400, "it rests on what it was proposed for");
        assert!(change.new.reason.starts_with("approved by a person (alice): the vendor says so; it was proposed"));
    }

    #[tokio::test]
    async fn a_proposal_where_nothing_was_learned_is_on_trial_against_the_default() {
        let change = decided(&[(4.0, Proposed, None)], Decision::Approve).await;
        assert_eq!((change.old, change.new.good.map(|good| good.value)), (Some(10.0), Some(10.0)));
    }

    #[tokio::test]
    async fn only_what_waits_for_approval_can_be_approved() {
        for standing in Standing::ALL.into_iter().filter(|standing| *standing != Proposed) {
            let why = declined(&[(4.0, standing, None)], Decision::Approve).await;
            assert!(why.starts_with("nothing waits for approval: "), "{why}");
        }
        assert_eq!(declined(&[], Decision::Approve).await, "nothing was learned about it yet");
    }

    #[tokio::test]
    async fn a_pin_is_in_force_whatever_was_before() {
        let change = decided(&[], Decision::Pin(3.0)).await;
        assert_eq!((change.old, change.new.in_force(), change.new.standing), (Some(10.0), Some(3.0), Pinned));
        assert_eq!(change.new.reason, "pinned by a person (alice): the vendor says so");
        for standing in Standing::ALL {
            assert_eq!(decided(&[(4.0, standing, None)], Decision::Pin(3.0)).await.new.in_force(), Some(3.0));
        }
    }

    #[tokio::test]
    async fn a_pin_out_of_bounds_or_of_no_use_is_declined() {
        let why = declined(&[], Decision::Pin(900.0)).await;
        assert_eq!(why, "expected seconds from 0.005 to 300, or a duration such as \"2s\", found 900");
        assert_eq!(declined(&[(4.0, Pinned, None)], Decision::Pin(4.0)).await, "it is pinned at 4.0 s already");
    }

    #[tokio::test]
    async fn what_is_unpinned_is_learned_from_the_value_it_has() {
        let change = decided(&[(4.0, Pinned, None)], Decision::Unpin).await;
        assert_eq!((change.old, change.new.value, change.new.standing), (Some(4.0), 4.0, Confirmed));
        let why = declined(&[(4.0, Confirmed, None)], Decision::Unpin).await;
        assert_eq!(why, "nobody pinned it: 4.0 s is in force");
    }

    #[tokio::test]
    async fn a_roll_back_is_to_the_last_good_value_else_to_the_one_before_the_last_move() {
        let to = async |moves: &[(f64, Standing, Option<f64>)]| decided(moves, Decision::RollBack).await.new.value;
        assert_eq!(to(&[(8.0, Confirmed, None), (5.0, Trial, Some(9.0))]).await, 9.0);
        assert_eq!(to(&[(8.0, Confirmed, None), (5.0, Confirmed, None)]).await, 8.0);
        assert_eq!(to(&[(8.0, Confirmed, None)]).await, 10.0);
        assert_eq!(to(&[(8.0, Pinned, None), (8.0, Confirmed, None)]).await, 10.0, "the same value is no way back");
        let change = decided(&[(8.0, Confirmed, None), (5.0, Pinned, None)], Decision::RollBack).await;
        assert_eq!((change.old, change.new.standing, change.new.in_force()), (Some(5.0), RolledBack, Some(8.0)));
    }

    #[tokio::test]
    async fn rolling_a_proposal_back_drops_it() {
        let change = decided(&[(6.0, Confirmed, None), (4.0, Proposed, Some(6.0))], Decision::RollBack).await;
        assert_eq!((change.old, change.new.in_force()), (Some(6.0), Some(6.0)));
    }

    #[tokio::test]
    async fn what_is_not_in_force_or_was_rolled_back_is_not_rolled_back() {
        for standing in [Shadow, Found, Reset, Forgotten, RolledBack] {
            let why = declined(&[(8.0, Confirmed, None), (4.0, standing, None)], Decision::RollBack).await;
            assert!(why.starts_with("there is nothing to go back to: "), "{why}");
        }
    }

    #[tokio::test]
    async fn what_is_reset_leaves_the_decision_to_profile_and_configuration() {
        for standing in Standing::ALL.into_iter().filter(|standing| !matches!(standing, Reset | Forgotten)) {
            let change = decided(&[(8.0, Confirmed, None), (4.0, standing, None)], Decision::Reset).await;
            assert_eq!((change.new.value, change.new.in_force(), change.new.standing), (10.0, None, Forgotten));
        }
        let why = declined(&[(4.0, Forgotten, None)], Decision::Reset).await;
        assert_eq!(why, "there is nothing to forget: a person reset it");
    }

    #[tokio::test]
    async fn a_trial_that_a_person_cuts_short_is_noted_as_ended() {
        for (decision, ended) in
            [(Decision::RollBack, RolledBack), (Decision::Pin(5.0), Confirmed), (Decision::Pin(7.0), RolledBack)]
        {
            let mut store = moved(&[(5.0, Trial, Some(9.0))]).await;
            let row = decide(&mut store, &instruction(decision)).await.unwrap().new;
            let history = store.changes(None).await.unwrap();
            assert_eq!((history[0].new.standing, &history[1].new), (ended, &row), "{decision:?}");
        }
    }

    /// A store in which somebody else always moves first.
    #[derive(Debug)]
    struct Contended(MemoryStore);

    impl Store for Contended {
        fn describe(&self) -> String {
            self.0.describe()
        }

        fn append<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StoreError>> {
            self.0.append(batch)
        }

        fn targets(&mut self) -> BoxFuture<'_, Result<Vec<TargetKey>, StoreError>> {
            self.0.targets()
        }

        fn evidence<'a>(
            &'a mut self,
            target: &'a TargetKey,
            since_hour: i64,
        ) -> BoxFuture<'a, Result<crate::evidence::History, StoreError>> {
            self.0.evidence(target, since_hour)
        }

        fn past<'a>(
            &'a mut self,
            target: &'a TargetKey,
            since: i64,
        ) -> BoxFuture<'a, Result<Vec<crate::evidence::PastHour>, StoreError>> {
            self.0.past(target, since)
        }

        fn needs(&mut self, since_hour: i64) -> BoxFuture<'_, Result<Vec<crate::store::Need>, StoreError>> {
            self.0.needs(since_hour)
        }

        fn parameters(&mut self) -> BoxFuture<'_, Result<Vec<ParameterRow>, StoreError>> {
            self.0.parameters()
        }

        fn publish<'a>(
            &'a mut self,
            change: &'a ParameterChange,
            expected: Option<u64>,
        ) -> BoxFuture<'a, Result<Published, StoreError>> {
            Box::pin(async move {
                let mut first = change.clone();
                (first.new.value, first.new.standing) = (7.0, Confirmed);
                self.0.publish(&first, expected).await?;
                self.0.publish(change, expected).await
            })
        }

        fn settle(&mut self, settlement: Settlement) -> BoxFuture<'_, Result<Option<ParameterRow>, StoreError>> {
            self.0.settle(settlement)
        }

        fn changes<'a>(
            &'a mut self,
            key: Option<&'a ParameterKey>,
        ) -> BoxFuture<'a, Result<Vec<ParameterChange>, StoreError>> {
            self.0.changes(key)
        }

        fn outcomes<'a>(
            &'a mut self,
            target: Option<&'a TargetKey>,
            limit: usize,
        ) -> BoxFuture<'a, Result<Vec<OutcomeRow>, StoreError>> {
            self.0.outcomes(target, limit)
        }

        fn schemas(&mut self) -> BoxFuture<'_, Result<Vec<SchemaRow>, StoreError>> {
            self.0.schemas()
        }

        fn note_schema<'a>(&'a mut self, row: &'a SchemaRow) -> BoxFuture<'a, Result<(), StoreError>> {
            self.0.note_schema(row)
        }

        fn folded(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
            self.0.folded()
        }

        fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
            self.0.prune(outcomes, evidence_hour)
        }

        fn promise<'a>(&'a mut self, entries: &'a [AuditEntry]) -> BoxFuture<'a, Result<(), StoreError>> {
            self.0.promise(entries)
        }

        fn audit<'a>(
            &'a mut self,
            filter: &'a AuditFilter,
            limit: usize,
        ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
            self.0.audit(filter, limit)
        }

        fn audit_counts(&mut self) -> BoxFuture<'_, Result<AuditCounts, StoreError>> {
            self.0.audit_counts()
        }

        fn audit_key(&mut self) -> BoxFuture<'_, Result<Option<AuditKey>, StoreError>> {
            self.0.audit_key()
        }

        fn keep_audit_key(&mut self, drawn: AuditKey) -> BoxFuture<'_, Result<AuditKey, StoreError>> {
            self.0.keep_audit_key(drawn)
        }

        fn prune_audit(&mut self, before: Wall, most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
            self.0.prune_audit(before, most)
        }
    }

    #[tokio::test]
    async fn a_decision_about_what_moved_meanwhile_changes_nothing_and_says_what_it_is_now() {
        let mut store = Contended(moved(&[(5.0, Trial, Some(9.0))]).await);
        let declined = decide(&mut store, &instruction(Decision::Pin(3.0))).await.unwrap_err();
        assert_eq!(declined.superseded_by().map(|row| row.value), Some(7.0));
        assert!(declined.to_string().contains("nothing was changed: 7.0 s is in force (revision 2: "), "{declined}");
        assert_eq!(store.changes(None).await.unwrap()[0].new.standing, Trial);
    }

    #[tokio::test]
    async fn each_kind_of_failure_is_decided_about_apart() {
        let mut store = MemoryStore::new();
        for (kind, value) in [(FailureKind::Lost, 1.0), (FailureKind::Connect, 2.0)] {
            let name = "retry.max_retries";
            let key = change("crm", name, Some(kind), 0.0).new.key;
            let pin = Instruction { key, unlearned: None, ..instruction(Decision::Pin(value)) };
            assert_eq!(decide(&mut store, &pin).await.unwrap().old, None);
        }
        let values: Vec<_> = store.parameters().await.unwrap().iter().map(|row| row.value).collect();
        assert_eq!(values.len(), 2);
    }
}
