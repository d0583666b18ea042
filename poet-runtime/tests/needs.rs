//! What functions feel of the services they call, from the call to the report, on the real pipeline in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

#[path = "support/scripted.rs"]
mod scripted;
mod support;

use poet_runtime::__private::{Call, caps, run, run_once, run_once_or};
use poet_runtime::config::{Config, ServiceConfig, ToolConfig};
use poet_runtime::defer::MemoryQueue;
use poet_runtime::evidence::Felt;
use poet_runtime::plan::{Inputs, Step};
use poet_runtime::report::{Report, json, text};
use poet_runtime::service::{CacheWish, Caller, Failure, Request, ServiceCall};
use poet_runtime::store::{MemoryStore, SqliteStore, Store, TargetKey};
use poet_runtime::{Class, Clock, Declaration, Disposition, Error, Profile, Runtime, Site, Wall, plan};
use scripted::{Scripted, answers};
use serde_json::{Value, json as value};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use support::{GRACE, call, declared, fails, read, site};
use tokio::time::{Instant, advance, sleep};

type Placed = Result<u32, Error>;

const SECOND: Duration = Duration::from_secs(1);

/// A runtime on a store of its own, which is never refused by a circuit.
fn world() -> (Runtime, MemoryStore) {
    let store = MemoryStore::new();
    (on(store.clone()), store)
}

fn on(store: impl Store + 'static) -> Runtime {
    let tool = ToolConfig::default().deferrable();
    let config = Config::default().service(ServiceConfig::named("crm").tool("defers", tool));
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let builder = Runtime::builder().configuration(config).store(store).queue(MemoryQueue::new());
    builder.clock(clock).seed(7).build().unwrap()
}

fn key(service: &str, operation: &str) -> TargetKey {
    TargetKey { service: service.to_owned(), operation: operation.to_owned() }
}

/// The functions of these tests are of the crate `shop` and its module `orders`.
fn function(name: &str) -> TargetKey {
    key("shop", &format!("orders::{name}"))
}

/// What a function felt of an operation of `crm`.
async fn felt(runtime: &Runtime, store: &mut dyn Store, name: &str, operation: &str) -> Option<Felt> {
    runtime.flush().await.unwrap();
    let all = store.needs(i64::MIN).await.unwrap();
    let found = all.into_iter().find(|need| need.function == function(name) && need.operation == key("crm", operation));
    found.map(|need| need.felt)
}

/// One attempt at an operation, which fails or not.
async fn tries(runtime: &Runtime, operation: &str, works: bool) -> Placed {
    let once = ServiceCall { retries: Some(0), ..read(operation) };
    let attempt = |_| async move { if works { Ok(7) } else { fails(Class::Permanent) } };
    runtime.call(&once, attempt).await.map(|answer| answer.value)
}

/// An execution of a function with this body.
async fn execute(runtime: &Runtime, site: &'static Site, body: impl Future<Output = Placed>) -> Placed {
    runtime.scope(run_once(site, Call::new(caps!(Placed)), pin!(body))).await
}

