//! Who answers when the service does not, on the real pipeline in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

#[path = "support/scripted.rs"]
mod scripted;

use poet_runtime::__private::{Call, caps, run_once};
use poet_runtime::config::{CacheConfig, Config, ServiceConfig, ToolConfig};
use poet_runtime::defer::{Answer, Change, Counts, DeferralQueue, Filter, Job, JobId, MemoryQueue, QueueError, Wanted};
use poet_runtime::service::{CacheWish, Caller, Failure, Request};
use poet_runtime::store::{BoxFuture, MemoryStore, OutcomeRow, Store, StoreError};
use poet_runtime::{
    Class, Clock, Declaration, Disposition, Ending, Error, Priority, Profile, Reply, Runtime, Site, Wall, warnings,
};
use scripted::{Scripted, answers};
use serde_json::{Value, json};
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
/// What the first law allows a call to overrun its deadline by.
const GRACE: Duration = Duration::from_millis(50);

/// The other service, as its callers find it by name.
#[derive(Debug, Default)]
struct Backup(Mutex<Option<Arc<Scripted>>>);

fn find(runtime: &Runtime, service: &str) -> Result<Arc<dyn Caller>, Error> {
    let backup = runtime.extension::<Backup>().0.lock().unwrap().clone();
    backup
        .filter(|_| service == "backup")
        .map(|backup| backup as Arc<dyn Caller>)
        .ok_or_else(|| Error::configuration(format!("nobody calls `{service}`")))
}

static DOMAIN: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

struct World {
    runtime: Runtime,
    store: MemoryStore,
    service: Arc<Scripted>,
    backup: Arc<Scripted>,
}

/// A service that fails as told, and another one that answers.
fn world(tool: ToolConfig, class: Class) -> World {
    world_of(tool, answers(move |_| async move { Err(Failure::new(class, "scripted")) }))
}

fn world_of(tool: ToolConfig, service: Arc<Scripted>) -> World {
    let store = MemoryStore::new();
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let config = Config::default()
        .service(ServiceConfig::named("crm").tool("get", tool.cost(0.5)))
        .service(ServiceConfig::named("backup").tool("lookup", ToolConfig::default().cost(2.0)));
    let builder = Runtime::builder().configuration(config).store(store.clone()).queue(MemoryQueue::new());
    let runtime = builder.clock(clock).seed(7).build().expect("a correct configuration");
    let backup = answers(|_| async { Ok(json!("from the backup")) });
    *runtime.extension::<Backup>().0.lock().unwrap() = Some(backup.clone());
    World { runtime, store, service, backup }
}

fn elsewhere() -> ToolConfig {
    ToolConfig::default().fallback("backup", "lookup")
}

fn read() -> Request {
    Request { repeatable: true, read_only: true, ..write() }
}

fn write() -> Request {
    let arguments = json!({ "id": 7 });
    Request { arguments: arguments.as_object().unwrap().clone(), ..Request::new("crm", "get", &DOMAIN) }
}

fn reason(reply: &Reply) -> &str {
    match reply.disposition() {
        Disposition::Fallback { reason } => reason,
        other => panic!("{other:?} is no fallback"),
    }
}

impl World {
    async fn call(&self, request: Request) -> Result<Reply, Error> {
        self.runtime.request(request, self.service.clone()).await
    }

