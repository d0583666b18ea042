//! The services of a world as they are called, by the runtime or by another client.

use super::load::Backlog;
use super::log::Log;
use super::service::{Fate, Model, Outages, exponential};
use super::spec::World;
use super::tally::Tally;
use crate::random::{SplitMix64, hash};
use poet_runtime::service::{AttemptContext, Caller, Failure, Fetched, Request};
use poet_runtime::store::BoxFuture;
use poet_runtime::{Class, Clock, Error, Profile, Runtime, Wall};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Worlds that live longer than this are not watched second by second.
const WATCHED: f64 = 2.0 * 3_600.0;

/// The services of one world, with everything that was asked of them.
#[derive(Debug)]
pub struct Fleet {
    world: Arc<World>,
    /// What each service is like, from which second on.
    phases: Vec<Vec<(f64, Model)>>,
    outages: Vec<Outages>,
    seed: u64,
    clock: Clock,
    began: Instant,
    seconds: f64,
    log: Log,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    parts: Vec<Tally>,
    calls: u64,
    /// How often each operation was asked.
    operations: BTreeMap<(String, String), u64>,
    /// What the newest answer about an item was, and until when it holds.
    answers: HashMap<(usize, String), Held>,
    backlogs: Vec<Backlog>,
    /// The newest outage of each service of whose end somebody knows.
    noticed: Vec<Option<usize>>,
    /// Answers by second, in worlds that are short.
    good: Vec<u32>,
    wanted: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    version: u64,
    until: f64,
}

/// One attempt, as a service meets it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The service, by its place in the world.
    pub service: usize,
    /// The operation.
    pub operation: &'a str,
    /// What it is about; for many, the first of them.
    pub item: &'a str,
    /// About how many it is.
    pub items: usize,
    /// Whether it is wrong, so that the service refuses it for good.
    pub wrong: bool,
}

/// Takes note of an attempt that nobody waits for any more.
struct UnderWay<'f> {
    fleet: &'f Fleet,
    ask: Ask<'f>,
    part: usize,
    call: u64,
    ended: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.fleet.books().parts[self.part].abandoned += 1;
            self.fleet.tell(&self.ask, self.call, "abandoned");
        }
    }
}

impl Fleet {
    /// The services of a world that lives for so many seconds from now on.
    #[must_use]
    pub fn new(world: Arc<World>, seconds: f64, seed: u64, clock: Clock, log: Log) -> Self {
        let phases: Vec<Vec<_>> = (0..world.services.len())
            .map(|index| {
                let first = (0.0, world.services[index].clone());
                let later = world.changes.iter().filter(|change| change.service == index);
                std::iter::once(first)
                    .chain(later.map(|change| (change.at * seconds, change.becomes.clone())))
                    .collect()
            })
            .collect();
        let outages = phases.iter().map(|phases| {
            let ends = phases.iter().skip(1).map(|(from, _)| *from).chain([seconds]);
            let each = phases.iter().zip(ends);
            each.map(|((from, model), until)| Outages::draw(model, world.begin, *from, until, seed))
                .fold(Outages::default(), Outages::and)
        });
        let outages = outages.collect();
        let n = world.services.len();
        let watched = if seconds <= WATCHED { seconds as usize + 1 } else { 0 };
        let books = Books {
            parts: vec![Tally::default(); parts(seconds)],
            backlogs: vec![Backlog::default(); n],
            noticed: vec![None; n],
            good: vec![0; watched],
            wanted: vec![0; watched],
            ..Books::default()
        };
        let began = clock.now();
        Self { world, phases, outages, seed, clock, began, seconds, log, books: Mutex::new(books) }
    }

    /// The world they belong to.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The second of the world.
    #[must_use]
    pub fn second(&self) -> f64 {
        self.clock.now().saturating_duration_since(self.began).as_secs_f64()
    }

    /// Sets the wall clock of the clients ahead by so many seconds, or back.
    pub(super) fn correct(&self, by: f64) {
        let shown = self.clock.wall().millis();
        self.clock.correct(Wall::from_millis(shown.saturating_add((by * 1_000.0) as i64)));
    }