#[tokio::test(start_paused = true)]
async fn the_report_says_what_a_function_needs_and_which_function_feels_a_service_most() {
    let (runtime, mut store) = world();
    let (strict, lenient) = (site(declared("sync")), site(declared("browse")));
    for n in 0..200 {
        let works = n % 10 != 0;
        let _ = execute(&runtime, strict, async {
            tries(&runtime, "get", works).await?;
            Ok(1)
        })
        .await;
        let _ = execute(&runtime, lenient, async {
            let _ = tries(&runtime, "get", works).await;
            Ok(1)
        })
        .await;
        advance(SECOND).await;
    }
    let all = Felt { called: 200, failed: 20, failed_then: 20, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "sync", "get").await, Some(all));
    assert_eq!(felt(&runtime, &mut store, "browse", "get").await, Some(Felt { failed_then: 0, ..all }));

    let report = Report::gather(&mut store, Wall::from_millis(1_700_003_600_000)).await.unwrap();
    let words = text::report(&report, text::Style::Plain).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "needs crm.get: called in 200 executions, failed in 10 % of them; then 98 % of executions failed (0.3 % otherwise)",
        "felt by shop.orders::sync: called it in 200 executions, it failed in 10 % of them; then 98 %",
        "shop.orders::browse: called it in 200 executions, it failed in 10 % of them; then 2.4 %",
    ] {
        assert!(words.contains(part), "{part:?} is not in\n{words}");
    }
    let report = json::report(&report);
    let crm = report["targets"].as_array().unwrap().iter().find(|target| target["service"] == "crm").unwrap();
    assert_eq!(crm["felt_by"][0]["operation"], "orders::sync", "what feels it most comes first");
    assert!(crm["felt_by"][0]["lost"].as_f64().unwrap() > 19.0, "{crm}");
}

