//! What the cache may and may not do, on the real pipeline in virtual time.

use poet_runtime::__private::{Call, caps, keeps, key_of, run, run_once, run_once_or, run_sync_once};
use poet_runtime::config::{CacheBounds, CacheConfig, Config, ServiceConfig, ToolConfig};
use poet_runtime::evidence::{Key, age_bin};
use poet_runtime::service::{AttemptContext, CacheWish, Caller, Failure, Fetched, Request};
use poet_runtime::store::{BoxFuture, MemoryStore, Store, TargetKey};
use poet_runtime::{
    CacheFor, Class, Clock, Declaration, Disposition, Ending, Error, Learning, Profile, Runtime, Site, Wall, warnings,
};
use proptest::prelude::*;
use serde_json::json;
use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

fn site(declaration: Declaration) -> &'static Site {
    Box::leak(Box::new(Site::new(declaration)))
}

fn declared(function: &'static str) -> Declaration {
    Declaration::new(function, "shop::orders", "src/orders.rs", 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const TTL: Duration = secs(60);
const SWR: Duration = secs(30);
const SIE: Duration = secs(600);

fn cacheable() -> ToolConfig {
    ToolConfig::default().cache(CacheConfig {
        ttl: Some(TTL),
        stale_while_revalidate: Some(SWR),
        stale_if_error: Some(SIE),
    })
}

fn runtime_with(config: Config) -> Runtime {
    runtime_on(MemoryStore::new(), config)
}

fn runtime_on(store: MemoryStore, config: Config) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    Runtime::builder().configuration(config).store(store).clock(clock).seed(7).build().expect("a correct configuration")
}

fn runtime(tool: ToolConfig) -> Runtime {
    let write = ToolConfig::default().invalidates("get");
    runtime_with(Config::default().service(ServiceConfig::named("crm").tool("get", tool).tool("set", write)))
}

fn get(id: u64) -> Request {
    let mut request = Request::new("crm", "get", Profile::GENERAL);
    request.arguments.insert("id".to_owned(), json!(id));
    Request { repeatable: true, read_only: true, ..request }
}

/// Answers with the number of the attempt, after a while.
#[derive(Debug, Default)]
struct Service {
    asked: AtomicU32,
    takes: Mutex<Duration>,
    fails: AtomicBool,
    valid_for: Mutex<Option<Duration>>,
}

impl Service {
    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

impl Caller for Service {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move {
            let n = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let takes = *lock(&self.takes);
            sleep(takes).await;
            if self.fails.load(Ordering::SeqCst) {
                return Err(Failure::new(Class::Permanent, "scripted"));
            }
            Ok(Fetched { valid_for: *lock(&self.valid_for), ..Fetched::from(json!(n)) })
        })
    }
}

