use super::*;
use crate::clock::{Clock, Wall};
use crate::config::{CacheConfig, Config, ServiceConfig, ToolConfig};
use crate::service::{AttemptContext, Caller, Failure, Fetched};
use crate::store::BoxFuture;
use serde_json::json;

#[derive(Debug)]
struct Service;

impl Caller for Service {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async { Ok(json!("old").into()) })
    }
}

async fn kept_answer() -> (Runtime, impl Fn() -> Order) {
    let tool = ToolConfig::default().cache(CacheConfig {
        ttl: Some(Duration::from_secs(60)),
        stale_while_revalidate: Some(Duration::ZERO),
        stale_if_error: Some(Duration::from_secs(600)),
    });
    let config = Config::default().service(ServiceConfig::named("crm").tool("get", tool));
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let runtime = Runtime::builder().configuration(config).in_memory().clock(clock).build().unwrap();
    let request = || Request { repeatable: true, ..Request::new("crm", "get", Profile::GENERAL) };
    runtime.request(request(), Arc::new(Service)).await.unwrap();
    let order = {
        let runtime = runtime.clone();
        move || Order::new(&runtime, request(), Arc::new(Service))
    };
    (runtime, order)
}

async fn after(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_at_hand_when_the_service_fails_and_says_how_old_it_is() {
    let (_runtime, order) = kept_answer().await;
    after(100).await;
    let (order, failed) = (order(), Error::service(Class::Transient, "down"));
    let (value, age) = look(&order).stands_in(&order, &failed).expect("an old answer");
    assert_eq!((&*value, age), (&json!("old"), Duration::from_secs(100)));
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_does_not_hide_what_the_service_says_now() {
    let (_runtime, order) = kept_answer().await;
    after(100).await;
    for error in [
        Error::service(Class::Permanent, "no such customer"),
        Error::denied("no permission"),
        Error::configuration("no such service"),
    ] {
        let order = order();
        assert!(look(&order).stands_in(&order, &error).is_none(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_made_worthless_while_the_call_ran_stands_in_for_nothing() {
    let (runtime, order) = kept_answer().await;
    after(100).await;
    let order = order();
    let old = look(&order);
    assert!(matches!(old, Look::OnError));
    runtime.cache().invalidate("crm", "get");
    assert!(old.stands_in(&order, &Error::service(Class::Timeout, "slow")).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_old_even_for_that_is_removed_when_it_is_met() {
    let (runtime, order) = kept_answer().await;
    after(660).await;
    assert!(matches!(look(&order()), Look::Missed));
    assert_eq!((runtime.cache().stats().entries, runtime.cache().stats().bytes), (0, 0));
}
