//! Calls that are made together: by a bulk tool, and by the bulk form of a function. In virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

#[path = "support/scripted.rs"]
mod scripted;

use poet_runtime::config::{CacheConfig, Config, ServiceConfig, ToolConfig};
use poet_runtime::defer::MemoryQueue;
use poet_runtime::evidence::Key;
use poet_runtime::service::{Accepted, AttemptContext, CacheWish, Caller, Failure, Fetched, News, Request};
use poet_runtime::store::{BoxFuture, MemoryStore, OutcomeRow, Store};
use poet_runtime::{Class, Clock, Disposition, Ending, Error, Priority, Profile, Reply, Runtime, Wall};
use scripted::{Scripted, answers};
use serde_json::{Value, json};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// What the first law allows a call to overrun its deadline by.
const GRACE: Duration = Duration::from_millis(50);

fn runtime(tool: ToolConfig) -> (Runtime, MemoryStore) {
    let store = MemoryStore::new();
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let service = ServiceConfig::named("crm").tool("get", tool).tool("get_many", ToolConfig::default().cost(0.5));
    let builder = Runtime::builder().configuration(Config::default().service(service)).store(store.clone());
    let builder = builder.queue(MemoryQueue::new());
    (builder.clock(clock).seed(7).build().expect("a correct configuration"), store)
}

fn bulk() -> ToolConfig {
    ToolConfig::default().batch("get_many", "items", "data.results")
}

fn read(id: u64) -> Request {
    Request { repeatable: true, read_only: true, ..write(id) }
}

fn write(id: u64) -> Request {
    let arguments = json!({ "id": id });
    Request { arguments: arguments.as_object().unwrap().clone(), ..Request::new("crm", "get", Profile::GENERAL) }
}

fn results(values: impl IntoIterator<Item = Value>) -> Value {
    json!({ "data": { "results": values.into_iter().collect::<Vec<_>>() } })
}

/// The ids a call asks for; `None` where it asks for one.
fn asked(request: &Request) -> Option<Vec<u64>> {
    let items = request.arguments.get("items")?.as_array().unwrap();
    Some(items.iter().map(|item| item["id"].as_u64().unwrap()).collect())
}

/// A service that answers every id with its double, after a while.
async fn doubles(request: Request) -> Result<Value, Failure> {
    sleep(20 * MS).await;
    Ok(match asked(&request) {
        Some(ids) => results(ids.into_iter().map(|id| json!({ "double": id * 2 }))),
        None => json!({ "double": request.arguments["id"].as_u64().unwrap() * 2 }),
    })
}

/// Makes the calls at once, and returns what each got, in their order.
async fn at_once(
    runtime: &Runtime,
    service: &Arc<impl Caller>,
    requests: impl IntoIterator<Item = Request>,
) -> Vec<Result<Reply, Error>> {
    let mut calls = JoinSet::new();
    for (place, request) in requests.into_iter().enumerate() {
        let (runtime, caller) = (runtime.clone(), service.clone());
        calls.spawn(async move { (place, runtime.request(request, caller).await) });
    }
    let mut ended = calls.join_all().await;
    ended.sort_by_key(|(place, _)| *place);
    ended.into_iter().map(|(_, result)| result).collect()
}

/// The sizes of the calls that reached the service; 1 for one by the single tool.
fn sizes(service: &Scripted) -> Vec<usize> {
    service.log().iter().map(|request| asked(request).map_or(1, |ids| ids.len())).collect()
}

