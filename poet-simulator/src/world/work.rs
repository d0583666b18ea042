//! The work that is asked of a world: customers come and want things done in its services, one after the other.

use super::fleet::{Ask, Fleet, Harbour, WORLD};
use super::log::{Log, Watched};
use super::moves::Move;
use super::service::exponential;
use super::spec::{Step, World};
use super::tally::{Summary, Tally};
use crate::peers::{Clairvoyant, Gone, Kind, Part, Peer};
use crate::policy::{self, Policy, Without};
use crate::random::SplitMix64;
use poet_runtime::defer::MemoryQueue;
use poet_runtime::parameter::Values;
use poet_runtime::service::{Caller, Request};
use poet_runtime::store::{MemoryStore, Store};
use poet_runtime::{Class, Clock, Disposition, Priority, Reply, Runtime, Wall};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How often somebody looks at how far the world is.
const LOOK: f64 = 1.0 / 200.0;

/// One run of a world under a policy.
#[derive(Clone, Debug)]
pub struct Run {
    /// The world.
    pub world: Arc<World>,
    /// What the client does.
    pub policy: Policy,
    /// How many days it lives.
    pub days: f64,
    /// Requests per second, in the mean.
    pub rate: f64,
    /// Its seed.
    pub seed: u64,
    /// Where every call, attempt and decision is written.
    pub log: Log,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Lived {
    /// The figures of what is measured.
    pub summary: Summary,
    /// The figures of each part of its life: its days, where there are enough.
    pub parts: Vec<Summary>,
    /// How long a part is, in days.
    pub part: f64,
    /// The values in force at its end, by service and operation.
    pub values: Vec<(String, String, Values)>,
    /// What was learned, in order.
    pub moves: Vec<Move>,
    /// How often each operation was asked, by service and operation.
    pub asked: BTreeMap<(String, String), u64>,
}

/// Lives a world through, in virtual time.
///
/// # Panics
///
/// If no tokio runtime can be made.
#[must_use]
pub fn run(run: &Run, mut progress: impl FnMut(f64)) -> Lived {
    let time = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    time.expect("a runtime needs no more than a thread").block_on(async move {
        let life = Life::begin(run);
        tokio::spawn(correct(life.fleet.clone(), run.world.clone()));
        let mut under_way = JoinSet::new();
        let mut chance = SplitMix64::of(run.seed, 1, 0);
        let end = life.fleet.seconds();
        let mut told = 0.0;
        let mut number = 0;
        while let Some(wait) = life.next(number, &mut chance) {
            tokio::time::sleep(wait).await;
            let second = life.fleet.second();
            if second >= end {
                break;
            }
            if second - told >= end * LOOK {
                told = second;
                progress(second / end);
            }
            number += 1;
            let visit = life.clone();
            match &life.client {
                Client::Runtime(runtime) => {
                    let runtime = runtime.clone();
                    under_way.spawn(async move { runtime.scope(visit.request(number)).await })
                }
                Client::Peer(_) | Client::Clairvoyant(_) => under_way.spawn(async move { visit.request(number).await }),
            };
            while under_way.try_join_next().is_some() {}
        }
        while under_way.join_next().await.is_some() {}
        life.end().await
    })
}

/// Corrects the wall clock of the clients when it is time.
async fn correct(fleet: Arc<Fleet>, world: Arc<World>) {
    for (second, by) in &world.corrections {
        tokio::time::sleep(super::fleet::seconds(second - fleet.second())).await;
        fleet.correct(*by);
    }
}

#[derive(Clone, Debug)]
enum Client {
    Runtime(Runtime),
    Peer(Arc<Peer>),
    Clairvoyant(Arc<Clairvoyant>),
}

#[derive(Clone, Debug)]
struct Life {
    world: Arc<World>,
    seed: u64,
    rate: f64,
    client: Client,
    fleet: Arc<Fleet>,
    store: MemoryStore,
    /// The share of items up to each.
    shares: Arc<Vec<f64>>,
}

impl Life {
    fn begin(run: &Run) -> Self {
        let world = run.world.clone();
        let clock = Clock::virtual_from(Wall::from_millis(world.begin));
        let seconds = run.days * 86_400.0;
        let fleet = Arc::new(Fleet::new(world.clone(), seconds, run.seed, clock.clone(), run.log.clone()));
        let store = MemoryStore::new();
        let through = |without, held| {
            let watched =
                Watched { store: store.clone(), log: run.log.clone(), clock: clock.clone(), begin: world.begin };
            let runtime = Runtime::builder()
                .configuration(policy::config(&world, without, held))
                .store(watched)
                .queue(MemoryQueue::new())
                .clock(clock.clone())
                .profile(&WORLD)
                .seed(run.seed)
                .build()
                .expect("the configuration of a policy is correct");
            runtime.extension::<Harbour>().keep(&fleet);
            Client::Runtime(runtime)
        };
        let client = match run.policy {
            Policy::Peer(kind) => Client::Peer(Arc::new(Peer::new(kind, world.services.len(), run.seed))),
            Policy::Clairvoyant => Client::Clairvoyant(Arc::new(Clairvoyant::new(fleet.clone(), run.seed))),
            Policy::Learned(without) => through(without, None),
            Policy::Static(name) => match world.statics.get(name) {
                Some(held) => through(Without::Nothing, Some(held)),
                None => Client::Peer(Arc::new(Peer::new(Kind::Fixed, world.services.len(), run.seed))),
            },
        };
        let weights: Vec<f64> =
            (1..=world.arrivals.items).map(|rank| (rank as f64).powf(-world.arrivals.skew)).collect();
        let all: f64 = weights.iter().sum();
        let shares = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight / all;
            Some(*sum)
        });
        let shares = Arc::new(shares.collect());
        Self { world, seed: run.seed, rate: run.rate, client, fleet, store, shares }
    }

    /// How long the next request is waited for; `None` where none comes any more.
    fn next(&self, number: u64, chance: &mut SplitMix64) -> Option<Duration> {
        let second = self.fleet.second();
        let wait = match &self.world.arrivals.trace {
            Some(trace) => trace.get(number as usize)? - second,
            None => {
                let hour = (second / 3_600.0) as usize % 24;
                let rate = self.rate * self.world.arrivals.hours[hour];
                if rate > 0.0 {
                    exponential(1.0 / rate, chance.unit())
                } else {
                    // Nobody comes in this hour.
                    ((second / 3_600.0).floor() + 1.0) * 3_600.0 - second
                }
            }
        };
        Some(super::fleet::seconds(wait))
    }

    async fn end(mut self) -> Lived {
        if let Client::Runtime(runtime) = &self.client {
            // A store in memory does not fail.
            let _ = runtime.flush().await;
        }
        let worth = &self.world.worth;
        let parts = self.fleet.parts();
        let from = (self.world.measured_from * parts.len() as f64).round() as usize;
        let mut measured = Tally::default();
        parts[from.min(parts.len() - 1)..].iter().for_each(|part| measured.add(part));
        let mut summary = measured.summary(worth);
        if let Some(after) = self.fleet.recovers_after(self.rate) {
            summary.recovers_after = after;
        }
        let changes = self.store.changes(None).await.unwrap_or_default();
        let steps = self.world.steps.iter();
        let operations = steps.flat_map(|step| {
            let service = &self.world.services[step.service].name;
            [Some(&step.operation), step.bulk.as_ref()].into_iter().flatten().map(move |operation| (service, operation))
        });
        let values = |(service, operation): (&String, &String)| match &self.client {
            Client::Runtime(runtime) => Some((service.clone(), operation.clone(), runtime.values(service, operation)?)),
            Client::Peer(_) | Client::Clairvoyant(_) => None,
        };
        Lived {
            summary,
            part: self.fleet.seconds() / 86_400.0 / parts.len() as f64,
            parts: parts.iter().map(|part| part.summary(worth)).collect(),
            values: operations.filter_map(values).collect(),
            moves: changes.iter().map(|change| Move::of(change, self.world.begin)).collect(),
            asked: self.fleet.operations(),
        }
    }

    /// One request: every step that it wants, until one fails.
    async fn request(&self, number: u64) {
        let mut chance = SplitMix64::of(self.seed, 2, number);
        let item = self.shares.partition_point(|share| *share < chance.unit());
        let item = format!("C-{item:03}");
        let wanted: Vec<bool> = self.world.steps.iter().map(|step| chance.unit() < step.share).collect();
        let high = chance.unit() < self.world.arrivals.high;
        let began = self.fleet.second();
        let part = self.fleet.part(began);
        let mut visit = Visit { now: true, failed: None, put_off: false, waiting: Vec::new() };
        for (index, step) in self.world.steps.iter().enumerate().filter(|(index, _)| wanted[*index]) {
            let wrong = step.wrong > 0.0 && chance.unit() < step.wrong;
            self.fleet.want(step.service);
            let taken = self.step(index, &item, wrong, high).await;
            self.tell(step, number, began, &taken);
            self.count(part, step, &item, wrong, &taken);
            if wrong && matches!(taken, Taken::Gone(Gone::Failed(Class::Permanent))) {
                // That it is refused is all that was wanted.
                continue;
            }
            visit.take(taken);
            if visit.failed.is_some() {
                break;
            }
        }
        let took = self.fleet.second() - began;
        let now = visit.now && visit.failed.is_none();
        let (put_off, timed_out) = (visit.put_off, visit.failed == Some(Gone::Failed(Class::Timeout)));
        let eventually = visit.ends_well(self.world.client.patience).await;
        self.fleet.log().line(
            self.fleet.second(),
            "request",
            || json!({ "number": number, "item": item, "high": high, "took": took, "now": now, "done": eventually }),
        );
        self.fleet.note(part, |tally| {
            tally.requests += 1;
            tally.now += u64::from(now);
            tally.eventually += u64::from(eventually);
            tally.deferred += u64::from(put_off);
            tally.timed_out += u64::from(timed_out);
            tally.high = (tally.high.0 + u64::from(high), tally.high.1 + u64::from(high && now));
            tally.seconds.push(took as f32);
        });
    }

    async fn step(&self, index: usize, item: &str, wrong: bool, high: bool) -> Taken {
        let step = &self.world.steps[index];
        match &self.client {
            Client::Runtime(runtime) => {
                let service = &self.world.services[step.service].name;
                let Value::Object(mut arguments) = json!({ "id": item }) else { unreachable!("an object was written") };
                if wrong {
                    arguments.insert("wrong".to_owned(), Value::Bool(true));
                }
                let priority = if high { Priority::High } else { Priority::Normal };
                let request = Request {
                    arguments,
                    repeatable: true,
                    read_only: step.read,
                    priority: Some(priority),
                    ..Request::new(service, &step.operation, &WORLD)
                };
                match runtime.request(request, self.fleet.clone() as Arc<dyn Caller>).await {
                    Ok(reply) => match reply.disposition() {
                        Disposition::Queued(_) => Taken::Later(true, Waiting::For(reply)),
                        Disposition::Deferred(_) => Taken::Later(false, Waiting::For(reply)),
                        // What was fetched a moment ago by somebody else is no older than what this call would have
                        // fetched.
                        Disposition::Cached { .. } | Disposition::Fallback { .. } => Taken::Done(true),
                        _ => Taken::Done(false),
                    },
                    Err(error) => Taken::Gone(if error.is_circuit_open() {
                        Gone::Refused
                    } else if error.is_timeout() || error.is_deadline() {
                        Gone::Failed(Class::Timeout)
                    } else {
                        Gone::Failed(if wrong { Class::Permanent } else { Class::Transient })
                    }),
                }
            }
            Client::Peer(peer) => {
                let ask = Ask { service: step.service, operation: &step.operation, item, items: 1, wrong };
                peer.call(&self.fleet, ask).await.map_or_else(Taken::Gone, |()| Taken::Done(false))
            }
            Client::Clairvoyant(client) => match client.step(index, item, wrong, high).await {
                Part::Done { hit } => Taken::Done(hit),
                Part::Later { acknowledged, told } => Taken::Later(acknowledged, Waiting::Told(told)),
                Part::Gone(gone) => Taken::Gone(gone),
            },
        }
    }

    fn count(&self, part: usize, step: &Step, item: &str, wrong: bool, taken: &Taken) {
        let hit = matches!(taken, Taken::Done(true));
        let refused = matches!(taken, Taken::Gone(Gone::Refused)) && self.fleet.down_until(step.service).is_none();
        let stale = hit && self.fleet.is_stale(step.service, item);
        self.fleet.note(part, |tally| {
            tally.refused_up += u64::from(refused);
            tally.wrong.0 += u64::from(wrong);
            if step.read {
                tally.reads += 1;
                tally.hits += u64::from(hit);
                tally.stale += u64::from(stale);
            }
        });
    }

    fn tell(&self, step: &Step, number: u64, began: f64, taken: &Taken) {
        self.fleet.log().line(self.fleet.second(), "call", || {
            let was = match taken {
                Taken::Done(true) => "kept",
                Taken::Done(false) => "done",
                Taken::Later(true, _) => "acknowledged",
                Taken::Later(false, _) => "put_off",
                Taken::Gone(Gone::Refused) => "refused",
                Taken::Gone(Gone::Failed(class)) => class.as_str(),
            };
            let service = &self.world.services[step.service].name;
            json!({ "request": number, "since": began, "service": service, "operation": step.operation, "was": was })
        });
    }
}

