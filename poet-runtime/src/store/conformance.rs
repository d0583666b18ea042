//! What any [`Store`] must do, as claims that a test runs against an empty one.
//!
//! Each claim panics, with what it found, if the store breaks it. A store across the network passes the same list.

use super::{
    Batch, BoxFuture, Good, Need, OutcomeRow, PAST_HOURS, ParameterChange, ParameterKey, ParameterRow, Published,
    Realised, SchemaRow, Settlement, Standing, Store, TargetKey, Trouble,
};
use crate::audit::{
    AccessRule, AuditCounts, AuditEntry, AuditFilter, AuditKey, Decision, Declared, Detail, Validation, What, Who,
};
use crate::clock::Wall;
use crate::evidence::{AttemptClass, Felt, History, Key, PastHour};
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
    needs_add_up_by_function_and_operation_since_an_hour,
    pruning_takes_needs_of_old_hours,
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
    of_a_pruned_hour_the_attempts_stay_for_ten_months,
    an_entry_of_the_audit_comes_back_whole,
    an_entry_that_is_about_to_be_made_ends_once,
    the_audit_is_asked_by_who_what_when_and_how_it_ended,
    pruning_the_audit_takes_the_old_and_counts_what_went_early,
    all_processes_of_a_store_hash_with_the_first_key,
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
    store.append(&Batch { outcomes, evidence, ..Batch::default() }).await.expect("a batch is appended");
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
    keys.push(Key::Untold);
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

/// What the function `orders` felt of a service.
fn need(service: &str, felt: Felt) -> Need {
    Need { function: target("orders"), operation: target(service), felt }
}

async fn needing(store: &mut dyn Store, needs: Vec<(i64, Need)>) {
    store.append(&Batch { needs, ..Batch::default() }).await.expect("a batch is appended");
}

async fn needs_add_up_by_function_and_operation_since_an_hour(store: &mut dyn Store) {
    assert_eq!(store.needs(i64::MIN).await.expect("needs"), []);
    let (lost, well) = (Felt::once(true, true), Felt::once(false, false));
    needing(store, vec![(9, need("crm", lost)), (10, need("crm", well)), (10, need("billing", well))]).await;
    needing(store, vec![(10, need("crm", lost)), (10, need("crm", Felt::once(false, true)))]).await;
    let felt = Felt { called: 3, failed: 1, failed_then: 1, failed_otherwise: 1 };
    assert_eq!(store.needs(10).await.expect("needs"), [need("billing", well), need("crm", felt)]);
    let felt = Felt { called: 4, failed: 2, failed_then: 2, failed_otherwise: 1 };
    assert_eq!(store.needs(i64::MIN).await.expect("needs"), [need("billing", well), need("crm", felt)]);
    assert_eq!(store.needs(11).await.expect("needs"), []);
}

