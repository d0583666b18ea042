use super::*;
use crate::plan::journal::MemoryJournal;
use crate::plan::{Condition as When, Inputs, Status, named};
use crate::{Clock, Wall};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

type Log = Arc<Mutex<Vec<String>>>;

fn runtime() -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    Runtime::builder().configuration(crate::config::Config::default()).in_memory().clock(clock).seed(7).build().unwrap()
}

/// A step that takes so many milliseconds, says when it starts and ends, and answers its arguments.
fn takes(log: &Log, name: &'static str, millis: u64) -> Step {
    let step = Step::new(name);
    let log = log.clone();
    let body = move |inputs: Inputs| {
        let log = log.clone();
        async move {
            crate::lock::lock(&log).push(format!("{name} starts"));
            tokio::time::sleep(Duration::from_millis(millis)).await;
            crate::lock::lock(&log).push(format!("{name} ends"));
            Ok(Value::Object(inputs.into_map()))
        }
    };
    step.call(body, json!({}))
}

fn fails(name: &'static str) -> Step {
    Step::new(name).call(async |_: Inputs| Err(Error::denied("no")), json!({}))
}

fn gives(name: &'static str, arguments: Value) -> Step {
    Step::new(name).call(async |inputs: Inputs| Ok(Value::Object(inputs.into_map())), arguments)
}

fn states(outcome: &Outcome) -> Vec<State> {
    outcome.steps.iter().map(|step| step.state).collect()
}

#[tokio::test(start_paused = true)]
async fn independent_steps_run_at_the_same_time_and_dependent_ones_after_each_other() {
    let log = Log::default();
    let plan = named("p")
        .step(takes(&log, "a", 100))
        .step(takes(&log, "b", 50))
        .step(takes(&log, "c", 10).after("a").after("b"));
    let outcome = plan.run_in(&runtime()).await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["a starts", "b starts", "b ends", "a ends", "c starts", "c ends"]);
    assert_eq!((outcome.status, outcome.total_duration.as_millis()), (Status::Completed, 110));
}

#[tokio::test(start_paused = true)]
async fn a_chain_runs_in_order_and_hands_on_what_was_answered() {
    let plan = named("chain")
        .sequential()
        .input("email", "ada@example.com")
        .step(gives("first", json!({ "id": 7 })))
        .step(gives("second", json!({ "params": ["$email", "$step_1.id"], "last": "no. $last_result.id" })));
    let outcome = plan.run_in(&runtime()).await.unwrap();
    let expected = json!({ "params": ["ada@example.com", 7], "last": "no. 7" });
    assert_eq!(outcome.value("second"), Some(&expected));
    assert!(outcome.success && outcome.completed_steps == 2);
}