async fn ask(runtime: &Runtime, service: &Arc<Service>, request: Request) -> (u64, bool) {
    let reply = runtime.request(request, service.clone()).await.expect("an answer");
    (reply.value().as_u64().expect("a number"), matches!(reply.disposition(), Disposition::Cached { .. }))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_while_it_is_fresh_and_costs_nothing() {
    let runtime = runtime(cacheable().cost(0.02));
    let service = Arc::new(Service::default());
    let first = runtime.request(get(1), service.clone()).await.unwrap();
    advance(secs(59)).await;
    let second = runtime.request(get(1), service.clone()).await.unwrap();
    assert_eq!(second.value(), first.value());
    assert_eq!(second.disposition(), &Disposition::Cached { age: secs(59) });
    assert_eq!((second.attempts(), second.cost(), service.asked()), (0, Some(0.0), 1));
    assert_ne!(second.execution_id(), first.execution_id());
    assert_eq!(ask(&runtime, &service, get(2)).await, (2, false), "another argument is another answer");
    let stats = runtime.cache().stats();
    assert_eq!((stats.hits, stats.misses, stats.insertions, stats.entries), (1, 2, 2, 2));
    assert_eq!(stats.hit_rate(), Some(1.0 / 3.0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_past_its_freshness_is_given_while_one_new_one_is_fetched() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    ask(&runtime, &service, get(1)).await;
    advance(TTL).await;
    *lock(&service.takes) = secs(1);
    let outer = site(declared("outer"));
    let call = || Call::new(caps!(Result<Vec<String>, Error>));
    let told = runtime
        .scope(run_once(
            outer,
            call(),
            pin!(async {
                for _ in 0..100 {
                    assert_eq!(ask(&Runtime::current(), &service, get(1)).await, (1, true));
                }
                Ok(warnings())
            }),
        ))
        .await
        .unwrap();
    assert_eq!(told, ["crm_get_stale"]);
    sleep(secs(2)).await;
    assert_eq!(service.asked(), 2, "a hundred callers, one call");
    assert_eq!(ask(&runtime, &service, get(1)).await, (2, true));
    let stats = runtime.cache().stats();
    assert_eq!((stats.stale_hits, stats.revalidations), (100, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refetch_that_fails_leaves_the_old_answer_where_it_was() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    ask(&runtime, &service, get(1)).await;
    advance(TTL).await;
    service.fails(true);
    for _ in 0..3 {
        assert_eq!(ask(&runtime, &service, get(1)).await, (1, true));
        sleep(secs(1)).await;
    }
    assert_eq!(service.asked(), 4, "each failed, so each was followed by another");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_identical_misses_make_one_call() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    *lock(&service.takes) = secs(1);
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let (runtime, service) = (runtime.clone(), service.clone());
            tokio::spawn(async move { ask(&runtime, &service, get(1)).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().0, 1);
    }
    assert_eq!(service.asked(), 1);
}

#[test]
fn a_thousand_identical_misses_on_several_threads_make_one_call() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let service = Arc::new(Service::default());
    let config = Config::default().service(ServiceConfig::named("crm").tool("get", cacheable()));
    let runtime = Runtime::builder().configuration(config).in_memory().build().unwrap();
    tokio.block_on(async {
        let calls: Vec<_> = (0..1_000)
            .map(|_| {
                let (runtime, service) = (runtime.clone(), service.clone());
                tokio::spawn(async move { ask(&runtime, &service, get(1)).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
    assert_eq!(service.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_never_kept() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    service.fails(true);
    for asked in 1..=3 {
        runtime.request(get(1), service.clone()).await.unwrap_err();
        assert_eq!(service.asked(), asked);
    }
    assert_eq!(runtime.cache().stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn what_one_identity_was_told_another_is_not() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    ask(&runtime, &service, Request { identity: 1, ..get(1) }).await;
    assert_eq!(ask(&runtime, &service, Request { identity: 2, ..get(1) }).await, (2, false));
    assert_eq!(ask(&runtime, &service, Request { identity: 1, ..get(1) }).await, (1, true));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_unless_somebody_asked_for_it() {
    let runtime = runtime(ToolConfig::default());
    let service = Arc::new(Service::default());
    assert_eq!(ask(&runtime, &service, get(1)).await, (1, false));
    assert_eq!(ask(&runtime, &service, get(1)).await, (2, false));
    // The service itself may.
    *lock(&service.valid_for) = Some(secs(5));
    assert_eq!(ask(&runtime, &service, get(1)).await, (3, false));
    assert_eq!(ask(&runtime, &service, get(1)).await, (3, true));
    advance(secs(5)).await;
    assert_eq!(ask(&runtime, &service, get(1)).await, (4, false));
    *lock(&service.valid_for) = Some(Duration::ZERO);
    assert_eq!(ask(&runtime, &service, get(2)).await, (5, false));
    assert_eq!(ask(&runtime, &service, get(2)).await, (6, false));
}

#[tokio::test(start_paused = true)]
async fn the_word_of_the_service_shortens_what_is_configured() {
    let runtime = runtime(ToolConfig::default().cache(CacheConfig {
        ttl: Some(TTL),
        stale_while_revalidate: Some(Duration::ZERO),
        stale_if_error: Some(Duration::ZERO),
    }));
    let service = Arc::new(Service::default());
    *lock(&service.valid_for) = Some(secs(5));
    ask(&runtime, &service, get(1)).await;
    advance(secs(4)).await;
    assert_eq!(ask(&runtime, &service, get(1)).await, (1, true));
    advance(secs(1)).await;
    assert_eq!(ask(&runtime, &service, get(1)).await, (2, false));
}

#[tokio::test(start_paused = true)]
async fn a_call_says_what_it_wants_of_the_cache() {
    let runtime = runtime(ToolConfig::default());
    let service = Arc::new(Service::default());
    let wish = |cache| Request { cache, ..get(1) };
    assert_eq!(ask(&runtime, &service, wish(CacheWish::UpTo(secs(600)))).await, (1, false));
    advance(secs(599)).await;
    assert_eq!(ask(&runtime, &service, wish(CacheWish::UpTo(secs(600)))).await, (1, true));
    assert_eq!(ask(&runtime, &service, wish(CacheWish::UpTo(secs(599)))).await, (2, false));
    assert_eq!(ask(&runtime, &service, wish(CacheWish::Never)).await, (3, false));
    assert_eq!(ask(&runtime, &service, wish(CacheWish::UpTo(secs(600)))).await, (2, true));
    assert_eq!(ask(&runtime, &service, wish(CacheWish::Refresh)).await, (4, false));
    assert_eq!(ask(&runtime, &service, wish(CacheWish::UpTo(secs(600)))).await, (4, true));
    assert_eq!(ask(&runtime, &service, wish(CacheWish::AsConfigured)).await, (5, false));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_never_answered_from_memory_whatever_is_configured() {
    let service = Arc::new(Service::default());
    let changes = runtime(ToolConfig::default().invalidates("list"));
    for wish in [CacheWish::AsConfigured, CacheWish::UpTo(secs(600)), CacheWish::Refresh] {
        let runtime = runtime(cacheable());
        for request in [
            Request { repeatable: false, read_only: false, cache: wish, ..get(1) },
            Request { invalidates: vec!["list".to_owned()], cache: wish, ..get(1) },
        ] {
            for _ in 0..2 {
                let asked = service.asked();
                assert_eq!(ask(&runtime, &service, request.clone()).await, (u64::from(asked) + 1, false));
            }
        }
        let asked = service.asked();
        ask(&changes, &service, Request { cache: wish, ..get(1) }).await;
        ask(&changes, &service, Request { cache: wish, ..get(1) }).await;
        assert_eq!(service.asked(), asked + 2);
        assert_eq!(runtime.cache().stats().insertions, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_be_emptied_and_switched_off_and_on() {
    let runtime = runtime(cacheable());
    let (cache, service) = (runtime.cache(), Arc::new(Service::default()));
    ask(&runtime, &service, get(1)).await;
    cache.set_enabled(false);
    assert!(!cache.is_enabled());
    assert_eq!(ask(&runtime, &service, get(1)).await, (2, false));
    cache.set_enabled(true);
    assert_eq!(ask(&runtime, &service, get(1)).await, (1, true), "what was kept before is still good");
    cache.clear();
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    advance(secs(1)).await;
    assert_eq!(ask(&runtime, &service, get(1)).await, (3, false));
    assert_eq!(ask(&runtime, &service, get(1)).await, (3, true));
    assert!(cache.invalidate("crm", "get") && !cache.invalidate("crm", "nobody called this"));
    advance(secs(1)).await;
    assert_eq!(ask(&runtime, &service, get(1)).await, (4, false));
    assert_eq!(cache.invalidate_service("crm"), 1);
    advance(secs(1)).await;
    assert_eq!(ask(&runtime, &service, get(1)).await, (5, false));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_was_under_way_when_the_cache_was_emptied_is_not_kept() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    *lock(&service.takes) = secs(1);
    let (running, asked) = (runtime.clone(), service.clone());
    let call = tokio::spawn(async move { ask(&running, &asked, get(1)).await });
    sleep(Duration::from_millis(500)).await;
    runtime.cache().clear();
    call.await.unwrap();
    assert_eq!(ask(&runtime, &service, get(1)).await, (2, false));
}

#[tokio::test(start_paused = true)]
async fn both_bounds_hold() {
    for bounds in [
        CacheBounds { max_entries: 20, ..CacheBounds::default() },
        CacheBounds { max_bytes: 8_192, ..CacheBounds::default() },
    ] {
        let service = ServiceConfig::named("crm").tool("get", cacheable());
        let runtime = runtime_with(Config { cache: bounds, ..Config::default() }.service(service));
        let asked = Arc::new(Service::default());
        for id in 0..500 {
            ask(&runtime, &asked, get(id)).await;
            let stats = runtime.cache().stats();
            assert!(stats.entries <= bounds.max_entries && stats.bytes <= bounds.max_bytes, "{stats:?}");
        }
        let stats = runtime.cache().stats();
        assert!(stats.entries >= 10, "{stats:?}");
        assert_eq!(stats.evictions + stats.entries, 500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_outcome_is_unknown_keeps_the_cache_off_for_as_long_as_it_may_run() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    ask(&runtime, &service, get(1)).await;
    let write = Request { timeout: Some(secs(10)), ..Request::new("crm", "set", Profile::GENERAL) };
    *lock(&service.takes) = secs(100);
    assert!(runtime.request(write, service.clone()).await.unwrap_err().is_outcome_unknown());
    *lock(&service.takes) = Duration::ZERO;
    let before = service.asked();
    for n in 1..=10 {
        assert_eq!(ask(&runtime, &service, get(1)).await, (u64::from(before + n), false));
        advance(secs(1)).await;
    }
    advance(secs(1)).await;
    let (kept, _) = ask(&runtime, &service, get(1)).await;
    assert_eq!(ask(&runtime, &service, get(1)).await, (kept, true));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_dropped_is_one_that_may_still_run() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    ask(&runtime, &service, get(1)).await;
    *lock(&service.takes) = secs(5);
    let write = runtime.request(Request::new("crm", "set", Profile::GENERAL), service.clone());
    assert!(tokio::time::timeout(secs(1), write).await.is_err());
    *lock(&service.takes) = Duration::ZERO;
    assert!(!ask(&runtime, &service, get(1)).await.1);
    advance(secs(1)).await;
    assert!(!ask(&runtime, &service, get(1)).await.1);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_a_limit_of_its_own_keeps_the_cache_off_no_longer_than_its_deadline() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    ask(&runtime, &service, get(1)).await;
    *lock(&service.takes) = secs(100);
    let write = Request { timeout: Some(Duration::MAX), ..Request::new("crm", "set", Profile::GENERAL) };
    assert!(tokio::time::timeout(secs(1), runtime.request(write, service.clone())).await.is_err());
    *lock(&service.takes) = Duration::ZERO;
    assert!(!ask(&runtime, &service, get(1)).await.1);
    advance(secs(3_600)).await;
    ask(&runtime, &service, get(1)).await;
    assert!(ask(&runtime, &service, get(1)).await.1);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_is_known_to_reads_that_nobody_made_before() {
    for name in ["get", "shop.get"] {
        let set = ToolConfig::default().invalidates(name);
        let crm = ServiceConfig::named("crm").tool("get", cacheable()).tool("set", set);
        let shop = ServiceConfig::named("shop").tool("get", cacheable());
        let runtime = runtime_with(Config::default().service(crm).service(shop));
        let service = Arc::new(Service::default());
        *lock(&service.takes) = secs(100);
        let write = Request { timeout: Some(secs(10)), ..Request::new("crm", "set", Profile::GENERAL) };
        assert!(runtime.request(write, service.clone()).await.unwrap_err().is_outcome_unknown());
        *lock(&service.takes) = Duration::ZERO;
        let read = || Request { service: name.split_once('.').map_or("crm", |_| "shop").to_owned(), ..get(1) };
        ask(&runtime, &service, read()).await;
        advance(secs(1)).await;
        assert!(!ask(&runtime, &service, read()).await.1, "{name}: it may be executed even now");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_write_does_not_stand_in_after_it_whoever_read_meanwhile() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    let kept = ask(&runtime, &service, get(1)).await.0;
    advance(TTL + SWR).await;
    let fails = Arc::new(Failing(secs(5)));
    let (running, caller) = (runtime.clone(), fails.clone());
    let failing = tokio::spawn(async move { running.request(get(1), caller).await });
    sleep(secs(1)).await;
    runtime.request(Request::new("crm", "set", Profile::GENERAL), service.clone()).await.unwrap();
    sleep(secs(1)).await;
    let new = runtime.request(Request { cache: CacheWish::Refresh, ..get(1) }, service.clone()).await.unwrap();
    let reply = failing.await.unwrap();
    if let Ok(reply) = reply {
        assert_eq!(reply.value(), new.value(), "{kept} was made worthless by the write");
    }
}

/// Fails after a while, as a service does that is not well.
#[derive(Debug)]
struct Failing(Duration);

impl Caller for Failing {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move {
            sleep(self.0).await;
            Err(Failure::new(Class::Transient, "scripted"))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_sent_changes_nothing() {
    let runtime = runtime(cacheable());
    let service = Arc::new(Service::default());
    ask(&runtime, &service, get(1)).await;
    let late = Request { deadline: Some(Duration::ZERO), ..Request::new("crm", "set", Profile::GENERAL) };
    assert!(runtime.request(late, service.clone()).await.unwrap_err().is_deadline());
    assert!(ask(&runtime, &service, get(1)).await.1);
}

#[tokio::test(start_paused = true)]
async fn a_name_with_dots_is_a_tool_of_another_service_or_of_its_own() {
    let plain = || ServiceConfig::named("crm").tool("get", cacheable()).tool("v1.get", cacheable());
    let other = ServiceConfig::named("shop").tool("get", cacheable());
    let runtime = runtime_with(Config::default().service(plain()).service(other));
    let service = Arc::new(Service::default());
    let at = |service: &str, operation: &str| {
        let (service, operation) = (service.to_owned(), operation.to_owned());
        Request { service, operation, ..get(1) }
    };
    for (name, forgotten) in [("shop.get", at("shop", "get")), ("v1.get", at("crm", "v1.get")), ("get", get(1))] {
        let all = [at("shop", "get"), at("crm", "v1.get"), get(1)];
        for request in &all {
            ask(&runtime, &service, request.clone()).await;
            assert!(ask(&runtime, &service, request.clone()).await.1);
        }
        let invalidates = vec![name.to_owned()];
        let write = Request { invalidates, ..Request::new("crm", "change", Profile::GENERAL) };
        ask(&runtime, &service, write).await;
        advance(Duration::from_millis(1)).await;
        for request in all {
            let again = ask(&runtime, &service, request.clone()).await.1;
            assert_eq!(
                again,
                request.service != forgotten.service || request.operation != forgotten.operation,
                "{name}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_answers_are_measured_while_their_time_is_learned_and_not_when_it_is_fixed() {
    for (tool, expected) in [(ToolConfig::default().cacheable(), true), (cacheable(), false)] {
        let runtime = runtime(tool);
        let service = Arc::new(Service::default());
        for _ in 0..1_000 {
            assert!(ask(&runtime, &service, get(1)).await.0 > 0);
            advance(Duration::from_millis(10)).await;
        }
        let revalidated = runtime.cache().stats().revalidations;
        assert_eq!(revalidated > 0, expected, "{revalidated}");
        assert!(revalidated < 60, "{revalidated}");
        assert_eq!(u64::from(service.asked()), 1 + revalidated);
    }
}

/// How often each of these was counted for an operation.
#[tokio::test(start_paused = true)]
async fn a_function_that_does_not_learn_asks_nobody_for_the_sake_of_learning() {
    let runtime = runtime(ToolConfig::default().cacheable());
    let service = Arc::new(Service::default());
    let outer = site(Declaration { learning: Some(Learning::Off), ..declared("outer") });
    let body = async {
        for _ in 0..1_000 {
            ask(&Runtime::current(), &service, get(1)).await;
            advance(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    runtime.scope(run_once(outer, Call::new(caps!(Result<(), Error>)), pin!(body))).await.unwrap();
    assert_eq!((runtime.cache().stats().revalidations, service.asked()), (0, 1));
}

async fn counted<const N: usize>(
    runtime: &Runtime,
    mut store: MemoryStore,
    [service, operation]: [&str; 2],
    keys: [Key; N],
) -> [u64; N] {
    runtime.flush().await.expect("the store in memory takes everything");
    let target = TargetKey { service: service.to_owned(), operation: operation.to_owned() };
    let history = store.evidence(&target, 0).await.expect("the store in memory has everything");
    keys.map(|key| history.total(key))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_asked_for_again_is_compared_with_the_one_before() {
    let store = MemoryStore::new();
    let write = ToolConfig::default().invalidates("get");
    let service = ServiceConfig::named("crm").tool("get", cacheable()).tool("set", write);
    let runtime = runtime_on(store.clone(), Config::default().service(service));
    let service = Arc::new(Service::default());
    let same = Arc::new(Same);
    let asked = |caller: Arc<dyn Caller>| runtime.request(get(1), caller);
    asked(same.clone()).await.unwrap();
    asked(same.clone()).await.unwrap();
    advance(secs(100)).await;
    asked(same.clone()).await.unwrap();
    advance(secs(200)).await;
    asked(service.clone()).await.unwrap();
    // What was changed by a write of ours says nothing about how fast the world changes it.
    advance(secs(1)).await;
    runtime.request(Request::new("crm", "set", Profile::GENERAL), service.clone()).await.unwrap();
    advance(secs(299)).await;
    asked(service).await.unwrap();
    let [young, old] = [100, 200].map(|age| age_bin(secs(age)));
    let of = [Key::Unchanged(young), Key::Changed(young), Key::Unchanged(old), Key::Changed(old)];
    assert_eq!(counted(&runtime, store.clone(), ["crm", "get"], of).await, [1, 0, 0, 1]);
    let all = (0..48).flat_map(|bin| [Key::Unchanged(bin), Key::Changed(bin)]);
    let mut sum = 0;
    for key in all {
        sum += counted(&runtime, store.clone(), ["crm", "get"], [key]).await[0];
    }
    assert_eq!(sum, 2);
    let endings = [Key::Call(Ending::Cached), Key::Call(Ending::Done)];
    assert_eq!(counted(&runtime, store, ["crm", "get"], endings).await, [1, 4]);
}

/// Always answers the same.
#[derive(Debug)]
struct Same;

impl Caller for Same {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async { Ok(json!({ "name": "Ada", "tags": ["a", "b"] }).into()) })
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_functions_are_compared_too_and_hits_are_counted() {
    let store = MemoryStore::new();
    let (runtime, fetch) = (runtime_on(store.clone(), Config::default()), site(cached()));
    runtime
        .scope(async {
            for n in [1, 1, 1, 2] {
                run_once(fetch, kept(1), pin!(async move { Ok(n) })).await.unwrap();
                run_once(fetch, kept(1), pin!(async move { Ok(n) })).await.unwrap();
                advance(secs(100)).await;
            }
        })
        .await;
    let bin = age_bin(secs(100));
    let keys = [Key::Unchanged(bin), Key::Changed(bin), Key::Call(Ending::Cached), Key::Call(Ending::Done)];
    assert_eq!(counted(&runtime, store, ["shop", "orders::fetch"], keys).await, [2, 1, 4, 4]);
}

/// What the property test remembers of every fetch and every write.
#[derive(Debug)]
struct World {
    epoch: Instant,
    /// How long each call takes, in the order in which they are started.
    takes: Mutex<Vec<u64>>,
    next: AtomicU64,
}

impl World {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).expect("no test takes that long")
    }
}

impl Caller for World {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move {
            let began = self.now();
            let nth = self.next.fetch_add(1, Ordering::SeqCst) as usize;
            let takes = {
                let takes = lock(&self.takes);
                takes[nth % takes.len()]
            };
            sleep(Duration::from_millis(takes)).await;
            // Some fail, so that hand-overs and failures are interleaved too.
            if takes % 7 == 3 {
                return Err(Failure::new(Class::Permanent, "scripted"));
            }
            Ok(json!(began).into())
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Read { id: u64, refresh: bool },
    Write { dropped_after: Option<u64> },
    Clear,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u64..2, proptest::bool::weighted(0.1)).prop_map(|(id, refresh)| Op::Read { id, refresh }),
        1 => proptest::option::of(1_u64..1_000).prop_map(|dropped_after| Op::Write { dropped_after }),
        1 => Just(Op::Clear),
        6 => (1_u64..20_000).prop_map(Op::Wait),
    ]
}

/// An answer with when its fetch began and when it was asked for, and whether it was kept.
type Seen = (u64, u64, Option<Duration>);

async fn play(ops: Vec<Op>, takes: Vec<u64>) -> (Vec<Seen>, Vec<u64>) {
    let runtime = runtime(cacheable());
    let world = Arc::new(World { epoch: Instant::now(), takes: Mutex::new(takes), next: AtomicU64::new(0) });
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    // The moments at which everything that was fetched before became worthless.
    let worthless: Arc<Mutex<Vec<u64>>> = Arc::default();
    let mut tasks = Vec::new();
    for op in ops {
        let (runtime, world, seen, worthless) = (runtime.clone(), world.clone(), seen.clone(), worthless.clone());
        match op {
            Op::Wait(millis) => sleep(Duration::from_millis(millis)).await,
            Op::Clear => {
                runtime.cache().clear();
                lock(&worthless).push(world.now());
            }
            Op::Read { id, refresh } => tasks.push(tokio::spawn(async move {
                let asked = world.now();
                let cache = if refresh { CacheWish::Refresh } else { CacheWish::AsConfigured };
                let Ok(reply) = runtime.request(Request { cache, ..get(id) }, world).await else { return };
                let age = match reply.disposition() {
                    Disposition::Cached { age } => Some(*age),
                    _ => None,
                };
                lock(&seen).push((reply.value().as_u64().expect("a number"), asked, age));
            })),
            Op::Write { dropped_after } => tasks.push(tokio::spawn(async move {
                let write = runtime.request(Request::new("crm", "set", Profile::GENERAL), world.clone());
                match dropped_after {
                    Some(millis) => drop(tokio::time::timeout(Duration::from_millis(millis), write).await),
                    None => drop(write.await),
                }
                lock(&worthless).push(world.now());
            })),
        }
    }
    for task in tasks {
        task.await.expect("no task panics");
    }
    // What is fetched in the background ends too.
    sleep(secs(60)).await;
    let seen = std::mem::take(&mut *lock(&seen));
    let worthless = std::mem::take(&mut *lock(&worthless));
    (seen, worthless)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_older_than_its_rules_allow_or_was_fetched_before_an_invalidation(
        ops in proptest::collection::vec(op(), 1..80),
        takes in proptest::collection::vec(0_u64..9_000, 1..20),
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (seen, worthless) = tokio.block_on(play(ops, takes));
        for (fetched, asked, age) in seen {
            if let Some(age) = age {
                prop_assert_eq!(Duration::from_millis(asked.saturating_sub(fetched)), age);
                prop_assert!(age < TTL + SWR, "{:?} old", age);
            }
            // Who asks in the very moment in which a write ends asks at the same time as it.
            let last = worthless.iter().filter(|moment| **moment < asked).max();
            prop_assert!(last.is_none_or(|last| fetched > *last), "fetched at {} and asked for at {}", fetched, asked);
        }
    }
}

fn cached() -> Declaration {
    Declaration { cache: Some(CacheFor::Fixed(TTL)), idempotent: true, ..declared("fetch") }
}

fn kept<K: serde::Serialize>(key: K) -> Call<Result<u32, Error>> {
    Call::new(caps!(Result<u32, Error>)).cached(keeps!(Result<u32, Error>), key_of(&key))
}

#[tokio::test(start_paused = true)]
async fn a_fresh_answer_of_a_function_is_given_without_starting_its_body() {
    let runtime = runtime_with(Config::default());
    let (fetch, other) = (site(cached()), site(cached()));
    let started = Cell::new(0_u32);
    let body = || async {
        started.set(started.get() + 1);
        Ok(started.get())
    };
    runtime
        .scope(async {
            assert_eq!(run_once(fetch, kept(1), pin!(body())).await.unwrap(), 1);
            assert_eq!(run_once(fetch, kept(1), pin!(body())).await.unwrap(), 1);
            assert_eq!(run_once(fetch, kept(2), pin!(body())).await.unwrap(), 2);
            assert_eq!(run_once(other, kept(1), pin!(body())).await.unwrap(), 3, "another function");
            advance(TTL).await;
            assert_eq!(run_once(fetch, kept(1), pin!(body())).await.unwrap(), 4);
            Runtime::current().cache().set_enabled(false);
            assert_eq!(run_once(fetch, kept(1), pin!(body())).await.unwrap(), 5);
        })
        .await;
    let stats = runtime.cache().stats();
    assert_eq!((stats.hits, stats.misses), (1, 4));
}

/// The same function for two types that its arguments and its answer do not show.
async fn of_type<T: 'static>(at: &'static Site) -> u32 {
    let body = pin!(async { Ok(size_of::<T>() as u32) });
    run_once(at, kept("the same arguments"), body).await.expect("an answer")
}

#[tokio::test(start_paused = true)]
async fn instantiations_of_a_generic_function_do_not_share_answers() {
    let (runtime, fetch) = (runtime_with(Config::default()), site(cached()));
    let sizes = runtime.scope(async { [of_type::<u8>(fetch).await, of_type::<u64>(fetch).await] }).await;
    assert_eq!(sizes, [1, 8]);
    assert_eq!(runtime.cache().stats().hits, 0);
}

#[tokio::test(start_paused = true)]
async fn identical_calls_of_a_function_share_one_run_and_its_failure() {
    let (runtime, fetch) = (runtime_with(Config::default()), site(cached()));
    for fails in [false, true] {
        let started = Cell::new(0);
        let one = || {
            run(fetch, kept(fails), |_| async {
                started.set(started.get() + 1);
                sleep(secs(1)).await;
                if fails { Err(Error::service(Class::Permanent, "scripted")) } else { Ok(7) }
            })
        };
        let answers = runtime.scope(async { tokio::join!(one(), one(), one()) }).await;
        assert_eq!(started.get(), 1, "fails: {fails}");
        for answer in [answers.0, answers.1, answers.2] {
            assert_eq!(answer.is_err(), fails, "{answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_hands_over_to_who_waits() {
    let (runtime, fetch) = (runtime_with(Config::default()), site(cached()));
    let started = Cell::new(0_u32);
    let one = || {
        run(fetch, kept(1), |_| async {
            started.set(started.get() + 1);
            sleep(secs(2)).await;
            Ok(started.get())
        })
    };
    let impatient = async { tokio::time::timeout(secs(1), one()).await.is_err() };
    let (gave_up, answer) = runtime.scope(async { tokio::join!(impatient, one()) }).await;
    assert!(gave_up);
    assert_eq!(answer.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_stands_in_for_a_body_that_failed_before_its_fallback_is_asked() {
    let (runtime, fetch) = (runtime_with(Config::default()), site(cached()));
    let asked = |answer: Result<u32, Error>| run_once_or_owned(fetch, answer);
    let failed = || Err(Error::service(Class::Transient, "down"));
    runtime
        .scope(async {
            assert_eq!(asked(failed()).await.unwrap(), 99, "nothing is kept yet");
            assert_eq!(asked(Ok(1)).await.unwrap(), 1);
            advance(TTL).await;
            assert_eq!(asked(failed()).await.unwrap(), 1);
            let gone = Err(Error::service(Class::Permanent, "no such customer"));
            assert_eq!(asked(gone).await.unwrap(), 99, "that is an answer, and the old one would hide it");
            advance(Profile::GENERAL.stale_if_error).await;
            assert_eq!(asked(failed()).await.unwrap(), 99, "too old even for that");
        })
        .await;
}

async fn run_once_or_owned(at: &'static Site, answer: Result<u32, Error>) -> Result<u32, Error> {
    run_once_or(at, kept(1), pin!(async move { answer }), || async { Ok(99) }).await
}

#[test]
fn a_synchronous_function_is_answered_from_the_cache_too() {
    let (runtime, fetch) = (runtime_with(Config::default()), site(cached()));
    let started = Cell::new(0);
    let one = || {
        run_sync_once(fetch, kept(1), || {
            started.set(started.get() + 1);
            Ok(started.get())
        })
    };
    runtime.scope_blocking(|| assert_eq!((one().unwrap(), one().unwrap()), (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_is_asked_again() {
    let (runtime, fetch) = (runtime_with(Config::default()), site(cached()));
    let one = |n: u32| async move {
        let answer = if n < 2 { Err(Error::service(Class::Permanent, "scripted")) } else { Ok(n) };
        run_once(fetch, kept(1), pin!(async move { answer })).await.ok()
    };
    let answers = runtime.scope(async { [one(0).await, one(1).await, one(2).await, one(3).await] }).await;
    assert_eq!(answers, [None, None, Some(2), Some(2)]);
}

#[test]
fn replies_can_be_sent_between_threads() {
    fn sendable<T: Send>(_: T) {}
    let runtime = runtime(cacheable());
    sendable(runtime.request(get(1), Arc::new(Service::default())));
}
