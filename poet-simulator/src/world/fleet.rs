//! The services of a world as the runtime calls them.

use super::service::{Fate, Model, Outages, exponential};
use crate::random::{SplitMix64, hash};
use poet_runtime::service::{AttemptContext, Caller, Failure, Fetched, Request};
use poet_runtime::store::BoxFuture;
use poet_runtime::{Class, Clock, Error, Profile, Runtime};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The services of one world, with everything that was asked of them.
#[derive(Debug)]
pub struct Fleet {
    services: &'static [Model],
    outages: Vec<Outages>,
    seed: u64,
    clock: Clock,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    down_calls: u64,
    /// How often each operation was asked.
    operations: BTreeMap<(String, String), u64>,
    /// What the newest answer about an item was, and until when it holds.
    answers: HashMap<(usize, String), Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    version: u64,
    until: f64,
}

/// How often the services were asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) calls: u64,
    pub(super) down: u64,
}

impl Fleet {
    /// The services of a world that lives for so many seconds from now on.
    #[must_use]
    pub fn new(services: &'static [Model], seconds: f64, seed: u64, clock: Clock) -> Self {
        let outages = services.iter().map(|model| Outages::draw(model, seconds, seed)).collect();
        let began = clock.now();
        Self { services, outages, seed, clock, began, state: Mutex::default() }
    }

    pub(super) fn second(&self) -> f64 {
        self.clock.now().saturating_duration_since(self.began).as_secs_f64()
    }

    pub(super) fn asked(&self) -> Asked {
        let state = self.state();
        Asked { calls: state.calls, down: state.down_calls }
    }

    /// How often each operation was asked, by service and operation.
    pub(super) fn operations(&self) -> BTreeMap<(String, String), u64> {
        self.state().operations.clone()
    }

    /// Whether the newest answer about an item holds no longer.
    pub(super) fn is_stale(&self, service: &str, item: &str) -> bool {
        let Some(index) = self.index(service) else { return false };
        let held = self.state().answers.get(&(index, item.to_owned())).copied();
        held.is_some_and(|held| held.until <= self.second())
    }

    fn index(&self, service: &str) -> Option<usize> {
        self.services.iter().position(|model| model.name == service)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is answered about an item: another version if the one before holds no longer.
    fn answer(&self, index: usize, item: &str) -> u64 {
        let Some(validity) = self.services[index].validity else { return 0 };
        let second = self.second();
        let mut state = self.state();
        let held = state.answers.get(&(index, item.to_owned())).copied();
        let version = held.map_or(0, |held| held.version + u64::from(held.until <= second));
        let mut chance = SplitMix64::of(self.seed ^ hash(item), index as u64, second.to_bits());
        let until = second + validity.certain + exponential(validity.mean, chance.unit());
        state.answers.insert((index, item.to_owned()), Held { version, until });
        version
    }

    async fn ask(&self, request: &Request) -> Result<Fetched, Failure> {
        let Some(index) = self.index(&request.service) else {
            return Err(Failure::new(Class::Permanent, format!("no service {}", request.service)));
        };
        let second = self.second();
        let down = self.outages[index].contain(second);
        let call = {
            let mut state = self.state();
            state.calls += 1;
            state.down_calls += u64::from(down);
            *state.operations.entry((request.service.clone(), request.operation.clone())).or_default() += 1;
            state.calls
        };
        let items = request.arguments.get("items").and_then(Value::as_array).map_or(1, Vec::len);
        let mut chance = SplitMix64::of(self.seed, hash(&request.service), call);
        match self.services[index].fate(down, second, items, &mut chance) {
            Fate::Hangs => std::future::pending().await,
            Fate::Fails(after) => {
                tokio::time::sleep(after).await;
                Err(Failure::new(Class::Transient, "503 service unavailable"))
            }
            Fate::Answers(after) => {
                tokio::time::sleep(after).await;
                Ok(match request.arguments.get("items").and_then(Value::as_array) {
                    Some(items) => {
                        json!({ "results": items.iter().map(|_| json!({ "done": true })).collect::<Vec<_>>() })
                    }
                    None => {
                        let item = request.arguments.get("id").and_then(Value::as_str).unwrap_or_default();
                        json!({ "id": item, "version": self.answer(index, item) })
                    }
                }
                .into())
            }
        }
    }
}

/// The profile of services of a world: as the general one, with somebody who finds them for calls that were put off.
pub(super) static WORLD: Profile = Profile { caller: Some(find), ..Profile::named("world") };

/// Where a runtime keeps its fleet.
#[derive(Debug, Default)]
pub(super) struct Harbour(Mutex<Option<Arc<Fleet>>>);

impl Harbour {
    pub(super) fn keep(&self, fleet: &Arc<Fleet>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fleet.clone());
    }
}

fn find(runtime: &Runtime, service: &str) -> Result<Arc<dyn Caller>, Error> {
    let harbour = runtime.extension::<Harbour>();
    let fleet = harbour.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match fleet {
        Some(fleet) => Ok(fleet),
        None => Err(Error::configuration(format!("no world has a service {service}"))),
    }
}

impl Caller for Fleet {
    fn attempt<'a>(&'a self, request: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(self.ask(request))
    }
}
