//! What an answer from the cache costs, beside one from the library that keeps it.

use crate::protected::{Failed, Readiness, ready};
use crate::sampling::{Bench, Case, Group};
use poet_runtime::__private::{Call, Keeps, caps, keeps, key_of, run_once};
use poet_runtime::config::{Config, ServiceConfig, ToolConfig};
use poet_runtime::service::{AttemptContext, CacheKey, Caller, Failure, Fetched, Request};
use poet_runtime::store::BoxFuture;
use poet_runtime::{CacheFor, Declaration, Profile, Runtime, Site};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};
use serde_json::json;
use std::hash::{BuildHasher, Hasher};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Different arguments, so that it is not one line of memory that is measured.
const ARGUMENTS: u64 = 256;

/// Takes a key as it is, which is a hash already.
#[derive(Clone, Debug, Default)]
struct AsItIs(u64);

impl BuildHasher for AsItIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key writes one word");
    }
}

type Library = Cache<CacheKey, Arc<u64>, UnitWeighter, AsItIs, DefaultLifecycle<CacheKey, Arc<u64>>>;

fn library() -> Library {
    let options = OptionsBuilder::new().estimated_items_capacity(10_000).weight_capacity(10_000).build();
    let cache =
        Cache::with_options(options.expect("both are given"), UnitWeighter, AsItIs(0), DefaultLifecycle::default());
    for n in 0..ARGUMENTS {
        cache.insert(key_of(&(&n,)), Arc::new(n));
    }
    cache
}

/// What the attribute makes of `#[poet(cache = "1h")] async fn get(n: u64) -> Result<u64, Failed>`.
async fn get(n: u64) -> Result<u64, Failed> {
    static SITE: Site = Site::new(Declaration {
        cache: Some(CacheFor::Fixed(Duration::from_secs(3_600))),
        ..Declaration::new("get", module_path!(), file!(), line!())
    });
    let keeps: Keeps<Result<u64, Failed>> = keeps!(Result<u64, Failed>);
    let call = Call::new(caps!(Result<u64, Failed>)).cached(keeps, key_of(&(&n,)));
    let body = pin!(ready(n));
    run_once(&SITE, call, body).await
}

/// A service that answers at once.
#[derive(Debug)]
struct Service;

impl Caller for Service {
    fn attempt<'a>(&'a self, request: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move { Ok(json!({ "of": request.arguments["id"] }).into()) })
    }
}

/// The library's own, a function's and a service call's.
#[must_use]
pub fn cases(bench: &Bench, readiness: Readiness) -> Vec<Case> {
    if readiness != Readiness::AtOnce {
        return Vec::new();
    }
    let runtime = Runtime::current();
    let flush = |runtime: &Runtime| {
        let (tokio, poet) = (Rc::clone(&bench.runtime), runtime.clone());
        move || tokio.block_on(poet.flush()).expect("the store in memory takes everything")
    };
    let keys: Vec<_> = (0..ARGUMENTS).map(|n| key_of(&(&n,))).collect();
    let (with_key, without_key) = (library(), library());
    let service = ServiceConfig::named("crm").tool("get", ToolConfig::default().cacheable().pin("cache.ttl", 3_600));
    let calling = Runtime::builder()
        .configuration(Config::default().service(service))
        .in_memory()
        .build()
        .expect("a correct configuration");
    let requests: Vec<_> = (0..ARGUMENTS)
        .map(|id| {
            let mut request = Request::new("crm", "get", Profile::GENERAL);
            request.arguments.insert("id".to_owned(), json!(id));
            Request { repeatable: true, read_only: true, ..request }
        })
        .collect();
    let copies = requests.clone();
    let caller: Arc<dyn Caller> = Arc::new(Service);
    let request_size = size_of_val(&calling.request(requests[0].clone(), caller.clone()));
    let flush_requests = flush(&calling);
    vec![
        Case::new(bench, Group::Ready, "quick_cache get", 0, async move |n| {
            without_key.get(&keys[(n % ARGUMENTS) as usize])
        }),
        Case::new(bench, Group::Ready, "quick_cache get, and the key of a u64", 0, async move |n| {
            with_key.get(&key_of(&(&(n % ARGUMENTS),)))
        }),
        Case::new(bench, Group::Ready, "poet: cached function, hit", size_of_val(&get(0)), async |n| {
            get(n % ARGUMENTS).await
        })
        .between(flush(&runtime)),
        Case::new(bench, Group::Ready, "the copy of a request", 0, async move |n| {
            copies[(n % ARGUMENTS) as usize].clone()
        }),
        Case::new(bench, Group::Ready, "poet: cached request, hit, with its copy", request_size, async move |n| {
            calling.request(requests[(n % ARGUMENTS) as usize].clone(), caller.clone()).await
        })
        .between(flush_requests),
    ]
}
