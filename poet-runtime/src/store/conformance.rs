//! What any [`Store`] must do, as claims that a test runs against an empty one.
//!
//! Each claim panics, with what it found, if the store breaks it. A store across the network passes the same list.

use super::{
    Batch, BoxFuture, Good, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, Published, Realised, SchemaRow,
    Settlement, Standing, Store, TargetKey, Trouble,
};
use crate::clock::Wall;
use crate::evidence::{AttemptClass, History, Key};
use crate::outcome::{Ending, FailureKind, Withheld};
use std::time::Duration;

/// One claim: its name, and the check of it on an empty store.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The claim, as a sentence.
    pub name: &'static str,
    /// Panics if the store breaks it.
    pub check: for<'a> fn(&'a mut dyn Store) -> BoxFuture<'a, ()>,
}

macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        /// Every claim. Adding one is a function and a line here.
        pub static ALL: &[Claim] = &[$(Claim { name: stringify!($name), check: |store| Box::pin($name(store)) }),*];
    };
}

claims![
    a_new_store_holds_nothing,
    an_empty_batch_changes_nothing,
    evidence_adds_up_over_batches,
    evidence_is_kept_apart_by_target_and_read_from_an_hour_on,
    every_kind_of_evidence_comes_back,
    an_outcome_comes_back_whole,
    outcomes_come_newest_first_by_target_and_within_the_limit,
    folded_records_add_up,
    a_first_move_is_in_force_and_in_the_history,
    a_move_from_a_stale_revision_changes_nothing,
    a_store_that_lost_the_parameter_takes_the_move_and_counts_on,
    revisions_rise_over_all_parameters,
    a_parameter_is_kept_apart_by_kind_of_failure,
    changes_come_oldest_first_and_by_parameter,
    a_trial_that_ends_is_noted_at_its_move_and_at_the_value,
    the_end_of_a_trial_does_not_touch_a_value_that_moved_on,
    a_value_that_is_no_number_is_refused,
    schemas_come_back_by_target_and_stay_as_they_were_noted,
    pruning_takes_the_old_and_leaves_the_parameters,
];

/// The target `service`/`call` used by the claims.
#[must_use]
pub fn target(service: &str) -> TargetKey {
    TargetKey { service: service.to_owned(), operation: "call".to_owned() }
}

/// An outcome of a service that ended at that millisecond.
#[must_use]
pub fn outcome(service: &str, ended: i64) -> OutcomeRow {
    OutcomeRow {
        target: target(service),
        function: Some("orders::update".to_owned()),
        run: "0192f0c1-2b3c-7d4e-8f50-0123456789ab".to_owned(),
        execution: 1,
        ended: Wall::from_millis(ended),
        ending: Ending::Done,
        class: Some("success".to_owned()),
        attempts: 1,
        elapsed: Duration::from_micros(1_234_567),
        timeout: Duration::from_secs(10),
        retries: 2,
        revision: 0,
        withheld: None,
    }
}

/// A move of a parameter of a service.
#[must_use]
pub fn change(service: &str, name: &str, after: Option<FailureKind>, value: f64) -> ParameterChange {
    let key = ParameterKey { target: target(service), name: name.to_owned(), after };
    ParameterChange {
        old: None,
        new: ParameterRow {
            key,
            value,
            standing: Standing::Confirmed,
            good: None,
            predicted: None,
            sample: 400,
            interval: (value * 0.5, value * 2.0),
            confidence: 0.97,
            reason: "4 of 5 second tries succeed — après un échec".to_owned(),
            evidence: r#"{"retried":400}"#.to_owned(),
            changed: Wall::from_millis(1_800_000_000_123),
            revision: 0,
        },
        realised: None,
    }
}

fn counted(hour: i64, key: Key, n: u64) -> History {
    let mut history = History::default();
    history.add(hour, key, n);
    history
}

const DONE: Key = Key::Call(Ending::Done);

async fn append(store: &mut dyn Store, outcomes: Vec<OutcomeRow>, evidence: Vec<(TargetKey, History)>) {
    store.append(&Batch { outcomes, evidence, folded: 0 }).await.expect("a batch is appended");
}

async fn evidence(store: &mut dyn Store, service: &str, since: i64) -> History {
    store.evidence(&target(service), since).await.expect("evidence is read")
}

