use super::*;
use crate::store::{Batch, MemoryStore, Standing};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use text::Style;

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory store answers at once"),
    }
}

fn target(service: &str, operation: &str) -> TargetKey {
    TargetKey { service: service.to_owned(), operation: operation.to_owned() }
}

fn crm() -> TargetKey {
    target("salesforce_crm", "update_contact")
}

/// 2026-01-31T12:00:00Z and so many seconds.
fn at(seconds: i64) -> Wall {
    Wall::from_millis(1_769_860_800_000 + seconds * 1_000)
}

fn outcome(target: &TargetKey, execution: u64, ending: Ending, attempts: u8, millis: u64, revision: u64) -> OutcomeRow {
    OutcomeRow {
        target: target.clone(),
        function: Some("sync::run".to_owned()),
        run: "run-1".to_owned(),
        execution,
        ended: at(execution as i64),
        ending,
        class: (attempts > 0).then(|| "success".to_owned()),
        attempts,
        elapsed: Duration::from_millis(millis),
        timeout: Duration::from_secs(if revision > 0 { 5 } else { 10 }),
        retries: if revision > 1 { 1 } else { 2 },
        revision,
        withheld: None,
    }
}

fn change(
    target: &TargetKey,
    name: &str,
    after: Option<FailureKind>,
    old: f64,
    new: f64,
    second: i64,
) -> ParameterChange {
    ParameterChange {
        old: Some(old),
        new: ParameterRow {
            key: ParameterKey { target: target.clone(), name: name.to_owned(), after },
            value: new,
            standing: Standing::Confirmed,
            good: None,
            predicted: None,
            sample: 100,
            interval: (0.91, 0.98),
            confidence: 0.97,
            reason: "after a transient failure the first retry succeeded 96 of 100 times (90 % interval 0.91-0.98); a \
                     second one is not worth its cost"
                .to_owned(),
            evidence: r#"{"tried":100}"#.to_owned(),
            changed: at(second),
            revision: 0,
        },
        realised: None,
    }
}

/// Ten calls: seven done (one of them at the second attempt), one failed after a timeout, two refused.
fn store() -> MemoryStore {
    let mut store = MemoryStore::new();
    let mut history = History::default();
    let hour = at(0).hour();
    for (key, count) in [
        (Key::Call(Ending::Done), 7),
        (Key::Call(Ending::Failed), 1),
        (Key::Call(Ending::CircuitOpen), 2),
        (Key::Call(Ending::Cancelled), 5),
        (Key::Attempt(AttemptClass::Success), 7),
        (Key::Attempt(AttemptClass::Failure(FailureKind::Transient)), 1),
        (Key::Attempt(AttemptClass::Failure(FailureKind::Timeout)), 1),
        (Key::Answered(Sketch::bucket(Duration::from_millis(50))), 7),
        (Key::Censored(Sketch::bucket(Duration::from_secs(10))), 1),
    ] {
        history.add(hour, key, count);
    }
    let outcomes = vec![
        outcome(&crm(), 1, Ending::Done, 2, 300, 0),
        outcome(&crm(), 2, Ending::Failed, 1, 10_000, 0),
        outcome(&crm(), 3, Ending::Done, 1, 50, 1),
        outcome(&crm(), 4, Ending::CircuitOpen, 0, 0, 2),
    ];
    let evidence = vec![(crm(), history)];
    ready(store.append(&Batch { outcomes, evidence, folded: 3, ..Batch::default() })).unwrap();
    for change in [
        change(&crm(), "timeout.attempt", None, 10.0, 5.0, 2),
        change(&crm(), "retry.max_retries", Some(FailureKind::Transient), 2.0, 1.0, 3),
        change(&target("billing", "list"), "timeout.attempt", None, 8.0, 4.0, 4),
    ] {
        ready(store.publish(&change, None)).unwrap();
    }
    store
}

fn gathered() -> Report {
    ready(Report::gather(&mut store(), at(60))).unwrap()
}

#[test]
fn neither_a_refusal_nor_a_dropped_call_is_a_success_and_only_the_refusal_counts_against_it() {
    let report = gathered();
    let crm = &report.targets[1];
    assert_eq!(crm.success_rate, Some(0.7));
    assert_eq!(crm.attempts_per_call, Some(9.0 / 8.0));
    assert_eq!(crm.given_up, 1);
    let latency = crm.latency.unwrap();
    assert_eq!(latency.count, 7);
    assert!((0.045..0.056).contains(&latency.p95), "{latency:?}");
}