async fn outcomes(runtime: &Runtime, mut store: MemoryStore, operation: &str) -> Vec<OutcomeRow> {
    runtime.flush().await.unwrap();
    let rows = store.outcomes(None, 1_000).await.unwrap();
    rows.into_iter().filter(|row| row.target.operation == operation).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_within_a_window_are_two_calls_of_fifty() {
    let (runtime, store) = runtime(bulk());
    let service = answers(doubles);
    let replies = at_once(&runtime, &service, (0..100).map(read)).await;
    assert_eq!(sizes(&service), [50, 50]);
    for (id, reply) in replies.into_iter().enumerate() {
        let reply = reply.unwrap();
        assert_eq!(reply.value(), &json!({ "double": id * 2 }));
        assert_eq!(reply.disposition(), &Disposition::Batched { size: 50 });
        assert_eq!((reply.attempts(), reply.cost()), (1, Some(0.5 / 50.0)));
    }
    let own = outcomes(&runtime, store.clone(), "get").await;
    assert_eq!(own.len(), 100);
    assert!(own.iter().all(|row| row.ending == Ending::Batched && row.attempts == 0 && row.class.is_none()));
    let bulk = outcomes(&runtime, store, "get_many").await;
    assert_eq!(bulk.iter().map(|row| (row.ending, row.attempts)).collect::<Vec<_>>(), [(Ending::Done, 1); 2]);
}

#[tokio::test(start_paused = true)]
async fn only_the_item_at_fault_fails_and_it_is_found_by_halving() {
    let (runtime, _) = runtime(bulk());
    let service = answers(|request: Request| async move {
        let poisoned = asked(&request).map_or(request.arguments.get("id") == Some(&json!(37)), |ids| ids.contains(&37));
        if poisoned { Err(Failure::new(Class::Permanent, "no 37")) } else { doubles(request).await }
    });
    let replies = at_once(&runtime, &service, (0..50).map(read)).await;
    for (id, reply) in replies.into_iter().enumerate() {
        match reply {
            Ok(reply) => assert_eq!(reply.value(), &json!({ "double": id * 2 })),
            Err(error) => assert!(id == 37 && error.is_service(), "{id}: {error}"),
        }
    }
    let sizes = sizes(&service);
    // 50, then the half at fault of each half, and its healthy sibling.
    assert!(sizes.len() <= 13, "{sizes:?}");
    assert_eq!(service.log().iter().filter(|request| request.arguments.get("id") == Some(&json!(37))).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_asked_less_often_than_the_calls_were() {
    let (runtime, _) = runtime(bulk());
    let service = answers(|_| async { Err(Failure::new(Class::Transient, "503")) });
    let replies = at_once(&runtime, &service, (0..50).map(read)).await;
    assert!(replies.iter().all(Result::is_err));
    // Its circuits open: the bulk tool's after five failures, the single one's after five.
    assert!(sizes(&service).len() <= 10, "{:?}", sizes(&service));
}

#[tokio::test(start_paused = true)]
async fn writes_whose_bulk_call_gives_no_answer_are_neither_split_nor_repeated() {
    let (runtime, store) = runtime(bulk());
    let service = answers(|_| pending());
    let replies = at_once(&runtime, &service, (0..20).map(write)).await;
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap_err().is_outcome_unknown()));
    assert_eq!(sizes(&service), [20]);
    let own = outcomes(&runtime, store, "get").await;
    assert!(own.len() == 20 && own.iter().all(|row| row.ending == Ending::OutcomeUnknown && row.attempts == 0));
}

#[tokio::test(start_paused = true)]
async fn writes_that_were_refused_as_a_whole_may_have_been_executed_in_part() {
    for class in [Class::Permanent, Class::Transient, Class::Network { sent: true }] {
        let (runtime, _) = runtime(bulk());
        let service = answers(move |_| async move { Err(Failure::new(class, "scripted")) });
        let replies = at_once(&runtime, &service, (0..20).map(write)).await;
        assert!(replies.iter().all(|reply| reply.as_ref().unwrap_err().is_outcome_unknown()), "{class:?}");
        assert_eq!(sizes(&service), [20], "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn writes_that_were_surely_not_executed_have_the_error_of_the_service() {
    let (runtime, _) = runtime(bulk());
    let service = answers(|_| async { Err(Failure::new(Class::Network { sent: false }, "refused")) });
    let replies = at_once(&runtime, &service, (0..20).map(write)).await;
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap_err().is_service()));
    assert!(sizes(&service).iter().all(|&size| size == 20));
}

#[tokio::test(start_paused = true)]
async fn neither_identities_nor_reads_and_writes_nor_what_may_be_repeated_are_mixed() {
    let (runtime, _) = runtime(bulk());
    let service = answers(doubles);
    let requests =
        (0..120).map(|id| Request { identity: id % 3, repeatable: id % 4 > 0, read_only: id % 4 > 1, ..write(id) });
    let replies = at_once(&runtime, &service, requests).await;
    assert!(replies.iter().all(Result::is_ok));
    for request in service.log() {
        for id in asked(&request).expect("ten of each kind are enough") {
            assert_eq!((request.identity, request.repeatable, request.read_only), (id % 3, id % 4 > 0, id % 4 > 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_does_not_take_the_call_of_the_others_along() {
    let (runtime, store) = runtime(bulk());
    let service = answers(|request| async {
        sleep(SECOND).await;
        doubles(request).await
    });
    let mut calls: Vec<_> = (0..10)
        .map(|id| {
            let (runtime, caller) = (runtime.clone(), service.clone());
            tokio::spawn(async move { runtime.request(read(id), caller).await })
        })
        .collect();
    sleep(10 * MS).await;
    calls.remove(0).abort();
    sleep(200 * MS).await;
    assert_eq!(sizes(&service), [9], "the one who left before it was sent is not in it");
    // The first of them, and the one who sent it, whoever that was.
    calls.drain(..5).for_each(|call| call.abort());
    for (id, call) in (6..10).zip(calls) {
        assert_eq!(call.await.unwrap().unwrap().value(), &json!({ "double": id * 2 }));
    }
    assert_eq!(sizes(&service), [9]);
    let own = outcomes(&runtime, store, "get").await;
    assert_eq!(own.iter().filter(|row| row.ending == Ending::Cancelled).count(), 6);
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_by_its_own_deadline_whatever_the_window_and_the_service() {
    for hangs in [false, true] {
        let (runtime, _) = runtime(bulk().pin("batch.window", 30).pin("batch.threshold", 3));
        let service =
            answers(move |request| async move { if hangs { pending().await } else { doubles(request).await } });
        let mut calls = JoinSet::new();
        for id in 0..40 {
            let (runtime, caller) = (runtime.clone(), service.clone());
            let limit = if id % 2 == 0 { 40 * MS } else { SECOND } * u32::try_from(id + 1).unwrap();
            let request = if id % 3 == 0 { write(id) } else { read(id) };
            calls.spawn(async move {
                sleep(7 * MS * u32::try_from(id).unwrap()).await;
                let began = Instant::now();
                let result = runtime.request(Request { deadline: Some(limit), ..request }, caller).await;
                assert!(began.elapsed() <= limit + GRACE, "{id}: {:?} of {limit:?}", began.elapsed());
                (id, result)
            });
        }
        for (id, result) in calls.join_all().await {
            match result {
                Ok(reply) => assert_eq!((hangs, reply.value()), (false, &json!({ "double": id * 2 }))),
                Err(error) => {
                    assert!(hangs, "{id}: {error}");
                    let unknown = id % 3 == 0;
                    assert_eq!(error.is_outcome_unknown(), unknown, "{id}: {error}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn too_few_go_singly_at_the_end_of_the_window_and_all_at_the_same_time() {
    let (runtime, _) = runtime(bulk());
    let service = answers(doubles);
    let began = Instant::now();
    let replies = at_once(&runtime, &service, (0..4).map(read)).await;
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().disposition() == &Disposition::Done));
    assert_eq!(sizes(&service), [1; 4]);
    assert!(began.elapsed() <= 75 * MS, "the window and one call: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_one_after_the_other_do_not_wait_for_ever_new_windows() {
    let (runtime, _) = runtime(bulk());
    let service = answers(doubles);
    let began = Instant::now();
    for id in 0..100 {
        runtime.request(read(id), service.clone()).await.unwrap();
    }
    // 20 ms each, and one or two windows until it was known that nobody else comes.
    assert!(began.elapsed() <= 100 * 20 * MS + 5 * 51 * MS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn high_and_critical_calls_do_not_wait() {
    let (runtime, _) = runtime(bulk());
    let service = answers(doubles);
    for priority in [Priority::High, Priority::Critical] {
        let began = Instant::now();
        let request = Request { priority: Some(priority), ..read(1) };
        runtime.request(request, service.clone()).await.unwrap();
        assert_eq!(began.elapsed(), 20 * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn identical_reads_are_asked_for_once_and_identical_writes_as_often_as_they_were_made() {
    let (runtime, _) = runtime(bulk());
    let service = answers(doubles);
    let replies = at_once(&runtime, &service, (0..20).map(|n| read(n % 10))).await;
    assert_eq!(sizes(&service), [10]);
    for (n, reply) in replies.into_iter().enumerate() {
        let reply = reply.unwrap();
        assert_eq!(reply.value(), &json!({ "double": n % 10 * 2 }));
        assert_eq!(reply.disposition(), &Disposition::Batched { size: 20 });
    }
    at_once(&runtime, &service, (0..20).map(|n| write(n % 10))).await;
    assert_eq!(sizes(&service), [10, 20]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_length_is_no_answer() {
    let short = |request: Request| async move {
        match asked(&request) {
            Some(ids) => Ok(results(ids.into_iter().skip(1).map(|id| json!({ "double": id * 2 })))),
            None => doubles(request).await,
        }
    };
    let (runtime, store) = runtime(bulk());
    let service = answers(short);
    let replies = at_once(&runtime, &service, (0..6).map(read)).await;
    for (id, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.unwrap().value(), &json!({ "double": id * 2 }), "reads are made singly");
    }
    let invalid = outcomes(&runtime, store, "get_many").await;
    assert!(invalid.iter().all(|row| row.ending == Ending::Failed));

    let (runtime, _) = self::runtime(bulk());
    let service = answers(short);
    let replies = at_once(&runtime, &service, (0..6).map(write)).await;
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap_err().is_outcome_unknown()));
    assert_eq!(sizes(&service), [6], "writes are not made again");
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_place_of_a_result_is_that_of_its_item() {
    let (runtime, store) = runtime(bulk());
    let service = answers(|request: Request| async move {
        Ok(match asked(&request) {
            Some(ids) => results(ids.into_iter().map(|id| match id {
                2 => json!({ "error": "no such customer" }),
                4 => json!({ "error": { "message": "locked", "retryable": true } }),
                _ => json!({ "double": id * 2 }),
            })),
            None => doubles(request).await?,
        })
    });
    let replies = at_once(&runtime, &service, (0..8).map(read)).await;
    for (id, reply) in replies.into_iter().enumerate() {
        match id {
            2 => {
                let error = reply.unwrap_err();
                assert!(error.is_service() && error.class() == Class::Permanent);
                assert!(error.to_string().contains("no such customer"), "{error}");
            }
            4 => assert_eq!(reply.unwrap().disposition(), &Disposition::Done, "what may be repeated is, singly"),
            _ => assert_eq!(reply.unwrap().disposition(), &Disposition::Batched { size: 8 }),
        }
    }
    assert_eq!(sizes(&service), [8, 1]);
    let failed = outcomes(&runtime, store, "get").await.iter().filter(|row| row.ending == Ending::Failed).count();
    assert_eq!(failed, 1);
}

#[tokio::test(start_paused = true)]
async fn what_says_how_its_own_attempts_are_made_or_that_it_goes_alone_does() {
    let (runtime, _) = runtime(bulk());
    let service = answers(doubles);
    let alone: [fn(Request) -> Request; 3] = [
        |request| Request { retries: Some(0), ..request },
        |request| Request { timeout: Some(SECOND), ..request },
        |request| Request { batchable: false, ..request },
    ];
    for alone in alone {
        at_once(&runtime, &service, (0..10).map(read).map(alone)).await;
    }
    assert_eq!(sizes(&service), [1; 30]);
}

#[tokio::test(start_paused = true)]
async fn what_a_bulk_tool_of_its_own_kind_shows_is_learned_from() {
    let (runtime, store) = runtime(bulk());
    let service = answers(doubles);
    at_once(&runtime, &service, (0..30).map(read)).await;
    runtime.flush().await.unwrap();
    let mut store = store;
    let target = poet_runtime::store::TargetKey { service: "crm".to_owned(), operation: "get_many".to_owned() };
    let history = store.evidence(&target, 0).await.unwrap();
    let sum = |sum| history.total(Key::Batch(sum));
    use poet_runtime::evidence::BatchSum::{Calls, Items, Micros};
    assert_eq!((sum(Calls), sum(Items), sum(Micros)), (1, 30, 20_000));
}

/// A service that says how long its answers are valid.
#[derive(Debug)]
struct Valid(Arc<Scripted>, Option<Duration>);

impl Caller for Valid {
    fn attempt<'a>(&'a self, request: &'a Request, attempt: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move { Ok(Fetched { valid_for: self.1, ..self.0.attempt(request, attempt).await? }) })
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_service_says_about_answers_for_several_holds_for_each() {
    let second = |n: u64| Duration::from_secs(n);
    for (told, age, hit) in
        [(None, 200, true), (Some(second(100)), 99, true), (Some(second(100)), 101, false), (Some(second(0)), 1, false)]
    {
        let rules = CacheConfig {
            ttl: Some(second(300)),
            stale_while_revalidate: Some(second(0)),
            stale_if_error: Some(second(0)),
        };
        let (runtime, _) = runtime(bulk().cache(rules));
        let service = answers(doubles);
        let caller = Arc::new(Valid(service.clone(), told));
        let calls = (0..10).map(|id| runtime.request(read(id), caller.clone()));
        for reply in futures_util::future::join_all(calls).await {
            assert_eq!(reply.unwrap().disposition(), &Disposition::Batched { size: 10 });
        }
        assert!(runtime.cache().stats().insertions <= 10, "each answer is kept once");
        sleep(second(age)).await;
        let reply = runtime.request(read(3), caller).await.unwrap();
        assert_eq!(matches!(reply.disposition(), Disposition::Cached { .. }), hit, "told {told:?}, {age} s");
    }
}

/// Takes calls for several on, and has done them when it is asked.
#[derive(Debug)]
struct TakesOn(Arc<Scripted>);

impl Caller for TakesOn {
    fn attempt<'a>(&'a self, request: &'a Request, attempt: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        if asked(request).is_none() {
            return self.0.attempt(request, attempt);
        }
        let accepted = Accepted { token: "task".to_owned(), ask_in: Duration::from_secs(2) };
        Box::pin(std::future::ready(Ok(accepted.into())))
    }

    fn ask<'a>(
        &'a self,
        request: &'a Request,
        _: &'a str,
        attempt: AttemptContext,
    ) -> BoxFuture<'a, Result<News, Failure>> {
        Box::pin(async move { Ok(News::Done(self.0.attempt(request, attempt).await?)) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_for_several_that_the_service_takes_on_is_waited_for_and_each_has_its_answer() {
    let (runtime, _) = runtime(bulk());
    let service = answers(doubles);
    let caller = Arc::new(TakesOn(service.clone()));
    for (id, reply) in at_once(&runtime, &caller, (0..6).map(write)).await.into_iter().enumerate() {
        assert_eq!(reply.unwrap().value(), &json!({ "double": id * 2 }));
    }
    assert_eq!(sizes(&service), [6]);
}

#[tokio::test(start_paused = true)]
async fn answers_for_several_that_are_asked_for_again_show_how_fast_they_change() {
    let (runtime, store) = runtime(bulk().cacheable());
    let service = answers(doubles);
    for _ in 0..2 {
        let replies = at_once(&runtime, &service, (0..10).map(|id| Request { cache: CacheWish::Refresh, ..read(id) }));
        assert!(replies.await.iter().all(Result::is_ok));
        sleep(SECOND).await;
    }
    runtime.flush().await.unwrap();
    let mut store = store;
    let target = poet_runtime::store::TargetKey { service: "crm".to_owned(), operation: "get".to_owned() };
    let history = store.evidence(&target, 0).await.unwrap();
    let unchanged = |(_, key, count)| if matches!(key, Key::Unchanged(_)) { count } else { 0 };
    assert_eq!(history.cells().map(unchanged).sum::<u64>(), 10);
}

/// A tool that reads, and one that writes what it reads, with a bulk form.
fn reads_and_writes(set: ToolConfig, set_many: ToolConfig) -> Runtime {
    let service = ServiceConfig::named("crm")
        .tool("get", ToolConfig::default().cacheable())
        .tool("set", set.batch("set_many", "items", "data.results"))
        .tool("set_many", set_many);
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let builder = Runtime::builder().configuration(Config::default().service(service)).in_memory();
    builder.clock(clock).seed(7).build().expect("a correct configuration")
}

/// Ten writes at once of a service that takes a while for them; whether the answer of before is kept afterwards.
async fn is_kept_over_writes(runtime: &Runtime, invalidates: &[String], patience: Option<Duration>) -> bool {
    let service = answers(|request: Request| async move {
        if asked(&request).is_some() {
            sleep(20 * SECOND).await;
        }
        doubles(request).await
    });
    let get = || runtime.request(read(1), service.clone());
    get().await.unwrap();
    let writes = (0..10).map(|id| {
        let invalidates = invalidates.to_vec();
        let set = Request { operation: "set".to_owned(), deadline: Some(60 * SECOND), invalidates, ..write(id) };
        let write = runtime.request(set, service.clone());
        async move { tokio::time::timeout(patience.unwrap_or(60 * SECOND), write).await }
    });
    futures_util::future::join_all(writes).await;
    // Within the time the bulk call takes, somebody reads what is still the old state.
    sleep(patience.map_or(Duration::ZERO, |patience| 19 * SECOND - patience)).await;
    get().await.unwrap();
    sleep(5 * SECOND).await;
    matches!(get().await.unwrap().disposition(), Disposition::Cached { age } if *age > 5 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn writes_that_were_made_together_make_worthless_what_each_would_have() {
    let get = || vec!["get".to_owned()];
    let plain = ToolConfig::default;
    for (set, set_many, named) in [
        (plain().invalidates("get"), plain(), vec![]),
        (plain(), plain().invalidates("get"), vec![]),
        (plain(), plain(), get()),
    ] {
        // Those who wait for them, and those who leave before they are done and may not be repeated.
        for patience in [None, Some(SECOND)] {
            let runtime = reads_and_writes(set.clone(), set_many.clone());
            assert!(
                !is_kept_over_writes(&runtime, &named, patience).await,
                "{set:?} {set_many:?} {named:?} {patience:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_call_for_several_finds_the_runtime_of_those_it_is_made_for() {
    #[derive(Debug)]
    struct Asks(Arc<Scripted>);
    impl Caller for Asks {
        fn attempt<'a>(
            &'a self,
            request: &'a Request,
            attempt: AttemptContext,
        ) -> BoxFuture<'a, Result<Fetched, Failure>> {
            assert!(Runtime::current().config().services.contains_key("crm"), "this is another runtime");
            self.0.attempt(request, attempt)
        }
    }
    let (runtime, _) = runtime(bulk());
    let caller = Arc::new(Asks(answers(doubles)));
    let calls = (0..10).map(|id| runtime.scope(runtime.request(write(id), caller.clone())));
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply.unwrap().disposition(), &Disposition::Batched { size: 10 });
    }
}

static DOMAIN: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

/// The service that jobs are made at.
#[derive(Debug, Default)]
struct Known(Mutex<Option<Arc<Scripted>>>);

fn find(runtime: &Runtime, _: &str) -> Result<Arc<dyn Caller>, Error> {
    let known = runtime.extension::<Known>().0.lock().unwrap().clone();
    known.map(|service| service as Arc<dyn Caller>).ok_or_else(|| Error::configuration("nobody is known"))
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_left_to_a_worker_are_made_together_and_each_has_its_own_answer() {
    for repeatable in [true, false] {
        let (runtime, _) = runtime(bulk().queued(Priority::Normal));
        let service = answers(doubles);
        *runtime.extension::<Known>().0.lock().unwrap() = Some(service.clone());
        let requests = (0..8).map(|id| Request { repeatable, profile: &DOMAIN, ..write(id) });
        let replies = at_once(&runtime, &service, requests).await;
        for (id, reply) in replies.into_iter().enumerate() {
            let ticket = reply.unwrap().disposition().ticket().cloned().expect("it was acknowledged");
            let answer = ticket.wait(60 * SECOND).await.unwrap();
            assert_eq!(answer.value(), &json!({ "double": id * 2 }));
        }
        assert!(sizes(&service).iter().any(|size| *size > 1), "{:?}", sizes(&service));
        assert_eq!(sizes(&service).iter().sum::<usize>(), 8, "each is made once");
    }
}