#[tokio::test(start_paused = true)]
async fn a_reference_that_does_not_resolve_fails_the_step_before_anything_is_sent() {
    let log = Log::default();
    let mut sends = takes(&log, "sends", 1);
    sends.arguments = json!({ "to": ["$first.email"] });
    let plan = named("p").step(gives("first", json!({ "id": 7 }))).step(sends);
    let outcome = plan.run_in(&runtime()).await.unwrap();
    assert!(log.lock().unwrap().is_empty());
    let error = outcome.step("sends").unwrap().error.as_ref().unwrap().to_string();
    assert!(error.contains("`$first.email` in `to.0` does not resolve: it is an object with `id`"), "{error}");
    assert_eq!(outcome.status, Status::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_skips_the_step_and_completes_the_plan() {
    for (count, expected) in [(999, State::Skipped), (1_001, State::Done)] {
        let plan = named("milestone")
            .step(gives("count", json!({ "value": count })))
            .step(
                gives("issue", json!({ "title": "now $count.value" }))
                    .when(When::parse("$count.value > 1000").unwrap()),
            )
            .step(gives("comment", json!({ "on": "$issue.title" })))
            .step(gives("after", json!({})).after("issue"));
        let outcome = plan.run_in(&runtime()).await.unwrap();
        assert_eq!(states(&outcome), [State::Done, expected, expected, State::Done]);
        assert!(outcome.success, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_optional_step_that_fails_leaves_partial_results() {
    let plan = named("sources")
        .step(gives("notion", json!({ "results": [1] })))
        .step(fails("slack").optional())
        .step(gives("report", json!({ "of": "$notion.results" })).after("slack"));
    let outcome = plan.run_in(&runtime()).await.unwrap();
    assert_eq!((outcome.status, outcome.success), (Status::Partial, false));
    assert_eq!(states(&outcome), [State::Done, State::Failed, State::Done]);
    assert!(outcome.into_result().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_undone_with_what_it_had_answered() {
    let undone = Log::default();
    let log = undone.clone();
    let undo = move |inputs: Inputs| {
        let log = log.clone();
        async move {
            crate::lock::lock(&log).push(inputs.get("id").to_string());
            Ok(Value::Null)
        }
    };
    let plan = named("onboarding")
        .sequential()
        .step(gives("charge", json!({ "id": 1 })).compensate(undo.clone(), json!({ "id": "$charge.id" })))
        .step(gives("subscribe", json!({ "id": 2 })).compensate(undo, json!({ "id": "$subscribe.id" })))
        .step(fails("insert"))
        .step(gives("never", json!({})));
    let outcome = plan.run_in(&runtime()).await.unwrap();
    assert_eq!(*undone.lock().unwrap(), ["2", "1"]);
    assert_eq!(states(&outcome), [State::Compensated, State::Compensated, State::Failed, State::NotStarted]);
    assert_eq!(outcome.steps[3].reason.as_deref(), Some("`insert` before it: it failed"));
    assert!(outcome.into_result().unwrap_err().is_denied());
}

#[tokio::test(start_paused = true)]
async fn a_plan_ends_by_its_deadline_and_time_is_kept_for_undoing() {
    let log = Log::default();
    let plan = named("late")
        .deadline(Duration::from_millis(1000))
        .step(gives("done", json!({})).compensate(async |_: Inputs| Ok(Value::Null), json!({})))
        .step(takes(&log, "slow", 5_000))
        .step(takes(&log, "repeatable", 5_000).idempotent())
        .step(takes(&log, "next", 1).after("slow"));
    let outcome = plan.run_in(&runtime()).await.unwrap();
    assert_eq!(states(&outcome), [State::Compensated, State::Unknown, State::Failed, State::NotStarted]);
    assert!(outcome.steps[2].perhaps_executed);
    assert_eq!(outcome.total_duration.as_millis(), 800);

    let slow_undo = takes(&log, "undo", 9_000);
    let mut plan = plan.step(fails("fails").after("done"));
    plan.steps[0].compensation.as_mut().unwrap().action = slow_undo.action.unwrap();
    let outcome = plan.run_in(&runtime()).await.unwrap();
    assert_eq!(outcome.total_duration.as_millis(), 1000);
    assert!(matches!(outcome.steps[0].compensation, Some(Undo::Unknown(_))), "{:?}", outcome.steps[0]);
    assert_eq!(outcome.steps[0].state, State::Done);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_ended_gives_its_outcome_and_runs_nothing() {
    let runtime = runtime();
    let log = Log::default();
    let plan = named("order").step(takes(&log, "ship", 10)).keyed("order-4711");
    let first = plan.run_in(&runtime).await.unwrap();
    let again = plan.run_in(&runtime).await.unwrap();
    assert_eq!(first.to_json(), again.to_json());
    assert_eq!(log.lock().unwrap().len(), 2, "it was shipped once");
    let other = named("order").input("n", 1).step(takes(&log, "ship", 10)).keyed("order-4711");
    let error = other.run_in(&runtime).await.unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("another plan, or of other inputs"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_key_is_not_run_twice_at_the_same_time() {
    let runtime = runtime();
    let plan = named("order").step(takes(&Log::default(), "ship", 10)).keyed("k");
    let (one, other) = tokio::join!(plan.run_in(&runtime), plan.run_in(&runtime));
    assert!(one.unwrap().success);
    assert!(other.unwrap_err().is_denied());
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_a_plan_goes_on_where_it_stopped() {
    let runtime = runtime();
    let log = Log::default();
    let plan = named("order")
        .sequential()
        .keep_going()
        .step(takes(&log, "reserve", 10))
        .step(takes(&log, "look", 10).idempotent())
        .step(takes(&log, "charge", 10))
        .step(takes(&log, "ship", 10))
        .keyed("k");
    for millis in [15, 15] {
        let crashed = tokio::time::timeout(Duration::from_millis(millis), plan.run_in(&runtime)).await;
        assert!(crashed.is_err());
    }
    let outcome = plan.run_in(&runtime).await.unwrap();
    assert_eq!(states(&outcome), [State::Done, State::Done, State::Unknown, State::NotStarted]);
    let starts = |name: &str| log.lock().unwrap().iter().filter(|line| **line == format!("{name} starts")).count();
    assert_eq!((starts("reserve"), starts("look"), starts("charge"), starts("ship")), (1, 2, 1, 0));
    assert!(outcome.into_result().unwrap_err().is_outcome_unknown());
}

#[tokio::test(start_paused = true)]
async fn the_history_says_how_well_each_plan_did() {
    let runtime = runtime();
    runtime.plans().keep(MemoryJournal::default());
    let log = Log::default();
    named("good").step(takes(&log, "a", 10)).run_in(&runtime).await.unwrap();
    named("bad").step(fails("a")).run_in(&runtime).await.unwrap();
    named("good").step(takes(&log, "a", 30)).run_in(&runtime).await.unwrap();
    let history = runtime.plans().history(10).await.unwrap();
    assert_eq!(history.runs[0].plan, "good");
    let good = history.metrics["good"];
    assert_eq!((good.count, good.success_rate, good.mean_duration), (2, 1.0, Duration::from_millis(20)));
    assert_eq!(history.metrics["bad"].success_rate, 0.0);
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_as_it_happens() {
    let seen = Log::default();
    let told = seen.clone();
    let plan = named("p").step(gives("a", json!({}))).step(fails("b").after("a")).on_progress(move |progress| {
        crate::lock::lock(&told).push(match progress {
            Progress::Started(name) => format!("{name} started"),
            Progress::Ended(step) => format!("{} {}", step.name, step.state.as_str()),
            Progress::Undone(step) => format!("{} undone", step.name),
        });
    });
    plan.run_in(&runtime()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["a started", "a done", "b started", "b failed"]);
}

#[tokio::test(start_paused = true)]
async fn calls_inside_steps_get_the_plans_deadline_and_priority() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let look = move |_: Inputs| {
        let told = told.clone();
        async move {
            let found = context::surrounding(|outer| outer.map(|outer| (outer.priority, outer.deadline)));
            crate::lock::lock(&told).push(found);
            Ok(Value::Null)
        }
    };
    let runtime = runtime();
    let until = runtime.clock().now() + Duration::from_secs(9);
    let plan = named("p")
        .priority(Priority::High)
        .deadline(Duration::from_secs(9))
        .step(Step::new("a").call(look.clone(), json!({})))
        .step(Step::new("b").call(look, json!({})).priority(Priority::Low).after("a"));
    plan.run_in(&runtime).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [Some((Priority::High, until)), Some((Priority::Low, until))]);
}

/// One step of a plan that is crashed at random.
#[derive(Clone, Copy, Debug)]
struct Trait {
    millis: u64,
    repeatable: bool,
    fails: bool,
    undoable: bool,
    edges: u8,
}

fn traits() -> impl Strategy<Value = Trait> {
    (0..20_u64, any::<bool>(), 0..6_u8, any::<bool>(), any::<u8>()).prop_map(
        |(millis, repeatable, fails, undoable, edges)| Trait { millis, repeatable, fails: fails == 0, undoable, edges },
    )
}

/// How often each step was started, was executed to its end, and was undone.
#[derive(Default)]
struct Counts {
    started: [AtomicU32; 8],
    executed: [AtomicU32; 8],
    undone: [AtomicU32; 8],
}

fn crashing(steps: &[Trait], counts: &Arc<Counts>) -> Plan {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut plan = named("crashing").max_parallel(3).keyed("k");
    for (at, step) in steps.iter().copied().enumerate() {
        let seen = counts.clone();
        let body = move |_: Inputs| {
            let seen = seen.clone();
            async move {
                seen.started[at].fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(step.millis)).await;
                if step.fails {
                    return Err(Error::denied("no"));
                }
                seen.executed[at].fetch_add(1, Ordering::Relaxed);
                Ok(Value::Null)
            }
        };
        let mut declared = Step::new(names[at]).call(body, json!({}));
        for (before, name) in names.iter().enumerate().take(at) {
            if step.edges >> before & 3 == 3 {
                declared = declared.after(*name);
            }
        }
        if step.repeatable {
            declared = declared.idempotent();
        }
        if step.undoable {
            let seen = counts.clone();
            let undo = move |_: Inputs| {
                let seen = seen.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    seen.undone[at].fetch_add(1, Ordering::Relaxed);
                    Ok(Value::Null)
                }
            };
            declared = declared.compensate(undo, json!({}));
        }
        plan = plan.step(declared);
    }
    plan
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_dropped_anywhere_and_run_again_does_nothing_twice_and_tells_the_truth(
        steps in prop::collection::vec(traits(), 1..8),
        crashes in prop::collection::vec(0..30_u64, 0..6),
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        tokio.block_on(async {
            let runtime = runtime();
            let counts = Arc::new(Counts::default());
            let plan = crashing(&steps, &counts);
            for millis in crashes {
                let _ = tokio::time::timeout(Duration::from_millis(millis), plan.run_in(&runtime)).await;
            }
            let outcome = plan.run_in(&runtime).await.unwrap();
            let count = |counts: &[AtomicU32; 8], at: usize| counts[at].load(Ordering::Relaxed);
            for (at, (step, result)) in steps.iter().zip(&outcome.steps).enumerate() {
                let (started, executed) = (count(&counts.started, at), count(&counts.executed, at));
                let undone = count(&counts.undone, at);
                prop_assert!(step.repeatable || started <= 1, "{}: started {} times", result.name, started);
                prop_assert!(undone <= 1, "{}: undone {} times", result.name, undone);
                match result.state {
                    State::Done | State::Compensated => prop_assert!(executed >= 1, "{result:?}"),
                    State::NotStarted => prop_assert!(started == 0 || step.repeatable, "{result:?}"),
                    State::Failed => prop_assert!(executed == 0 && step.fails, "{result:?}"),
                    State::Unknown => prop_assert!(!step.repeatable, "{result:?}"),
                    other => prop_assert!(false, "{other:?}"),
                }
                let told = result.compensation == Some(Undo::Done);
                prop_assert_eq!(told, result.state == State::Compensated);
                prop_assert!(!told || undone == 1, "{result:?}");
                let due = step.undoable && outcome.status == Status::Failed && result.state == State::Done;
                prop_assert!(!due || matches!(result.compensation, Some(Undo::Unknown(_))), "{result:?}");
            }
            let again = plan.run_in(&runtime).await.unwrap();
            prop_assert_eq!(outcome.to_json(), again.to_json());
            Ok(())
        })?;
    }
}

/// Begins when it is asked, as an action may, and counts how often that was.
struct Eager(Arc<AtomicU32>);

impl crate::plan::Action for Eager {
    fn run<'a>(
        &'a self,
        _: &'a Runtime,
        _: Map<String, Value>,
        _: StepContext,
    ) -> BoxFuture<'a, Result<crate::plan::StepAnswer, Error>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(Value::Null.into())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_was_begun_before_is_not_begun_again() {
    let runtime = runtime();
    let undone = Arc::<AtomicU32>::default();
    let plan = named("p")
        .keyed("once")
        .step(gives("a", json!({})).compensate(Eager(undone.clone()), json!({})))
        .step(fails("b").after("a"));
    runtime.plans().keep(Forestalled(MemoryJournal::default()));
    let outcome = plan.run_in(&runtime).await.unwrap();
    let undo = outcome.step("a").unwrap().compensation.clone();
    assert!(matches!(undo, Some(Undo::Unknown(_))), "{undo:?}");
    assert_eq!(undone.load(Ordering::Relaxed), 0);
}

/// A journal in which another process is always the first to begin a compensation.
#[derive(Debug)]
struct Forestalled(MemoryJournal);

impl Journal for Forestalled {
    fn describe(&self) -> String {
        "forestalled".to_owned()
    }

    fn open<'a>(
        &'a self,
        opening: &'a Opening<'a>,
    ) -> BoxFuture<'a, Result<crate::plan::journal::Recorded, crate::store::StoreError>> {
        self.0.open(opening)
    }

    fn note<'a>(&'a self, key: &'a str, entry: &'a Entry) -> BoxFuture<'a, Result<bool, crate::store::StoreError>> {
        if entry.what == Happening::UndoStarted {
            return Box::pin(std::future::ready(Ok(false)));
        }
        self.0.note(key, entry)
    }

    fn end<'a>(&'a self, run: &'a Run, outcome: &'a str) -> BoxFuture<'a, Result<(), crate::store::StoreError>> {
        self.0.end(run, outcome)
    }

    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Run>, crate::store::StoreError>> {
        self.0.history(limit)
    }
}

#[tokio::test(start_paused = true)]
async fn steps_that_never_pause_end_at_the_deadline_too() {
    let hogs = |name: &'static str| {
        let body = async |_: Inputs| {
            // The clock goes on, and the step is never seen to wait.
            let mut second = pin!(tokio::time::advance(Duration::from_secs(1)));
            assert!(second.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop())).is_pending());
            Ok(Value::Null)
        };
        Step::new(name).call(body, json!({}))
    };
    let in_time = named("p").sequential().step(hogs("a")).step(hogs("b")).deadline(Duration::from_millis(1_500));
    let outcome = in_time.run_in(&runtime()).await.unwrap();
    assert!(outcome.success, "what has ended by then has ended well");
    let outcome = in_time.step(hogs("c")).run_in(&runtime()).await.unwrap();
    assert_eq!(states(&outcome), [State::Done, State::Done, State::NotStarted]);
    assert!(outcome.into_result().unwrap_err().is_deadline());
}
