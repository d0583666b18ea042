//! The client that knows the state of everything: which service is down, and until when each answer holds. It does not
//! know what chance brings an attempt. What it reaches is what could be reached by knowing, and nobody can know so much.

use super::Gone;
use crate::random::SplitMix64;
use crate::world::{Ask, Fleet, Step, seconds};
use poet_runtime::Class;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

const ATTEMPTS: u32 = 4;
const BASE: f64 = 0.2;
const BATCH: usize = 50;
const WINDOW: f64 = 30.0;
/// How long a call that was put off waits, half as long again after each further try up to ten minutes.
const LATER: f64 = 30.0;
const LONGEST: f64 = 600.0;

#[derive(Debug)]
pub(crate) struct Clairvoyant {
    fleet: Arc<Fleet>,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    /// What was fetched once.
    kept: HashSet<(usize, String)>,
    /// The calls of each step that wait to be made together.
    waiting: Vec<Vec<oneshot::Sender<bool>>>,
    /// How many batches of each step were sent.
    sent: Vec<u64>,
}

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Part {
    /// It is done; whether without asking.
    Done { hit: bool },
    /// It was acknowledged, or put off; whether it was only acknowledged.
    Later { acknowledged: bool, told: oneshot::Receiver<bool> },
    /// It was not done.
    Gone(Gone),
}

impl Clairvoyant {
    pub(crate) fn new(fleet: Arc<Fleet>, seed: u64) -> Self {
        let waiting: Vec<_> = fleet.world().steps.iter().map(|_| Vec::new()).collect();
        let sent = vec![0; waiting.len()];
        Self { fleet, seed, state: Mutex::new(State { waiting, sent, ..State::default() }) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one step for an item.
    pub(crate) async fn step(self: &Arc<Self>, index: usize, item: &str, wrong: bool, high: bool) -> Part {
        let fleet = self.fleet.clone();
        let step = &fleet.world().steps[index];
        if step.queued {
            return self.queue(index, step, item);
        }
        let key = (step.service, item.to_owned());
        let kept = step.cacheable && self.state().kept.contains(&key);
        if kept && fleet.holds_until(step.service, item).is_some_and(|until| until > fleet.second()) {
            return Part::Done { hit: true };
        }
        let ask = Ask { service: step.service, operation: &step.operation, item, items: 1, wrong };
        let gone = match self.attempts(ask).await {
            Ok(()) => {
                if step.cacheable {
                    self.state().kept.insert(key);
                }
                return Part::Done { hit: false };
            }
            Err(gone) => gone,
        };
        if kept {
            return Part::Done { hit: true };
        }
        if !step.deferrable || high || wrong {
            return Part::Gone(gone);
        }
        let (tell, told) = oneshot::channel();
        let (me, item) = (self.clone(), item.to_owned());
        tokio::spawn(async move {
            let done = me.later(index, &item, 1).await;
            // Whoever asked may have left.
            let _ = tell.send(done);
        });
        Part::Later { acknowledged: false, told }
    }

    async fn attempts(&self, ask: Ask<'_>) -> Result<(), Gone> {
        let client = self.fleet.world().client;
        let until = self.fleet.second() + client.deadline;
        let number = {
            let mut state = self.state();
            state.calls += 1;
            state.calls
        };
        let mut chance = SplitMix64::of(self.seed ^ 0x6b6e_6f77, ask.service as u64, number);
        let mut last = Gone::Refused;
        for tried in 1..=ATTEMPTS {
            let left = until - self.fleet.second();
            if left <= 0.0 || self.fleet.down_until(ask.service).is_some() {
                break;
            }
            let class = match tokio::time::timeout(seconds(left), self.fleet.ask(ask)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(failure)) => failure.class,
                Err(_) => Class::Timeout,
            };
            last = Gone::Failed(class);
            if class.failure().is_none() || tried == ATTEMPTS {
                break;
            }
            tokio::time::sleep(seconds(chance.unit() * BASE * 2f64.powi(tried as i32 - 1))).await;
        }
        Err(last)
    }

    /// Tries until it is done or nobody cares any more.
    async fn later(&self, index: usize, item: &str, items: usize) -> bool {
        let fleet = self.fleet.clone();
        let step = &fleet.world().steps[index];
        let operation = step.bulk.as_deref().filter(|_| items > 1).unwrap_or(&step.operation);
        let end = fleet.second() + fleet.world().client.patience;
        let mut wait = LATER;
        loop {
            tokio::time::sleep(seconds(wait)).await;
            if fleet.second() >= end {
                return false;
            }
            if self.attempts(Ask { service: step.service, operation, item, items, wrong: false }).await.is_ok() {
                return true;
            }
            wait = (wait * 1.5).min(LONGEST);
        }
    }

    fn queue(self: &Arc<Self>, index: usize, step: &Step, item: &str) -> Part {
        let (tell, told) = oneshot::channel();
        let item = item.to_owned();
        let (full, opened) = {
            let mut state = self.state();
            state.waiting[index].push(tell);
            let n = state.waiting[index].len();
            let full = n >= BATCH || step.bulk.is_none();
            if full {
                state.sent[index] += 1;
            }
            (full.then(|| std::mem::take(&mut state.waiting[index])), (n == 1 && !full).then_some(state.sent[index]))
        };
        let me = self.clone();
        if let Some(waiting) = full {
            tokio::spawn(async move { me.send(index, item, waiting).await });
        } else if let Some(number) = opened {
            tokio::spawn(async move {
                tokio::time::sleep(seconds(WINDOW)).await;
                let waiting = {
                    let mut state = me.state();
                    if state.sent[index] != number || state.waiting[index].is_empty() {
                        return;
                    }
                    state.sent[index] += 1;
                    std::mem::take(&mut state.waiting[index])
                };
                me.send(index, item, waiting).await;
            });
        }
        Part::Later { acknowledged: true, told }
    }

    async fn send(&self, index: usize, item: String, waiting: Vec<oneshot::Sender<bool>>) {
        let step = &self.fleet.world().steps[index];
        let items = waiting.len();
        let operation = step.bulk.as_deref().filter(|_| items > 1).unwrap_or(&step.operation);
        let ask = Ask { service: step.service, operation, item: &item, items, wrong: false };
        let done = self.attempts(ask).await.is_ok() || self.later(index, &item, items).await;
        for tell in waiting {
            // Whoever asked may have left.
            let _ = tell.send(done);
        }
    }
}