#[test]
fn the_time_of_whole_calls_leaves_out_what_never_reached_the_service() {
    let times = gathered().targets[1].call_time.unwrap();
    assert_eq!((times.count, times.p50, times.p99), (3, 0.3, 10.0));
    assert!((times.mean - 3.45).abs() < 1e-9);
}

#[test]
fn every_value_in_force_says_who_decided_it() {
    let report = gathered();
    let known = &report.targets[1].parameters;
    assert_eq!(known.len(), 2);
    assert_eq!((known[0].parameter.name, known[0].value, known[0].default), ("retry.max_retries", 1.0, 2.0));
    assert_eq!((known[1].parameter.name, known[1].value, known[1].default), ("timeout.attempt", 5.0, 10.0));
    assert!(known.iter().all(|known| known.origin == Origin::Learned));
}

#[test]
fn what_was_not_learned_shows_the_values_of_the_newest_call_that_was_made() {
    let mut store = MemoryStore::new();
    let mut history = History::default();
    history.add(at(0).hour(), Key::Call(Ending::Done), 1);
    let batch = Batch {
        outcomes: vec![
            outcome(&crm(), 1, Ending::Done, 1, 50, 0),
            OutcomeRow { retries: 0, timeout: Duration::ZERO, ..outcome(&crm(), 2, Ending::Cached, 0, 0, 0) },
        ],
        evidence: vec![(crm(), history)],
        ..Batch::default()
    };
    ready(store.append(&batch)).unwrap();
    let report = ready(Report::gather(&mut store, at(3))).unwrap();
    let known = &report.targets[0].parameters;
    assert_eq!(
        known.iter().map(|known| (known.value, known.origin)).collect::<Vec<_>>(),
        [(2.0, Origin::Configured), (10.0, Origin::Configured)]
    );
}

#[test]
fn in_shadow_the_value_before_is_in_force() {
    let mut store = MemoryStore::new();
    let mut shadow = change(&crm(), "timeout.attempt", None, 10.0, 5.0, 1);
    shadow.new.standing = Standing::Shadow;
    ready(store.publish(&shadow, None)).unwrap();
    let report = ready(Report::gather(&mut store, at(2))).unwrap();
    let known = &report.targets[0].parameters[0];
    assert_eq!((known.value, known.origin), (10.0, Origin::Shadow));
    assert!(text::report(&report, Style::Plain).contains("shadow says 5.0 s"));
}

#[test]
fn a_window_that_is_not_worth_acting_on_is_reported_as_such() {
    let mut store = MemoryStore::new();
    let mut noon = change(&crm(), "defer.hours", None, 0.0, f64::from(1 << 12), 1);
    noon.new.standing = Standing::Found;
    ready(store.publish(&noon, None)).unwrap();
    let report = ready(Report::gather(&mut store, at(2))).unwrap();
    let known = &report.targets[0].parameters[0];
    assert_eq!((known.value, known.origin), (0.0, Origin::Found));
    let shown = text::report(&report, Style::Plain);
    assert!(shown.contains("not acted on: 12:00-13:00"), "{shown}");
}