async fn pruning_takes_needs_of_old_hours(store: &mut dyn Store) {
    let once = Felt::once(true, false);
    needing(store, vec![(9, need("crm", once)), (10, need("crm", once)), (8, need("billing", once))]).await;
    assert_eq!(store.prune(Wall::from_millis(0), 10).await.expect("pruning"), 2);
    assert_eq!(store.needs(i64::MIN).await.expect("needs"), [need("crm", once)]);
    assert_eq!(store.prune(Wall::from_millis(0), 10).await.expect("pruning"), 0);
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

async fn of_a_pruned_hour_the_attempts_stay_for_ten_months(store: &mut dyn Store) {
    let mut history = counted(3, DONE, 7);
    let classes = AttemptClass::all().zip(1..);
    classes.for_each(|(class, n)| history.add(3, Key::Attempt(class), n));
    history.add(3, Key::Probed(AttemptClass::Success), 50);
    history.add(7, Key::Attempt(AttemptClass::Success), 5);
    history.add(10, Key::Attempt(AttemptClass::Success), 9);
    append(store, vec![], vec![(target("crm"), history)]).await;
    assert_eq!(past(store, "crm", i64::MIN).await, [], "what is in the evidence is not told twice");
    store.prune(Wall::from_millis(0), 10).await.expect("pruning");
    // One that was answered, and of every kind of failure one more than of the kind before, from three on.
    let failures = (3..).take(FailureKind::ALL.len()).sum::<u64>();
    let (third, seventh) =
        (PastHour { hour: 3, attempts: 1 + failures, failures }, PastHour { hour: 7, attempts: 5, failures: 0 });
    assert_eq!(past(store, "crm", i64::MIN).await, [third, seventh]);
    assert_eq!(past(store, "crm", 4).await, [seventh]);
    assert_eq!(past(store, "billing", i64::MIN).await, []);
    // What another process was late with is added.
    append(store, vec![], vec![(target("crm"), counted(7, Key::Attempt(AttemptClass::Success), 4))]).await;
    store.prune(Wall::from_millis(0), 10).await.expect("pruning");
    let seventh = PastHour { attempts: 9, ..seventh };
    assert_eq!(past(store, "crm", i64::MIN).await, [third, seventh]);
    store.prune(Wall::from_millis(0), PAST_HOURS + 4).await.expect("pruning");
    let tenth = PastHour { hour: 10, attempts: 9, failures: 0 };
    assert_eq!(past(store, "crm", i64::MIN).await, [seventh, tenth]);
}

async fn past(store: &mut dyn Store, service: &str, since: i64) -> Vec<PastHour> {
    store.past(&target(service), since).await.expect("past hours")
}

/// An entry of the audit of `crm` that began at that millisecond and ended well a second later.
#[must_use]
pub fn entry(execution: &str, began: i64) -> AuditEntry {
    AuditEntry {
        function: Some("orders::update".to_owned()),
        inside: Some("run-8".to_owned()),
        job: None,
        ended: Some(Wall::from_millis(began + 1_000)),
        ending: Some(Ending::Done),
        fields: vec![("email".to_owned(), "#00ff00ff00ff00ff".to_owned()), ("id".to_owned(), "7".to_owned())],
        detail: Detail {
            level: "on".to_owned(),
            priority: "normal".to_owned(),
            declared: Some(Declared::Configuration),
            access: Some(AccessRule { allowed: true, rule: "`allow` of the service has `get_*`".to_owned() }),
            arguments: Validation::Passed,
            fingerprint: Some("0123456789abcdef".to_owned()),
            decisions: vec![Decision { at: 0.25, what: What::Joined, by: Who::Rule.into() }],
            attempts: 2,
            seconds: 1.0,
            cost: Some(0.02),
            disposition: Some("done".to_owned()),
            ..Detail::default()
        },
        ..AuditEntry::begun(execution, target("crm"), Wall::from_millis(began))
    }
}

async fn write_down(store: &mut dyn Store, audit: Vec<AuditEntry>) {
    store.append(&Batch { audit, ..Batch::default() }).await.expect("a batch is appended");
}

async fn audit(store: &mut dyn Store, filter: AuditFilter) -> Vec<String> {
    let found = store.audit(&filter, 10).await.expect("the audit is read");
    found.into_iter().map(|entry| entry.execution).collect()
}

async fn an_entry_of_the_audit_comes_back_whole(store: &mut dyn Store) {
    let bare = AuditEntry::begun("run-2", target("billing"), Wall::from_millis(2_000));
    write_down(store, vec![entry("run-1", 1_000)]).await;
    store.promise(std::slice::from_ref(&bare)).await.expect("an entry is promised");
    let all = store.audit(&AuditFilter::default(), 10).await.expect("the audit is read");
    assert_eq!(all, [bare.clone(), entry("run-1", 1_000)], "newest first");
    write_down(store, vec![entry("run-0", 500)]).await;
    let all = audit(store, AuditFilter::default()).await;
    assert_eq!(all, ["run-2", "run-1", "run-0"], "by when they began, whenever they were written");
    assert_eq!(store.audit(&AuditFilter::default(), 1).await.expect("the audit is read").len(), 1);
    store.append(&Batch { audit_dropped: 3, ..Batch::default() }).await.expect("a batch is appended");
    let counts = store.audit_counts().await.expect("counts are read");
    assert_eq!(counts, AuditCounts { dropped: 3, deleted: 0 });
}

async fn an_entry_that_is_about_to_be_made_ends_once(store: &mut dyn Store) {
    let ended = entry("run-1", 1_000);
    let begun = AuditEntry { ended: None, ending: None, ..ended.clone() };
    store.promise(std::slice::from_ref(&begun)).await.expect("an entry is promised");
    assert_eq!(audit(store, AuditFilter { unfinished: true, ..AuditFilter::default() }).await, ["run-1"]);
    write_down(store, vec![ended.clone()]).await;
    let otherwise = AuditEntry { ending: Some(Ending::Failed), ..ended.clone() };
    write_down(store, vec![otherwise.clone(), begun]).await;
    store.promise(&[otherwise]).await.expect("an entry is promised");
    assert_eq!(store.audit(&AuditFilter::default(), 10).await.expect("the audit is read"), [ended]);
}

async fn the_audit_is_asked_by_who_what_when_and_how_it_ended(store: &mut dyn Store) {
    let denied = AuditEntry {
        ending: Some(Ending::Denied),
        job: Some("job-1".to_owned()),
        inside: None,
        fields: vec![("id".to_owned(), "8".to_owned())],
        target: TargetKey { service: "billing".to_owned(), operation: "pay".to_owned() },
        ..entry("run-2", 5_000)
    };
    write_down(store, vec![entry("run-1", 1_000), denied]).await;
    let by = |name: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        AuditFilter { field: Some((name.to_owned(), values)), ..AuditFilter::default() }
    };
    let service = AuditFilter { service: Some("crm".to_owned()), ..AuditFilter::default() };
    assert_eq!(audit(store, service).await, ["run-1"]);
    let operation = AuditFilter { operation: Some("pay".to_owned()), ..AuditFilter::default() };
    assert_eq!(audit(store, operation).await, ["run-2"]);
    let since = AuditFilter { since: Some(Wall::from_millis(5_000)), ..AuditFilter::default() };
    assert_eq!(audit(store, since).await, ["run-2"]);
    let ending = AuditFilter { ending: Some(Ending::Done), ..AuditFilter::default() };
    assert_eq!(audit(store, ending).await, ["run-1"]);
    let job = AuditFilter { job: Some("job-1".to_owned()), ..AuditFilter::default() };
    assert_eq!(audit(store, job).await, ["run-2"]);
    let inside = AuditFilter { inside: Some("run-8".to_owned()), ..AuditFilter::default() };
    assert_eq!(audit(store, inside).await, ["run-1"]);
    let execution = AuditFilter { execution: Some("run-1".to_owned()), ..AuditFilter::default() };
    assert_eq!(audit(store, execution).await, ["run-1"]);
    let prefix = AuditFilter { prefix: Some("run-".to_owned()), ..AuditFilter::default() };
    assert_eq!(audit(store, prefix).await, ["run-2", "run-1"]);
    assert_eq!(audit(store, by("id", &["7", "#00"])).await, ["run-1"]);
    assert_eq!(audit(store, by("email", &["ada", "#00ff00ff00ff00ff"])).await, ["run-1"]);
    assert_eq!(audit(store, by("email", &["7"])).await, [""; 0]);
    let both = AuditFilter { service: Some("billing".to_owned()), ..by("id", &["7"]) };
    assert_eq!(audit(store, both).await, [""; 0]);
}