#[tokio::test(start_paused = true)]
async fn the_last_call_of_an_execution_decides_and_so_does_what_the_function_got_in_the_end() {
    let (runtime, mut store) = world();
    let place = site(declared("place"));
    let retried = async |runtime: &Runtime| {
        let again = ServiceCall { retries: Some(2), ..read("get") };
        call(runtime, &again, async |n| if n < 2 { fails(Class::Transient) } else { Ok(n) }).await.1
    };
    execute(&runtime, place, async { Ok(retried(&runtime).await?.value) }).await.unwrap();
    execute(&runtime, place, async {
        tries(&runtime, "get", false).await.unwrap_err();
        tries(&runtime, "get", true).await
    })
    .await
    .unwrap();
    execute(&runtime, place, async {
        tries(&runtime, "get", true).await.unwrap();
        tries(&runtime, "get", false).await
    })
    .await
    .unwrap_err();
    let expected = Felt { called: 3, failed: 1, failed_then: 1, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_tried_again_or_has_a_fallback_counts_as_what_its_caller_got() {
    let (runtime, mut store) = world();
    let repeats = site(Declaration { idempotent: true, retries: Some(2), ..declared("fetch") });
    let mut attempts = 0;
    let fetched: Placed = runtime
        .scope(run(repeats, Call::new(caps!(Placed)), |_| {
            attempts += 1;
            let (runtime, works) = (&runtime, attempts > 1);
            async move { tries(runtime, "get", works).await.map_err(|_| Error::service(Class::Transient, "503")) }
        }))
        .await;
    fetched.unwrap();
    let once = Felt { called: 1, failed: 0, failed_then: 0, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "fetch", "get").await, Some(once));

    let place = site(declared("place"));
    let body = pin!(tries(&runtime, "get", false));
    let placed = run_once_or(place, Call::new(caps!(Placed)), body, || async { Ok(1) });
    assert_eq!(runtime.scope(placed).await.unwrap(), 1);
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, Some(Felt { failed: 1, ..once }));
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_was_dropped_is_no_evidence_and_neither_is_a_call_that_was() {
    let (runtime, mut store) = world();
    let place = site(declared("place"));
    let dropped = execute(&runtime, place, async {
        tries(&runtime, "get", false).await.unwrap_err();
        pending().await
    });
    tokio::time::timeout(SECOND, dropped).await.unwrap_err();
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, None);
    execute(&runtime, place, async {
        let get = read("get");
        tokio::time::timeout(SECOND, call(&runtime, &get, |_| pending())).await.unwrap_err();
        Ok(1)
    })
    .await
    .unwrap();
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_until_the_deadline_of_its_function_has_failed() {
    let (runtime, mut store) = world();
    let limited = site(Declaration { deadline: Some(2 * SECOND), ..declared("place") });
    let began = Instant::now();
    execute(&runtime, limited, async {
        call(&runtime, &read("get"), |_| pending()).await.1.map(|answer| answer.value)
    })
    .await
    .unwrap_err();
    assert!(began.elapsed() <= 2 * SECOND + GRACE);
    let expected = Felt { called: 1, failed: 1, failed_then: 1, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_until_a_limit_of_its_function_cuts_it_off_has_failed() {
    let (runtime, mut store) = world();
    let repeats = site(Declaration { idempotent: true, timeout: Some(SECOND), retries: Some(0), ..declared("fetch") });
    let body = |_| async {
        tries(&runtime, "get", true).await?;
        let search = read("search");
        tokio::time::timeout(SECOND / 2, call(&runtime, &search, |_| pending())).await.unwrap_err();
        call(&runtime, &read("list"), |_| pending()).await.1.map(|answer| answer.value)
    };
    let fetched: Placed = runtime.scope(run(repeats, Call::new(caps!(Placed)), body)).await;
    assert!(fetched.unwrap_err().is_timeout());
    let once = Felt { called: 1, failed: 1, failed_then: 1, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "fetch", "list").await, Some(once));
    let well = Felt { failed: 0, failed_then: 0, failed_otherwise: 1, ..once };
    assert_eq!(felt(&runtime, &mut store, "fetch", "get").await, Some(well));
    assert_eq!(felt(&runtime, &mut store, "fetch", "search").await, None, "the function gave it up by itself");
}

#[tokio::test(start_paused = true)]
async fn what_an_open_circuit_refuses_has_failed() {
    let (runtime, mut store) = world();
    for _ in 0..20 {
        let once = ServiceCall { retries: Some(0), ..read("get") };
        let _ = call(&runtime, &once, async |_| fails(Class::Transient)).await;
    }
    let place = site(declared("place"));
    let refused = execute(&runtime, place, tries(&runtime, "get", true)).await.unwrap_err();
    assert!(refused.is_circuit_open(), "{refused}");
    let expected = Felt { called: 1, failed: 1, failed_then: 1, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, Some(expected));
}

/// Who makes deferred calls; nothing is due while these tests run.
fn find(_: &Runtime, _: &str) -> Result<Arc<dyn Caller>, Error> {
    Ok(healthy())
}

static DOMAIN: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

/// A request that may be kept, of an operation of `crm`.
fn request(operation: &str) -> Request {
    let cache = CacheWish::UpTo(60 * SECOND);
    Request { repeatable: true, read_only: true, cache, ..Request::new("crm", operation, &DOMAIN) }
}

fn healthy() -> Arc<Scripted> {
    answers(|_| async { Ok(value!(1)) })
}

#[tokio::test(start_paused = true)]
async fn kept_answers_and_joined_calls_have_not_failed() {
    let (runtime, mut store) = world();
    let slow = answers(|_| async {
        sleep(SECOND).await;
        Ok(value!(1))
    });
    let place = site(declared("place"));
    let asks = async || runtime.request(request("get"), slow.clone()).await.map(|_| 1);
    let (first, second) = tokio::join!(execute(&runtime, place, asks()), execute(&runtime, place, asks()));
    let third = execute(&runtime, place, async {
        let reply = runtime.request(request("get"), slow.clone()).await?;
        assert!(matches!(reply.disposition(), Disposition::Cached { .. }), "{:?}", reply.disposition());
        Err(Error::service(Class::Permanent, "for a reason of its own"))
    });
    third.await.unwrap_err();
    assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
    assert_eq!(slow.log().len(), 1);
    let expected = Felt { called: 3, failed: 0, failed_then: 0, failed_otherwise: 1 };
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_called_by_another_is_needed_and_its_own_calls_are_its_own() {
    let (runtime, mut store) = world();
    let (outer, inner) = (site(declared("outer")), site(declared("inner")));
    for works in [true, false] {
        let _ = execute(&runtime, outer, async {
            let body = pin!(tries(&runtime, "get", works));
            let _ = run_once(inner, Call::new(caps!(Placed)), body).await;
            Ok(1)
        })
        .await;
    }
    let expected = Felt { called: 2, failed: 1, failed_then: 1, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "inner", "get").await, Some(expected));
    assert_eq!(felt(&runtime, &mut store, "outer", "get").await, None);
    let all = store.needs(i64::MIN).await.unwrap();
    let outer = all.iter().find(|need| need.function == function("outer")).unwrap();
    assert_eq!((&outer.operation, outer.felt), (&function("inner"), Felt { failed_then: 0, ..expected }));
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_a_plan_are_calls_of_the_function_around_it() {
    let (runtime, mut store) = world();
    let place = site(declared("place"));
    let inside = runtime.clone();
    execute(&runtime, place, async {
        let step = move |_: Inputs| {
            let runtime = inside.clone();
            async move { tries(&runtime, "get", false).await.map(Value::from) }
        };
        plan().step(Step::new("lookup").call(step, value!({}))).run().await.unwrap();
        Ok(1)
    })
    .await
    .unwrap();
    let expected = Felt { called: 1, failed: 1, failed_then: 0, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "place", "get").await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn beyond_eight_operations_an_execution_is_counted_as_one_that_called_more() {
    let (runtime, mut store) = world();
    let place = site(declared("place"));
    execute(&runtime, place, async {
        for n in 0..10 {
            tries(&runtime, &format!("get_{n}"), true).await?;
        }
        Ok(1)
    })
    .await
    .unwrap();
    runtime.flush().await.unwrap();
    let report = Report::gather(&mut store, Wall::from_millis(1_700_000_001_000)).await.unwrap();
    let function = report.targets.iter().find(|target| target.key == function("place")).unwrap();
    assert_eq!((function.needs.len(), function.untold), (8, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_called_in_another_runtime_is_no_need_in_this_one() {
    let ((runtime, mut store), (other, mut elsewhere)) = (world(), world());
    tries(&runtime, "something", true).await.unwrap();
    execute(&runtime, site(declared("place")), tries(&other, "get", false)).await.unwrap_err();
    for (runtime, store) in [(&runtime, &mut store), (&other, &mut elsewhere)] {
        runtime.flush().await.unwrap();
        assert_eq!(store.needs(i64::MIN).await.unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn processes_that_share_a_database_and_those_after_them_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.db");
    let open = || SqliteStore::open(&path).unwrap();
    let place = site(declared("place"));
    let (one, two) = (on(open()), on(open()));
    for n in 0..30 {
        let runtime = if n % 3 == 0 { &one } else { &two };
        let _ = execute(runtime, place, tries(runtime, "get", n % 5 != 0)).await;
    }
    for runtime in [one, two] {
        runtime.shutdown(Duration::from_secs(5)).await.unwrap();
    }
    let restarted = on(open());
    execute(&restarted, place, tries(&restarted, "get", true)).await.unwrap();
    let expected = Felt { called: 31, failed: 6, failed_then: 6, failed_otherwise: 0 };
    assert_eq!(felt(&restarted, &mut open(), "place", "get").await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_off_has_not_failed() {
    let (runtime, mut store) = world();
    let down = answers(|_| async { Err(Failure::new(Class::Transient, "503")) });
    let order = || Request { read_only: false, cache: CacheWish::AsConfigured, ..request("defers") };
    for _ in 0..10 {
        let _ = runtime.request(Request { deferrable: Some(false), retries: Some(0), ..order() }, down.clone()).await;
    }
    execute(&runtime, site(declared("place")), async {
        let reply = runtime.request(order(), healthy()).await?;
        assert!(matches!(reply.disposition(), Disposition::Deferred(_)), "{:?}", reply.disposition());
        Ok(1)
    })
    .await
    .unwrap();
    let expected = Felt { called: 1, failed: 0, failed_then: 0, failed_otherwise: 0 };
    assert_eq!(felt(&runtime, &mut store, "place", "defers").await, Some(expected));
}