#[test]
fn an_execution_names_the_learned_rows_that_were_in_force_and_no_later_ones() {
    let report = gathered();
    let names = |execution: &Execution| execution.decided_by.iter().map(|row| row.revision).collect::<Vec<_>>();
    assert_eq!(report.executions.iter().map(|e| e.outcome.execution).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(report.executions.iter().map(names).collect::<Vec<_>>(), [vec![2, 1], vec![1], vec![], vec![]]);
}

#[test]
fn a_scope_leaves_other_services_and_older_calls_out() {
    let scope = Scope { service: Some("billing".to_owned()), executions: 1 };
    let report = ready(Report::gather_within(&mut store(), &scope, at(60))).unwrap();
    assert_eq!(report.targets.iter().map(|target| target.key.service.as_str()).collect::<Vec<_>>(), ["billing"]);
    assert_eq!((report.changes.len(), report.executions.len()), (1, 0));
    let scope = Scope { executions: 1, ..Scope::default() };
    let report = ready(Report::gather_within(&mut store(), &scope, at(60))).unwrap();
    assert_eq!(report.executions.len(), 1);
}

#[test]
fn text_stays_within_a_hundred_columns_and_answers_who_decided() {
    let text = text::report(&gathered(), Style::Plain);
    for line in text.lines() {
        assert!(line.chars().count() <= text::WIDTH, "{} columns: {line}", line.chars().count());
    }
    for part in [
        "update_contact of salesforce_crm",
        "success      70.0 %",
        "health       unknown: 77.8 % of 9 attempts of the last hour, 77.8 % of 9 attempts of the last day",
        "done 7, failed 1, circuit_open 2, cancelled 5",
        "retry.max_retries after transient         1       2  learned, revision 2  0.97     100",
        "the first retry succeeded 96 of 100 times",
        "revision 1: timeout.attempt = 5.0 s;",
        "3 records came faster than they could be stored",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn headings_are_bold_only_on_a_terminal() {
    assert!(!text::report(&gathered(), Style::Plain).contains('\x1b'));
    assert!(text::report(&gathered(), Style::Terminal).contains("\x1b[1mupdate_contact of salesforce_crm\x1b[0m"));
}

#[test]
fn json_has_stable_names_and_rates_as_fractions() {
    let value = json::report(&gathered());
    assert_eq!(value["schema"], 1);
    let crm = &value["targets"][1];
    assert_eq!(crm["success_rate"], 0.7);
    assert_eq!(crm["endings"]["circuit_open"], 2);
    assert_eq!((&crm["health"]["health_status"], &crm["health"]["attempts_24h"]), (&"unknown".into(), &9.0.into()));
    assert_eq!(crm["attempts"]["timeout"], 1);
    assert_eq!(crm["parameters"][0]["after"], "transient");
    assert_eq!(crm["parameters"][0]["learned"]["evidence"]["tried"], 100);
    assert_eq!(value["executions"][0]["decided_by"][0]["name"], "retry.max_retries");
    assert_eq!(value["executions"][1]["timeout"], 5.0);
    assert_eq!(value["changes"][0]["old"], 8.0);
    assert_eq!(value["recorder"]["folded"], 3);
}

#[test]
fn an_empty_store_is_an_empty_report() {
    let report = ready(Report::gather(&mut MemoryStore::new(), at(0))).unwrap();
    assert!(report.is_empty());
    assert_eq!(json::report(&report)["targets"], serde_json::json!([]));
}

#[test]
fn kept_answers_and_batches_are_successes_and_what_was_put_off_is_none_yet() {
    let mut store = MemoryStore::new();
    let mut history = History::default();
    for (ending, count) in [
        (Ending::Done, 2),
        (Ending::Cached, 5),
        (Ending::Batched, 2),
        (Ending::Fallback, 1),
        (Ending::Deferred, 30),
        (Ending::Queued, 30),
    ] {
        history.add(at(0).hour(), Key::Call(ending), count);
    }
    ready(store.append(&Batch { evidence: vec![(crm(), history)], ..Batch::default() })).unwrap();
    let report = ready(Report::gather(&mut store, at(60))).unwrap();
    let target = &report.targets[0];
    assert_eq!((target.success_rate, target.cache_hit_rate), (Some(0.9), Some(0.5)));
    assert!(text::report(&report, Style::Plain).contains("from cache   50.0 % of the calls"));
    assert_eq!(json::report(&report)["targets"][0]["cache_hit_rate"], 0.5);
}

#[test]
fn what_a_person_decided_is_told_apart_from_what_was_learned_and_from_what_was_taken_back() {
    for (standing, decided_by, sample) in [
        (Standing::Pinned, "a person pinned it", 0),
        (Standing::Forgotten, "a person reset it", 0),
        (Standing::Reset, "taken back", 100),
    ] {
        let mut store = MemoryStore::new();
        let mut moved = change(&crm(), "timeout.attempt", None, 10.0, 5.0, 30);
        (moved.new.standing, moved.new.sample) = (standing, sample);
        ready(store.publish(&moved, None)).unwrap();
        let report = ready(Report::gather(&mut store, at(60))).unwrap();
        let text = text::parameters(&report, Style::Plain);
        assert!(text.contains(decided_by), "{text}");
        let history = text::history(&[&report.changes[0]]);
        assert_eq!(history.contains("confidence"), sample > 0, "a person gives no sample: {history}");
        let by_a_person = report.targets[0].parameters[0].origin == Origin::Person;
        assert_eq!(by_a_person, standing != Standing::Reset);
    }
}

/// A function that calls two operations, one of them once only.
fn needing() -> MemoryStore {
    use crate::evidence::Felt;
    let mut store = store();
    let function = target("shop", "orders::sync");
    let mut history = History::default();
    history.add(at(0).hour(), Key::Call(Ending::Done), 1_000);
    history.add(at(0).hour(), Key::Untold, 2);
    let felt = Felt { called: 1_203, failed: 49, failed_then: 45, failed_otherwise: 3 };
    let need = |operation, felt| (at(0).hour(), Need { function: function.clone(), operation, felt });
    let needs = vec![
        need(crm(), felt),
        need(target("billing", "list"), Felt { called: 3, failed: 3, failed_then: 3, failed_otherwise: 0 }),
    ];
    let evidence = vec![(function.clone(), history)];
    ready(store.append(&Batch { evidence, needs, ..Batch::default() })).unwrap();
    store
}

#[test]
fn a_function_says_what_it_needs_and_a_service_who_feels_it() {
    let report = ready(Report::gather(&mut needing(), at(60))).unwrap();
    let text = text::report(&report, Style::Plain);
    for line in text.lines() {
        assert!(line.chars().count() <= text::WIDTH, "{} columns: {line}", line.chars().count());
    }
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "needs salesforce_crm.update_contact: called in 1,203 executions, failed in 4.1 % of them; then 91 % of executions \
         failed (0.3 % otherwise), 90 % intervals 84-97 % and 0.1-0.6 %",
        "billing.list: called in 3 executions, failed in 3: too few to say what follows",
        "2 executions called more than is told apart here",
        "felt by shop.orders::sync: called it in 1,203 executions, it failed in 4.1 % of them; then 91 %",
        "felt by shop.orders::sync: called it in 3 executions, it failed in 3: too few to say",
    ] {
        assert!(words.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn needs_have_stable_names_in_json_and_no_share_where_there_are_too_few() {
    let report = ready(Report::gather(&mut needing(), at(60))).unwrap();
    let value = json::report(&report);
    let function = value["targets"].as_array().unwrap().iter().find(|target| target["service"] == "shop").unwrap();
    let (crm, billing) = (&function["needs"][0], &function["needs"][1]);
    assert_eq!((&crm["service"], &crm["operation"]), (&"salesforce_crm".into(), &"update_contact".into()));
    assert_eq!((&crm["called"], &crm["failed"]), (&1_203.into(), &49.into()));
    assert_eq!((&crm["then"]["executions"], &crm["then"]["failed"]), (&49.into(), &45.into()));
    assert!(crm["then"]["failure_rate"].as_f64().unwrap() > 0.9 && crm["lost"].as_f64().unwrap() > 40.0, "{crm}");
    assert_eq!(crm["otherwise"]["executions"], 1_154);
    assert!(billing["then"]["failure_rate"].is_null() && billing["lost"].is_null(), "{billing}");
    assert!(billing["then"]["interval"][0].as_f64().unwrap() < 0.6, "{billing}");
    assert_eq!(function["needs_untold"], 2);
    assert_eq!(value["targets"][1]["felt_by"][0]["service"], "shop");
}

#[test]
fn the_report_of_one_service_says_who_of_the_others_feels_it() {
    let scope = Scope { service: Some("salesforce_crm".to_owned()), ..Scope::default() };
    let report = ready(Report::gather_within(&mut needing(), &scope, at(60))).unwrap();
    assert_eq!(report.targets.len(), 1);
    assert_eq!(report.targets[0].felt_by[0].other, target("shop", "orders::sync"));
}

#[test]
fn a_tool_that_became_another_one_is_said_to_be_with_what_was_taken_back() {
    let mut store = store();
    let target = ready(store.targets()).unwrap().remove(0);
    let row = |schema, began| SchemaRow { target: target.clone(), schema, seen: at(30), began };
    for row in [row(1, false), row(2, true)] {
        ready(store.note_schema(&row)).unwrap();
    }
    let report = ready(Report::gather(&mut store, at(60))).unwrap();
    let since: Vec<_> = report.targets.iter().map(|target| target.another_since).collect();
    assert_eq!((since[0], since[1..].iter().flatten().count()), (Some(at(30)), 0));
    let text = text::report(&report, Style::Plain);
    assert!(text.contains("the tool is") && text.contains("by its schema"), "{text}");
    assert_eq!(json::report(&report)["targets"][0]["another_since"], at(30).to_string());
}