    /// How long the world lives, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The part of its life (a day, where it lives for more than a few) that a second belongs to; what happens after
    /// the end belongs to the last.
    pub(crate) fn part(&self, second: f64) -> usize {
        let parts = parts(self.seconds);
        ((second / self.seconds * parts as f64) as usize).min(parts - 1)
    }

    /// Writes in the tally of a part.
    pub(crate) fn note(&self, part: usize, note: impl FnOnce(&mut Tally)) {
        note(&mut self.books().parts[part]);
    }

    /// The tallies of all parts.
    pub(crate) fn parts(&self) -> Vec<Tally> {
        self.books().parts.clone()
    }

    /// How often each operation was asked, by service and operation.
    pub(crate) fn operations(&self) -> BTreeMap<(String, String), u64> {
        self.books().operations.clone()
    }

    /// Until when a service is down, if it is.
    #[must_use]
    pub fn down_until(&self, service: usize) -> Option<f64> {
        self.outages[service].until(self.second())
    }

    /// Whether a service is down, or can do less than usual.
    fn is_in_trouble(&self, service: usize, second: f64) -> bool {
        let model = self.model(service, second);
        self.outages[service].until(second).is_some()
            || model.capacity.as_ref().is_some_and(|capacity| capacity.is_cut(second))
    }

    /// Takes note that a call is wanted of a service.
    pub(crate) fn want(&self, service: usize) {
        let second = self.second();
        let troubled = self.is_in_trouble(service, second);
        let part = self.part(second);
        let mut books = self.books();
        books.parts[part].troubled.0 += u64::from(troubled);
        if let Some(wanted) = books.wanted.get_mut(second as usize) {
            *wanted += 1;
        }
    }

    /// Whether the newest answer about an item holds no longer.
    #[must_use]
    pub fn is_stale(&self, service: usize, item: &str) -> bool {
        let held = self.books().answers.get(&(service, item.to_owned())).copied();
        held.is_some_and(|held| held.until <= self.second())
    }

    /// Until when the newest answer about an item holds; `None` where there was none.
    pub(crate) fn holds_until(&self, service: usize, item: &str) -> Option<f64> {
        self.books().answers.get(&(service, item.to_owned())).map(|held| held.until)
    }

    /// Seconds from the end of the last cut of capacity until five seconds go by in which 95 % of the usual load is
    /// answered; `None` where there was no cut, or the world is not watched second by second.
    pub(crate) fn recovers_after(&self, rate: f64) -> Option<f64> {
        let ends = self.phases.iter().flatten().filter_map(|(_, model)| model.capacity.as_ref()?.last_end());
        let end = ends.reduce(f64::max)?;
        let books = self.books();
        // The last seconds are cut short by the end of the world.
        let last = books.good.len().checked_sub(7)?;
        let enough = |from: &usize| {
            let (good, wanted): (u32, u32) =
                (books.good[*from..from + 5].iter().sum(), books.wanted[*from..from + 5].iter().sum());
            f64::from(good) >= 0.95 * f64::from(wanted).min(5.0 * rate)
        };
        let back = (end as usize..last).find(enough);
        Some(back.map_or(f64::INFINITY, |back| back as f64 - end))
    }

    fn model(&self, service: usize, second: f64) -> &Model {
        let phases = &self.phases[service];
        &phases[phases.partition_point(|(from, _)| *from <= second).max(1) - 1].1
    }

    fn index(&self, service: &str) -> Option<usize> {
        self.world.services.iter().position(|model| model.name == service)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, ask: &Ask<'_>, call: u64, what: &str) {
        self.log.line(self.second(), "attempt", || {
            json!({
                "service": self.world.services[ask.service].name, "operation": ask.operation, "item": ask.item,
                "items": ask.items, "call": call, "was": what,
            })
        });
    }