async fn publish(store: &mut dyn Store, change: &ParameterChange, expected: Option<u64>) -> Published {
    store.publish(change, expected).await.expect("a move is published")
}

async fn moved(store: &mut dyn Store, change: &ParameterChange, expected: Option<u64>) -> ParameterRow {
    match publish(store, change, expected).await {
        Published::Moved(row) => row,
        Published::Superseded(row) => panic!("superseded by {row:?}"),
    }
}

async fn a_new_store_holds_nothing(store: &mut dyn Store) {
    assert_eq!(store.targets().await.expect("targets"), []);
    assert_eq!(store.parameters().await.expect("parameters"), []);
    assert_eq!(store.changes(None).await.expect("changes"), []);
    assert_eq!(store.outcomes(None, 10).await.expect("outcomes"), []);
    assert_eq!(store.folded().await.expect("folded"), 0);
    assert!(evidence(store, "crm", i64::MIN).await.is_empty());
    assert!(!store.describe().is_empty());
}

async fn an_empty_batch_changes_nothing(store: &mut dyn Store) {
    append(store, vec![], vec![(target("crm"), History::default())]).await;
    assert_eq!(store.targets().await.expect("targets"), []);
}

async fn evidence_adds_up_over_batches(store: &mut dyn Store) {
    append(store, vec![], vec![(target("crm"), counted(480_000, DONE, 3))]).await;
    append(store, vec![], vec![(target("crm"), counted(480_000, DONE, 4)), (target("crm"), counted(480_001, DONE, 1))])
        .await;
    let mut expected = counted(480_000, DONE, 7);
    expected.add(480_001, DONE, 1);
    assert_eq!(evidence(store, "crm", i64::MIN).await, expected);
    assert_eq!(store.targets().await.expect("targets"), [target("crm")]);
}

async fn evidence_is_kept_apart_by_target_and_read_from_an_hour_on(store: &mut dyn Store) {
    let mut history = counted(10, DONE, 1);
    history.add(-11, DONE, 2);
    append(store, vec![], vec![(target("crm"), history), (target("billing"), counted(11, DONE, 5))]).await;
    assert_eq!(evidence(store, "crm", 10).await, counted(10, DONE, 1));
    assert_eq!(evidence(store, "crm", 11).await, History::default());
    assert_eq!(evidence(store, "billing", -100).await, counted(11, DONE, 5));
    assert_eq!(store.targets().await.expect("targets"), [target("billing"), target("crm")]);
}

async fn every_kind_of_evidence_comes_back(store: &mut dyn Store) {
    let mut keys = vec![Key::Answered(0), Key::Answered(159), Key::Censored(0), Key::Censored(159)];
    keys.extend([AttemptClass::Success, AttemptClass::Permanent].map(Key::Attempt));
    for kind in FailureKind::ALL {
        keys.extend([Key::Attempt(AttemptClass::Failure(kind)), Key::Retried(1, kind), Key::Recovered(15, kind)]);
    }
    keys.extend(Ending::ALL.map(Key::Call));
    let mut history = History::default();
    for (n, key) in (1..).zip(keys) {
        history.add(5, key, n);
    }
    append(store, vec![], vec![(target("crm"), history.clone())]).await;
    assert_eq!(evidence(store, "crm", 5).await, history);
}

async fn an_outcome_comes_back_whole(store: &mut dyn Store) {
    let plain = outcome("crm", 1_800_000_000_001);
    let odd = OutcomeRow {
        function: None,
        run: "another run".to_owned(),
        execution: u64::MAX,
        ended: Wall::from_millis(-5),
        ending: Ending::OutcomeUnknown,
        class: None,
        attempts: 255,
        elapsed: Duration::ZERO,
        timeout: Duration::from_secs(86_400 * 400),
        retries: 255,
        revision: 7,
        withheld: Some(Withheld::NotRepeatable),
        target: TargetKey { service: String::new(), operation: "naïve — 'quoted'".to_owned() },
    };
    append(store, vec![plain.clone(), odd.clone()], vec![]).await;
    assert_eq!(store.outcomes(None, 10).await.expect("outcomes"), [odd, plain]);
}

