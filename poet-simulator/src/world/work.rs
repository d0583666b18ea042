//! The work that is asked of a world: customers come and want things done in up to four services.

use super::fleet::{Fleet, Harbour, WORLD};
use super::reference::{CUSTOMERS, DIURNAL, Policy, REFERENCE};
use super::service::{Model, exponential};
use super::tally::Tally;
use crate::random::SplitMix64;
use poet_runtime::parameter::Values;
use poet_runtime::service::{Caller, Request};
use poet_runtime::{Clock, Disposition, Error, Priority, Reply, Runtime, Wall};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Midnight of a Monday.
const MONDAY: Wall = Wall::from_millis(1_699_833_600_000);
/// How long the end of what was put off is waited for.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);
/// The share of requests that somebody waits for.
const HIGH: f64 = 0.3;
/// How likely each of the three services is wanted.
const WANTED: f64 = 0.8;

/// One run of a world under a policy.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What the client does.
    pub policy: Policy,
    /// Days of the world; the first half is for learning, the second is measured.
    pub days: f64,
    /// Requests per second, in the mean.
    pub rate: f64,
    /// The world's seed.
    pub seed: u64,
}

/// Lives a world through, in virtual time.
///
/// # Panics
///
/// If no tokio runtime can be made.
#[must_use]
pub fn run(run: Run, mut progress: impl FnMut(f64)) -> Lived {
    let time = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    time.expect("a runtime needs no more than a thread").block_on(async move {
        let world = World::new(run);
        let mut under_way = JoinSet::new();
        let mut chance = SplitMix64::of(run.seed, 1, 0);
        let end = run.days * 86_400.0;
        let mut number = 0;
        let mut told = 0.0;
        let mut before = world.fleet.asked();
        loop {
            let second = world.fleet.second();
            if second >= end {
                break;
            }
            if second < end / 2.0 {
                before = world.fleet.asked();
            }
            if second - told >= end / 50.0 {
                told = second;
                progress(second / end);
            }
            let rate = run.rate * DIURNAL[(second / 3_600.0) as usize % 24];
            tokio::time::sleep(Duration::from_secs_f64(exponential(1.0 / rate, chance.unit()))).await;
            number += 1;
            let visit = world.clone();
            under_way.spawn(async move { visit.runtime.clone().scope(visit.request(number)).await });
            while under_way.try_join_next().is_some() {}
        }
        while under_way.join_next().await.is_some() {}
        world.tally().calls = world.fleet.asked().calls - before.calls;
        world.tally().down_calls = world.fleet.asked().down - before.down;
        let values =
            |model: &Model, operation| Some((model.name, operation, world.runtime.values(model.name, operation)?));
        let operations = ["get", "update", "upsert", "upsert_all"];
        let learned = REFERENCE.iter().flat_map(|model| operations.map(|operation| values(model, operation)));
        Lived { tally: world.tally().clone(), values: learned.flatten().collect(), asked: world.fleet.operations() }
    })
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Lived {
    /// The counts of its second half.
    pub tally: Tally,
    /// The values in force at its end, by service and operation.
    pub values: Vec<(&'static str, &'static str, Values)>,
    /// How often each operation was asked over the whole run, by service and operation.
    pub asked: BTreeMap<(String, String), u64>,
}

#[derive(Clone, Debug)]
struct World {
    run: Run,
    runtime: Runtime,
    fleet: Arc<Fleet>,
    tally: Arc<Mutex<Tally>>,
    /// The share of customers up to each.
    shares: Arc<Vec<f64>>,
}

impl World {
    fn new(run: Run) -> Self {
        let clock = Clock::virtual_from(MONDAY);
        let seconds = run.days * 86_400.0;
        let fleet = Arc::new(Fleet::new(&REFERENCE, seconds, run.seed, clock.clone()));
        let runtime = Runtime::builder()
            .configuration(run.policy.config())
            .in_memory()
            .clock(clock)
            .seed(run.seed)
            .build()
            .expect("the configuration of a policy is correct");
        runtime.extension::<Harbour>().keep(&fleet);
        let weights: Vec<f64> = (1..=CUSTOMERS).map(|rank| (rank as f64).powf(-0.8)).collect();
        let all: f64 = weights.iter().sum();
        let shares = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight / all;
            Some(*sum)
        });
        Self { run, runtime, fleet, tally: Arc::default(), shares: Arc::new(shares.collect()) }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One customer's visit: look the customer up, then do what is wanted.
    async fn request(&self, number: u64) {
        let mut chance = SplitMix64::of(self.run.seed, 2, number);
        let customer = self.shares.partition_point(|share| *share < chance.unit());
        let customer = format!("C-{customer:03}");
        let wanted =
            ["salesforce_crm", "billing_system", "analytics_warehouse"].map(|name| (name, chance.unit() < WANTED));
        let priority = if chance.unit() < HIGH { Priority::High } else { Priority::Normal };

        let measured = self.fleet.second() >= self.run.days * 43_200.0;
        let began = self.fleet.second();
        let mut visit = Visit { now: true, failed: None, waiting: Vec::new() };
        visit.take(self.read("customer_database", &customer, priority, measured).await);
        for (service, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            if visit.failed.is_some() {
                break;
            }
            visit.take(match service {
                "billing_system" => self.read(service, &customer, priority, measured).await,
                "salesforce_crm" => self.call(service, "update", &customer, priority).await,
                _ => self.call(service, "upsert", &customer, priority).await,
            });
        }
        let took = self.fleet.second() - began;
        let (now, put_off) = (visit.now && visit.failed.is_none(), visit.deferred());
        let timed_out = visit.failed.as_ref().is_some_and(|error| error.is_timeout() || error.is_deadline());
        let eventually = visit.ends_well().await;
        if measured {
            let mut tally = self.tally();
            tally.requests += 1;
            tally.now += u64::from(now);
            tally.eventually += u64::from(eventually);
            tally.deferred += u64::from(put_off);
            tally.timed_out += u64::from(timed_out);
            tally.seconds.push(took);
        }
    }

    async fn read(&self, service: &str, customer: &str, priority: Priority, measured: bool) -> Result<Reply, Error> {
        let result = self.call(service, "get", customer, priority).await;
        let hit = match &result {
            // What was fetched a moment ago by somebody else is no older than what this call would have fetched.
            Ok(reply) => matches!(reply.disposition(), Disposition::Cached { .. } | Disposition::Fallback { .. }),
            Err(_) => false,
        };
        if measured {
            let mut tally = self.tally();
            tally.reads += 1;
            tally.hits += u64::from(hit);
            tally.stale += u64::from(hit && self.fleet.is_stale(service, customer));
        }
        result
    }

    async fn call(&self, service: &str, operation: &str, customer: &str, priority: Priority) -> Result<Reply, Error> {
        let Value::Object(arguments) = json!({ "id": customer }) else { unreachable!("an object was written") };
        let writes_twice_alike = operation != "get";
        let request = Request {
            arguments,
            repeatable: true,
            read_only: !writes_twice_alike,
            priority: Some(priority),
            ..Request::new(service, operation, &WORLD)
        };
        self.runtime.request(request, self.fleet.clone() as Arc<dyn Caller>).await
    }
}

/// What became of the parts of one request.
struct Visit {
    /// Whether everything that is waited for was done at once.
    now: bool,
    failed: Option<Error>,
    /// The parts that were put off.
    waiting: Vec<Reply>,
}

impl Visit {
    fn take(&mut self, part: Result<Reply, Error>) {
        match part {
            Ok(reply) => {
                if let Some(_ticket) = reply.disposition().ticket() {
                    self.now &= matches!(reply.disposition(), Disposition::Queued(_));
                    self.waiting.push(reply);
                }
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn deferred(&self) -> bool {
        self.waiting.iter().any(|reply| matches!(reply.disposition(), Disposition::Deferred(_)))
    }

    async fn ends_well(self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        for reply in &self.waiting {
            let ticket = reply.disposition().ticket().expect("only what has a ticket is waited for");
            if ticket.wait(PATIENCE).await.is_err() {
                return false;
            }
        }
        true
    }
}