async fn pruning_the_audit_takes_the_old_and_counts_what_went_early(store: &mut dyn Store) {
    let entries = (1..=6).map(|n| entry(&format!("run-{n}"), n * 1_000)).collect();
    write_down(store, entries).await;
    let gone = store.prune_audit(Wall::from_millis(3_000), 100).await.expect("pruning");
    assert_eq!((gone, audit(store, AuditFilter::default()).await.len()), (2, 4));
    let gone = store.prune_audit(Wall::from_millis(3_000), 3).await.expect("pruning");
    assert_eq!(
        (gone, audit(store, AuditFilter::default()).await),
        (1, ["run-6", "run-5", "run-4"].map(str::to_owned).into())
    );
    assert_eq!(store.audit_counts().await.expect("counts are read").deleted, 1);
}

async fn all_processes_of_a_store_hash_with_the_first_key(store: &mut dyn Store) {
    assert_eq!(store.audit_key().await.expect("the key is read"), None);
    let (first, second) = (AuditKey::drawn(), AuditKey::drawn());
    assert_eq!(store.keep_audit_key(first).await.expect("a key is kept"), first);
    assert_eq!(store.keep_audit_key(second).await.expect("a key is kept"), first);
    assert_eq!(store.audit_key().await.expect("the key is read"), Some(first));
}