async fn outcomes_come_newest_first_by_target_and_within_the_limit(store: &mut dyn Store) {
    append(store, vec![outcome("crm", 1), outcome("billing", 2)], vec![]).await;
    append(store, vec![outcome("crm", 3)], vec![]).await;
    assert_eq!(
        store.outcomes(Some(&target("crm")), 10).await.expect("outcomes"),
        [outcome("crm", 3), outcome("crm", 1)]
    );
    assert_eq!(store.outcomes(None, 2).await.expect("outcomes"), [outcome("crm", 3), outcome("billing", 2)]);
    assert_eq!(store.outcomes(Some(&target("search")), 10).await.expect("outcomes"), []);
}

async fn folded_records_add_up(store: &mut dyn Store) {
    for folded in [2, 0, 5] {
        store.append(&Batch { folded, ..Batch::default() }).await.expect("a batch is appended");
    }
    assert_eq!(store.folded().await.expect("folded"), 7);
}

async fn a_first_move_is_in_force_and_in_the_history(store: &mut dyn Store) {
    let mut change = change("crm", "timeout.attempt", None, 2.5);
    change.old = Some(10.0);
    let row = moved(store, &change, None).await;
    change.new.revision = row.revision;
    assert!(row.revision > 0, "revision 0 means that nothing was learned");
    assert_eq!(row, change.new);
    assert_eq!(store.parameters().await.expect("parameters"), [row]);
    assert_eq!(store.changes(None).await.expect("changes"), [change]);
    assert_eq!(store.targets().await.expect("targets"), [target("crm")]);
}

async fn a_move_from_a_stale_revision_changes_nothing(store: &mut dyn Store) {
    let first = moved(store, &change("crm", "timeout.attempt", None, 2.5), None).await;
    for stale in [None, Some(first.revision + 1), Some(0)] {
        let answer = publish(store, &change("crm", "timeout.attempt", None, 4.0), stale).await;
        assert_eq!(answer, Published::Superseded(first.clone()), "expected {stale:?}");
    }
    assert_eq!(store.parameters().await.expect("parameters"), [first]);
    assert_eq!(store.changes(None).await.expect("changes").len(), 1);
}

async fn a_store_that_lost_the_parameter_takes_the_move_and_counts_on(store: &mut dyn Store) {
    let row = moved(store, &change("crm", "timeout.attempt", None, 2.5), Some(41)).await;
    assert_eq!(row.revision, 42);
}

async fn revisions_rise_over_all_parameters(store: &mut dyn Store) {
    let a = moved(store, &change("crm", "timeout.attempt", None, 2.5), None).await;
    let b = moved(store, &change("billing", "timeout.attempt", None, 2.5), None).await;
    let a2 = moved(store, &change("crm", "timeout.attempt", None, 3.0), Some(a.revision)).await;
    assert!(a.revision < b.revision && b.revision < a2.revision, "{} {} {}", a.revision, b.revision, a2.revision);
    let in_force = store.parameters().await.expect("parameters");
    assert_eq!(in_force.iter().map(|row| row.revision).max(), Some(a2.revision));
    assert_eq!(in_force.len(), 2);
}

async fn a_parameter_is_kept_apart_by_kind_of_failure(store: &mut dyn Store) {
    let kinds = [None, Some(FailureKind::Timeout), Some(FailureKind::Connect)];
    for (n, kind) in kinds.into_iter().enumerate() {
        moved(store, &change("crm", "retry.max_retries", kind, n as f64), None).await;
    }
    let rows = store.parameters().await.expect("parameters");
    assert_eq!(rows.len(), 3);
    for (n, kind) in kinds.into_iter().enumerate() {
        let row = rows.iter().find(|row| row.key.after == kind).expect("one for each kind");
        assert_eq!(row.value, n as f64);
    }
}

async fn changes_come_oldest_first_and_by_parameter(store: &mut dyn Store) {
    let first = moved(store, &change("crm", "timeout.attempt", None, 2.5), None).await;
    let other = moved(store, &change("crm", "retry.base_delay", None, 0.1), None).await;
    let second = ParameterChange { old: Some(2.5), ..change("crm", "timeout.attempt", None, 3.0) };
    let second = moved(store, &second, Some(first.revision)).await;
    let all = store.changes(None).await.expect("changes");
    assert_eq!(all.iter().map(|c| &c.new).collect::<Vec<_>>(), [&first, &other, &second]);
    let one = store.changes(Some(&first.key)).await.expect("changes");
    assert_eq!(one.iter().map(|c| (c.old, &c.new)).collect::<Vec<_>>(), [(None, &first), (Some(2.5), &second)]);
}