/// What became of one step.
enum Taken {
    /// It is done; whether without asking the service.
    Done(bool),
    /// It will be done; whether that is all that was waited for.
    Later(bool, Waiting),
    Gone(Gone),
}

/// What the end of a step that was put off is told by.
enum Waiting {
    For(Reply),
    Told(oneshot::Receiver<bool>),
}

/// What became of the steps of one request.
struct Visit {
    /// Whether everything that is waited for was done at once.
    now: bool,
    failed: Option<Gone>,
    put_off: bool,
    /// What is not done yet.
    waiting: Vec<Waiting>,
}

impl Visit {
    fn take(&mut self, step: Taken) {
        match step {
            Taken::Done(_) => {}
            Taken::Later(acknowledged, waiting) => {
                self.now &= acknowledged;
                self.put_off |= !acknowledged;
                self.waiting.push(waiting);
            }
            Taken::Gone(gone) => self.failed = Some(gone),
        }
    }

    async fn ends_well(self, patience: f64) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let patience = super::fleet::seconds(patience);
        for waiting in self.waiting {
            let done = match waiting {
                Waiting::For(reply) => match reply.disposition().ticket() {
                    Some(ticket) => ticket.wait(patience).await.is_ok(),
                    None => true,
                },
                Waiting::Told(told) => matches!(tokio::time::timeout(patience, told).await, Ok(Ok(true))),
            };
            if !done {
                return false;
            }
        }
        true
    }
}