    /// What is answered about an item: another version if the one before holds no longer. Whoever asks again learns
    /// anew how long it holds.
    fn answer(&self, service: usize, item: &str) -> u64 {
        let second = self.second();
        let Some(validity) = self.model(service, second).validity else { return 0 };
        let mut books = self.books();
        let held = books.answers.get(&(service, item.to_owned())).copied();
        let version = held.map_or(0, |held| held.version + u64::from(held.until <= second));
        let mut chance = SplitMix64::of(self.seed ^ hash(item), service as u64, second.to_bits());
        let until = second + validity.certain + exponential(validity.mean, chance.unit());
        books.answers.insert((service, item.to_owned()), Held { version, until });
        version
    }

    /// Makes one attempt. Dropped, it counts as given up.
    ///
    /// # Errors
    ///
    /// As the world has it.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<u64, Failure> {
        let second = self.second();
        let model = self.model(ask.service, second);
        let down = self.outages[ask.service].until(second).is_some();
        let troubled = self.is_in_trouble(ask.service, second);
        let part = self.part(second);
        let (call, queued) = {
            let mut books = self.books();
            books.calls += 1;
            let call = books.calls;
            let operation = (model.name.clone(), ask.operation.to_owned());
            *books.operations.entry(operation).or_default() += 1;
            let queued =
                model.capacity.as_ref().map(|capacity| capacity.join(&mut books.backlogs[ask.service], second, 1.0));
            if !down
                && let Some(newest) = self.outages[ask.service].before(second)
                && books.noticed[ask.service].is_none_or(|noticed| noticed < newest)
            {
                books.noticed[ask.service] = Some(newest);
                let lag = second - self.outages[ask.service].end_of(newest);
                books.parts[part].lags.push(lag as f32);
            }
            let today = &mut books.parts[part];
            today.calls += 1;
            today.down_calls += u64::from(down);
            today.troubled.1 += u64::from(troubled);
            today.wrong.1 += u64::from(ask.wrong);
            (call, queued.unwrap_or_default())
        };
        let mut under_way = UnderWay { fleet: self, ask, part, call, ended: false };
        let mut chance = SplitMix64::of(self.seed, hash(&model.name), call);
        let fate = model.fate(down, model.factor(self.world.begin, second), ask.items, &mut chance);
        let result = match fate {
            Fate::Hangs => std::future::pending().await,
            Fate::Fails(after, class) => {
                tokio::time::sleep(queued + after).await;
                Err(Failure::new(class, "the service cannot do it just now"))
            }
            Fate::Answers(after) => {
                tokio::time::sleep(queued + after).await;
                if ask.wrong {
                    Err(Failure::new(Class::Permanent, "422 the request is wrong"))
                } else {
                    if let Some(good) = self.books().good.get_mut(self.second() as usize) {
                        *good += 1;
                    }
                    Ok(self.answer(ask.service, ask.item))
                }
            }
        };
        under_way.ended = true;
        if self.log.is_on() {
            self.tell(&ask, call, result.as_ref().err().map_or("success", |failure| failure.class.as_str()));
        }
        result
    }

    async fn attempt(&self, request: &Request) -> Result<Fetched, Failure> {
        let Some(service) = self.index(&request.service) else {
            return Err(Failure::new(Class::Permanent, format!("no service {}", request.service)));
        };
        let many = request.arguments.get("items").and_then(Value::as_array);
        let first = many.map_or(Some(&request.arguments), |items| items.first().and_then(Value::as_object));
        let item = first.and_then(|arguments| arguments.get("id")).and_then(Value::as_str).unwrap_or_default();
        let wrong = request.arguments.contains_key("wrong");
        let items = many.map_or(1, Vec::len);
        let version = self.ask(Ask { service, operation: &request.operation, item, items, wrong }).await?;
        Ok(match many {
            Some(items) => json!({ "results": items.iter().map(|_| json!({ "done": true })).collect::<Vec<_>>() }),
            None => json!({ "id": item, "version": version }),
        }
        .into())
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
        Box::pin(self.attempt(request))
    }
}

/// How many parts the life of a world is told in: its days, where there are enough of them for a curve.
fn parts(seconds: f64) -> usize {
    let days = (seconds / 86_400.0).round() as usize;
    if days >= 4 { days } else { 20 }
}

/// A number of seconds as a duration.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