const REALISED: Realised = Realised { gain: 0.02, interval: (0.01, 0.03), calls: 200, compared: 25 };

/// A move on trial, with everything that is stored of it.
fn trial(value: f64) -> ParameterChange {
    let mut change = change("crm", "timeout.attempt", None, value);
    change.new.standing = Standing::Trial;
    change.new.good = Some(Good { value: 10.0, revision: 7 });
    change.new.predicted = Some(0.015);
    change
}

async fn a_trial_that_ends_is_noted_at_its_move_and_at_the_value(store: &mut dyn Store) {
    let row = moved(store, &trial(2.5), None).await;
    assert_eq!(row, ParameterRow { revision: row.revision, ..trial(2.5).new });
    let end = Settlement { revision: row.revision, standing: Standing::Confirmed, realised: Some(REALISED) };
    let settled = ParameterRow { standing: Standing::Confirmed, ..row };
    assert_eq!(store.settle(end).await.expect("settling"), Some(settled.clone()));
    assert_eq!(store.parameters().await.expect("parameters"), std::slice::from_ref(&settled));
    let change = ParameterChange { old: None, new: settled, realised: Some(REALISED) };
    assert_eq!(store.changes(None).await.expect("changes"), [change]);
}

async fn the_end_of_a_trial_does_not_touch_a_value_that_moved_on(store: &mut dyn Store) {
    let first = moved(store, &trial(2.5), None).await;
    let second = moved(store, &trial(1.5), Some(first.revision)).await;
    let end = Settlement { revision: first.revision, standing: Standing::RolledBack, realised: None };
    assert_eq!(store.settle(end).await.expect("settling"), None);
    assert_eq!(store.parameters().await.expect("parameters"), [second]);
    let standings: Vec<_> =
        store.changes(None).await.expect("changes").iter().map(|change| change.new.standing).collect();
    assert_eq!(standings, [Standing::RolledBack, Standing::Trial]);
    let unknown = Settlement { revision: 999, standing: Standing::Confirmed, realised: None };
    assert_eq!(store.settle(unknown).await.expect("settling"), None);
}

async fn schemas_come_back_by_target_and_stay_as_they_were_noted(store: &mut dyn Store) {
    let row = |service, schema, seen, began| SchemaRow {
        target: target(service),
        schema,
        seen: Wall::from_millis(seen),
        began,
    };
    let noted = [row("crm", u64::MAX, 5, false), row("crm", 7, 9, true), row("mail", 7, 1, false)];
    for row in [&noted[2], &noted[0], &noted[1]] {
        store.note_schema(row).await.expect("a schema is noted");
    }
    store.note_schema(&row("crm", 7, 99, false)).await.expect("it is known already");
    assert_eq!(store.schemas().await.expect("schemas are read"), noted);
}

async fn a_value_that_is_no_number_is_refused(store: &mut dyn Store) {
    let nan = change("crm", "timeout.attempt", None, f64::NAN);
    let error = store.publish(&nan, None).await.expect_err("a value that is no number");
    assert_eq!(error.trouble(), Trouble::Refused);
    assert_eq!(store.changes(None).await.expect("changes"), []);
    let mut unbounded = change("crm", "timeout.attempt", None, 1.0);
    unbounded.new.interval = (f64::NEG_INFINITY, f64::INFINITY);
    assert_eq!(moved(store, &unbounded, None).await.interval, unbounded.new.interval);
}

async fn pruning_takes_the_old_and_leaves_the_parameters(store: &mut dyn Store) {
    let mut history = counted(9, DONE, 1);
    history.add(10, DONE, 2);
    let first = moved(store, &change("crm", "timeout.attempt", None, 2.5), None).await;
    append(store, vec![outcome("crm", 100), outcome("crm", 99), outcome("crm", 101)], vec![(target("crm"), history)])
        .await;
    assert_eq!(store.prune(Wall::from_millis(100), 10).await.expect("pruning"), 2);
    assert_eq!(store.outcomes(None, 10).await.expect("outcomes"), [outcome("crm", 101), outcome("crm", 100)]);
    assert_eq!(evidence(store, "crm", i64::MIN).await, counted(10, DONE, 2));
    assert_eq!(store.parameters().await.expect("parameters"), [first]);
    assert_eq!(store.changes(None).await.expect("changes").len(), 1);
    assert_eq!(store.prune(Wall::from_millis(100), 10).await.expect("pruning"), 0);
}