    /// Registers a handler that notes what it is told.
    fn registered(&self) -> Arc<Mutex<Vec<(Value, String, bool)>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let notes = told.clone();
        self.runtime.register_fallback("crm", "get", move |call| {
            let notes = notes.clone();
            async move {
                notes.lock().unwrap().push((Value::Object(call.arguments), call.error, call.outcome_unknown));
                Ok(json!({ "fallback": true, "message": "Queued for manual restart" }))
            }
        });
        told
    }

    async fn outcomes(&self, service: &str) -> Vec<OutcomeRow> {
        self.runtime.flush().await.unwrap();
        let rows = self.store.clone().outcomes(None, 1_000).await.unwrap();
        rows.into_iter().filter(|row| row.target.service == service).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn another_service_answers_with_the_same_arguments_and_the_reply_says_so() {
    let world = world(elsewhere(), Class::Transient);
    let reply = world.call(read()).await.unwrap();
    assert_eq!(reply.value(), "from the backup");
    assert!(reason(&reply).starts_with("service_unavailable: calling get of crm: "), "{}", reason(&reply));
    assert!(reason(&reply).ends_with("; lookup of backup answered"), "{}", reason(&reply));
    assert_eq!((reply.attempts(), reply.cost()), (4, Some(3.0 * 0.5 + 2.0)));
    let asked = world.backup.log();
    assert_eq!((asked.len(), asked[0].operation.as_str(), &asked[0].arguments), (1, "lookup", &read().arguments));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_fallback_answered_counts_once_and_its_attempts_as_what_they_were() {
    let world = world(elsewhere(), Class::Transient);
    world.call(read()).await.unwrap();
    let rows = world.outcomes("crm").await;
    let seen: Vec<_> = rows.iter().map(|row| (row.ending, row.attempts, row.class.as_deref())).collect();
    assert_eq!(seen, [(Ending::Fallback, 3, Some("transient"))]);
    let rows = world.outcomes("backup").await;
    assert_eq!(rows.iter().map(|row| (row.ending, row.attempts)).collect::<Vec<_>>(), [(Ending::Done, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_circuit_of_a_service_opens_by_its_own_failures_whoever_answers() {
    let world = world(elsewhere(), Class::Transient);
    for _ in 0..3 {
        world.call(read()).await.unwrap();
    }
    let reply = world.call(read()).await.unwrap();
    assert!(reason(&reply).starts_with("circuit_open: "), "{}", reason(&reply));
    assert_eq!((world.service.log().len(), reply.attempts()), (5, 1));
    assert_eq!(world.backup.log().len(), 4, "the other one's circuit is its own");
}

#[tokio::test(start_paused = true)]
async fn a_registered_handler_answers_after_retries_are_exhausted() {
    let world = world(ToolConfig::default(), Class::Transient);
    let told = world.registered();
    let reply = world.call(read()).await.unwrap();
    assert_eq!(reply.value()["message"], "Queued for manual restart");
    assert!(reason(&reply).starts_with("service_unavailable: "));
    let told = told.lock().unwrap();
    assert_eq!((world.service.log().len(), told.len()), (3, 1));
    let (arguments, error, unknown) = &told[0];
    assert_eq!((arguments, *unknown), (&json!({ "id": 7 }), false));
    assert!(error.contains("after 3 attempts"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_fails_asks_the_next_one_and_leaves_the_error_of_the_service_in_the_end() {
    let world = world(elsewhere(), Class::Transient);
    *world.runtime.extension::<Backup>().0.lock().unwrap() = None;
    let told = world.registered();
    world.call(read()).await.unwrap();
    assert_eq!(told.lock().unwrap().len(), 1);
    world.runtime.register_fallback("crm", "get", |_| async { Err(Error::denied("nobody is here at night")) });
    let error = world.call(read()).await.unwrap_err();
    assert!(error.is_service() && error.service_name() == "crm", "{error}");
    let endings: Vec<_> = world.outcomes("crm").await.iter().map(|row| row.ending).collect();
    assert_eq!(endings, [Ending::Failed, Ending::Fallback]);
}

#[tokio::test(start_paused = true)]
async fn the_mistake_of_a_caller_stays_one() {
    let world = world(elsewhere(), Class::Permanent);
    let told = world.registered();
    assert!(world.call(read()).await.unwrap_err().is_service());
    let pending = json!({ "id": { "$poet.pending": {} } });
    let refused = Request { arguments: pending.as_object().unwrap().clone(), ..read() };
    assert!(world.call(refused).await.unwrap_err().is_denied());
    assert_eq!((world.backup.log().len(), told.lock().unwrap().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_does_again_what_may_have_been_done() {
    for class in [Class::Network { sent: true }, Class::Timeout, Class::Transient] {
        let world = world(elsewhere(), class);
        world.call(write()).await.unwrap_err();
        assert_eq!((world.service.log().len(), world.backup.log().len()), (1, 0), "{class:?}");
        let told = world.registered();
        let reply = world.call(write()).await.unwrap();
        assert!(told.lock().unwrap()[0].2, "the handler is told");
        let unknown = class != Class::Transient;
        assert_eq!(reason(&reply).starts_with("outcome_unknown: "), unknown, "{}", reason(&reply));
        assert_eq!(world.backup.log().len(), 0);
    }
    let world = world(elsewhere(), Class::Network { sent: false });
    assert_eq!(world.call(write()).await.unwrap().value(), "from the backup", "what was not sent may be sent");
    assert!(!world.backup.log()[0].repeatable, "that it may be repeated there is not known");
}

#[tokio::test(start_paused = true)]
async fn fallbacks_end_by_the_deadline_of_the_call() {
    let world = world(elsewhere(), Class::Transient);
    let hangs = answers(|_| pending());
    *world.runtime.extension::<Backup>().0.lock().unwrap() = Some(hangs);
    let began = Instant::now();
    let limited = Request { deadline: Some(3 * SECOND), ..read() };
    assert!(world.call(limited.clone()).await.unwrap_err().is_service());
    assert!(began.elapsed() <= 3 * SECOND + GRACE, "{:?}", began.elapsed());

    let world = world_of(ToolConfig::default(), answers(|_| pending()));
    world.runtime.register_fallback("crm", "get", |_| async {
        sleep(SECOND).await;
        Ok(Value::Null)
    });
    let began = Instant::now();
    assert!(world.call(limited.clone()).await.unwrap_err().is_deadline());
    assert!(began.elapsed() <= 3 * SECOND + GRACE, "{:?}", began.elapsed());
    // What it has at hand it can still give.
    world.runtime.register_fallback("crm", "get", |_| async { Ok(json!(1)) });
    assert!(reason(&world.call(limited).await.unwrap()).starts_with("deadline: "));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_no_fallback_gets_none_and_neither_does_the_call_of_a_fallback() {
    let world = world(elsewhere(), Class::Transient);
    let told = world.registered();
    world.call(Request { fallible: false, ..read() }).await.unwrap_err();
    assert_eq!((world.backup.log().len(), told.lock().unwrap().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn identical_reads_that_share_a_failed_call_are_each_answered_and_each_counted_once() {
    let service = answers(|_| async {
        sleep(SECOND).await;
        Err(Failure::new(Class::Transient, "scripted"))
    });
    let world = world_of(ToolConfig::default(), service);
    let told = world.registered();
    let limited = || world.call(Request { cache: CacheWish::AsConfigured, ..read() });
    let (a, b, c) = tokio::join!(limited(), limited(), limited());
    for reply in [a, b, c] {
        assert!(reason(&reply.unwrap()).starts_with("service_unavailable: "));
    }
    assert_eq!((world.service.log().len(), told.lock().unwrap().len()), (3, 3));
    let rows = world.outcomes("crm").await;
    assert!(rows.len() == 3 && rows.iter().all(|row| row.ending == Ending::Fallback));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_a_fallback_is_asked_was_dropped_by_its_caller() {
    let world = world(ToolConfig::default(), Class::Transient);
    world.runtime.register_fallback("crm", "get", |_| pending());
    tokio::time::timeout(5 * SECOND, world.call(read())).await.unwrap_err();
    let rows = world.outcomes("crm").await;
    let seen: Vec<_> = rows.iter().map(|row| (row.ending, row.attempts)).collect();
    assert_eq!(seen, [(Ending::Cancelled, 3)]);
}

#[tokio::test(start_paused = true)]
async fn the_function_around_it_is_warned_and_did_not_fail() {
    static SITE: Site = Site::new(Declaration::new("sync", "shop::orders", "src/orders.rs", 1));
    let world = world(elsewhere(), Class::Transient);
    let body = async {
        world.call(read()).await?;
        Ok::<_, Error>(warnings())
    };
    let call = Call::new(caps!(Result<Vec<String>, Error>));
    let warned = world.runtime.scope(run_once(&SITE, call, pin!(body))).await.unwrap();
    assert_eq!(warned, ["crm_get_retried", "crm_get_fallback"]);
}

/// A service that answers once and fails from then on.
fn answers_once() -> Arc<Scripted> {
    let first = std::sync::atomic::AtomicBool::new(true);
    answers(move |_| {
        let first = first.swap(false, std::sync::atomic::Ordering::Relaxed);
        async move { if first { Ok(json!("kept")) } else { Err(Failure::new(Class::Transient, "scripted")) } }
    })
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_kept_comes_before_every_other_and_says_how_old_it_is() {
    let cached = CacheConfig {
        ttl: Some(SECOND),
        stale_while_revalidate: Some(Duration::ZERO),
        stale_if_error: Some(60 * SECOND),
    };
    let world = world_of(elsewhere().cache(cached), answers_once());
    let told = world.registered();
    assert_eq!(world.call(read()).await.unwrap().disposition(), &Disposition::Done);
    sleep(30 * SECOND).await;
    let reply = world.call(read()).await.unwrap();
    assert_eq!((reply.value(), reply.attempts()), (&json!("kept"), 3));
    assert!(reason(&reply).ends_with("; this answer is 30s old"), "{}", reason(&reply));
    assert_eq!((world.backup.log().len(), told.lock().unwrap().len()), (0, 0));
    let rows = world.outcomes("crm").await;
    let seen: Vec<_> = rows.iter().map(|row| (row.ending, row.attempts)).collect();
    assert_eq!(seen, [(Ending::Fallback, 3), (Ending::Done, 1)]);
    sleep(60 * SECOND).await;
    assert_eq!(world.call(read()).await.unwrap().value(), "from the backup", "too old even for this");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_answers_and_may_wait_is_put_off_and_counts_once() {
    let world = world(ToolConfig::default().deferrable(), Class::Network { sent: false });
    let reply = world.call(write()).await.unwrap();
    assert!(matches!(reply.disposition(), Disposition::Deferred(_)), "{:?}", reply.disposition());
    let rows = world.outcomes("crm").await;
    assert_eq!(rows.iter().map(|row| row.ending).collect::<Vec<_>>(), [Ending::Deferred]);

    let world = self::world(ToolConfig::default().deferrable(), Class::Network { sent: true });
    assert!(world.call(write()).await.unwrap_err().is_outcome_unknown(), "what may have been done is not done later");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_be_repeated_at_its_own_service_is_not_done_by_two() {
    for (class, asked) in [(Class::Transient, 0), (Class::Network { sent: false }, 1)] {
        let world = world(elsewhere(), class);
        let _ = world.call(Request { repeatable: true, retries: Some(0), ..write() }).await;
        assert_eq!(world.backup.log().len(), asked, "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_stand_in_is_given_and_the_call_is_not_put_off() {
    let cache = CacheConfig {
        ttl: Some(SECOND),
        stale_while_revalidate: Some(Duration::ZERO),
        stale_if_error: Some(60 * SECOND),
    };
    let world = world(ToolConfig::default().read_only().deferrable().cache(cache), Class::Transient);
    world.runtime.request(read(), answers(|_| async { Ok(json!("kept")) })).await.unwrap();
    sleep(2 * SECOND).await;
    for _ in 0..5 {
        let reply = world.call(read()).await.unwrap();
        assert_eq!(
            (reply.value(), reason(&reply).is_empty()),
            (&json!("kept"), false),
            "also while its circuit is open"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_another_service_made_makes_worthless_what_it_would_have() {
    let world = world(elsewhere(), Class::Network { sent: false });
    let other = answers(|_| async { Ok(json!("read")) });
    let list = || Request { operation: "list".into(), cache: CacheWish::UpTo(60 * SECOND), ..read() };
    world.runtime.request(list(), other.clone()).await.unwrap();
    sleep(SECOND).await;
    world.call(Request { invalidates: vec!["list".into()], retries: Some(0), ..write() }).await.unwrap();
    assert_eq!(world.backup.log().len(), 1);
    let reply = world.runtime.request(list(), other).await.unwrap();
    assert_eq!(reply.disposition(), &Disposition::Done);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_yet_is_not_sent_as_the_arguments_themselves_either() {
    let world = world(ToolConfig::default().queued(Priority::Normal), Class::Transient);
    let queued = world.call(write()).await.unwrap();
    assert!(matches!(queued.disposition(), Disposition::Queued(_)));
    let arguments = queued.value().as_object().unwrap().clone();
    let error = world.call(Request { arguments, operation: "other".into(), ..write() }).await.unwrap_err();
    assert!(error.is_denied(), "{error}");
}

/// A queue that never answers.
#[derive(Debug)]
struct Stuck;

impl DeferralQueue for Stuck {
    fn describe(&self) -> String {
        "stuck".to_owned()
    }

    fn apply<'a>(&'a mut self, _: &'a [Change]) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>> {
        Box::pin(pending())
    }

    fn get(&mut self, _: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        Box::pin(pending())
    }

    fn list<'a>(&'a mut self, _: &'a Filter, _: usize) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        Box::pin(pending())
    }

    fn counts(&mut self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        Box::pin(pending())
    }

    fn next_due<'a>(&'a mut self, _: &'a Wanted) -> BoxFuture<'a, Result<Option<Wall>, StoreError>> {
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_and_a_queue_that_hang_one_after_the_other_end_by_the_deadline_too() {
    // Its queue lives on a thread of its own, which virtual time would wait for.
    let config = Config::default().service(ServiceConfig::named("crm").tool("get", ToolConfig::default().deferrable()));
    let runtime = Runtime::builder().configuration(config).in_memory().queue(Stuck).build().unwrap();
    runtime.register_fallback("crm", "get", |_| pending());
    let began = Instant::now();
    let call = runtime.request(Request { deadline: Some(3 * SECOND), ..read() }, answers(|_| pending()));
    assert!(call.await.unwrap_err().is_deadline());
    // A little less, because timers of a real clock come a little late, each of them.
    assert!(began.elapsed() < 3 * SECOND + GRACE * 9 / 10, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_other_service_may_have_done_is_unknown_and_not_put_off() {
    for handled in [false, true] {
        let world = world(elsewhere(), Class::Network { sent: false });
        let backup = answers(|_| async { Err(Failure::new(Class::Network { sent: true }, "cut off")) });
        *world.runtime.extension::<Backup>().0.lock().unwrap() = Some(backup.clone());
        let told = if handled { world.registered() } else { Arc::default() };
        let result = world.call(Request { deferrable: Some(true), ..write() }).await;
        assert_eq!(backup.log().len(), 1);
        match result {
            Ok(reply) => assert!(handled && reason(&reply).starts_with("service_unavailable"), "{}", reason(&reply)),
            Err(error) => assert!(!handled && error.is_outcome_unknown(), "{error}"),
        }
        assert!(told.lock().unwrap().iter().all(|(_, _, unknown)| *unknown), "{told:?}");
        assert!(world.runtime.queue().list(&Filter::default(), 10).await.unwrap().is_empty());
    }
}
