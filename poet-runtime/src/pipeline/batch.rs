//! Gathers calls that can be made as one.
//!
//! A [`Gatherer`] holds those who wait for each other; what it does with them is decided by [`crate::policy::batch`].
//! Those who wait keep the time themselves: whoever wakes first sends them all, so that nothing has to run in the
//! background for them, and nobody is lost with whoever came first. What is sent is no longer theirs: it is made by a
//! task of its own, because a caller who leaves must not take the others' call along. One who leaves before that is
//! taken out.
//!
//! What may never stand in one batch is kept apart by the [`Key`] of its gatherer: other services and operations, other
//! credentials, what may be repeated and what may not, reads and writes. Within a batch items keep the order in which
//! they came.

use crate::clock::Clock;
use crate::context::{Called, Context};
use crate::error::{Error, Kind};
use crate::lock::lock;
use crate::parameter::{BATCH_MAX_SIZE, BATCH_THRESHOLD, BATCH_WINDOW, Parameter};
use crate::policy::batch::{self as policy, Decision, Next, Pace, Rules, Took, Waiting, decide, takes_along};
use crate::site::{Learning, Priority};
use crate::target::Target;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

/// Gatherers of one runtime. Beyond it, calls of further kinds go by themselves.
const MAX_GATHERERS: usize = 1_024;

/// What calls have in common that may be made as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Calls of a service.
    Tool {
        service: String,
        operation: String,
        /// The credentials they are sent with.
        identity: u64,
        repeatable: bool,
        read_only: bool,
        /// What may be made of what was learned.
        learning: Learning,
    },
    /// Calls of an annotated function: its site, and the types it was instantiated with.
    Site { site: usize, types: TypeId, learning: Learning },
}

/// The gatherers of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Gatherers {
    by_key: Mutex<HashMap<Key, Arc<dyn Any + Send + Sync>>>,
    refused: AtomicU64,
}

impl Gatherers {
    /// The gatherer of a kind of calls; `None` if there are too many kinds.
    pub(crate) fn of<I: Send + 'static, V: Send + 'static>(&self, key: Key) -> Option<Arc<Gatherer<I, V>>> {
        let mut by_key = lock(&self.by_key);
        if let Some(known) = by_key.get(&key) {
            return known.clone().downcast().ok();
        }
        if by_key.len() >= MAX_GATHERERS {
            // Nobody waits in what nobody else holds.
            by_key.retain(|_, gatherer| Arc::strong_count(gatherer) > 1);
        }
        if by_key.len() >= MAX_GATHERERS {
            if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!("calls of more than {MAX_GATHERERS} kinds wait to be made together; others go alone");
            }
            return None;
        }
        let gatherer = Arc::new(Gatherer::default());
        by_key.insert(key, gatherer.clone());
        Some(gatherer)
    }
}

/// How calls of `single` are gathered. What is learned is learned about them; a person may have pinned it for `bulk`
/// instead.
pub(crate) fn rules(single: &Target, bulk: &Target, learning: Learning) -> Rules {
    let of = |target: &Target| if learning.applies() { target.values() } else { target.unlearned.clone() };
    let (own, bulks) = (of(single), of(bulk));
    let is_pinned = |target: &Target, parameter: &Parameter| target.is_pinned(parameter.name, None);
    let from = |parameter| if is_pinned(bulk, parameter) && !is_pinned(single, parameter) { &bulks } else { &own };
    Rules {
        threshold: from(&BATCH_THRESHOLD).batch_threshold as usize,
        window: from(&BATCH_WINDOW).batch_window,
        max_size: from(&BATCH_MAX_SIZE).batch_max_size as usize,
    }
}

/// What is done after a call for several ended with this error, the budget of its service asked where that is due.
pub(crate) fn after(error: &Error, repeatable: bool, bulk: &Target, now: Instant) -> Next {
    match policy::after(error, repeatable) {
        Next::Halve { costs: true } if !bulk.withdraw_retry(now) => Next::Fail(Kind::BudgetExhausted),
        next => next,
    }
}

/// What surrounds the call for several: it has as long as the most patient of them, and matters as much as the most
/// important.
pub(crate) fn surroundings<I, V>(entries: &[Entry<I, V>], learning: Learning) -> Context {
    let deadlines = entries.iter().map(|entry| entry.patience.deadline);
    let priorities = entries.iter().map(|entry| entry.patience.priority);
    Context {
        deadline: deadlines.max().expect("nothing is sent for nobody"),
        priority: priorities.max().unwrap_or_default(),
        learning,
        deferrable: false,
        retries_left: u8::MAX,
        retries_made: 0,
        failed_inside: false,
        called: Called::default(),
        warnings: Vec::new(),
        around: None,
    }
}

/// What is said to one who waited.
enum Verdict<I, V> {
    /// Go by yourself; here is what you came with.
    Alone(I),
    /// This is your answer.
    Answer(V),
}

/// How it ended for one who came.
pub(crate) enum Gathered<I, V> {
    /// It is to be made by itself.
    Alone(I),
    /// It was made with others.
    Answer(V),
    /// Its deadline passed first.
    Late {
        /// Whether it had been sent.
        sent: bool,
    },
    /// It was sent, and who sent it ended without an answer.
    Lost,
}

/// What one who comes can bear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) deadline: Instant,
    pub(crate) priority: Priority,
    /// Whether others surely come at the same moment, so that it waits whatever is to be expected.
    pub(crate) among_others: bool,
}

/// One call among several.
pub(crate) struct Entry<I, V> {
    id: u64,
    pub(crate) item: I,
    since: Instant,
    latest: Instant,
    patience: Patience,
    reply: oneshot::Sender<Verdict<I, V>>,
}

impl<I, V> Entry<I, V> {
    /// Whether nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    pub(crate) fn answer(self, answer: V) {
        let _ = self.reply.send(Verdict::Answer(answer));
    }

    /// Leaves it to its caller to make it.
    pub(crate) fn leave_alone(self) {
        let Self { reply, item, .. } = self;
        let _ = reply.send(Verdict::Alone(item));
    }
}

/// Those of one kind who wait for each other.
pub(crate) struct Gatherer<I, V>(Mutex<State<I, V>>);

struct State<I, V> {
    waiting: Vec<Entry<I, V>>,
    next: u64,
    pace: Pace,
    took: Took,
}

impl<I, V> Default for Gatherer<I, V> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: Vec::new(), next: 0, pace: Pace::default(), took: Took::default() }))
    }
}

impl<I, V> State<I, V> {
    fn waits(&self, id: u64) -> bool {
        self.waiting.iter().any(|entry| entry.id == id)
    }

    fn decide(&self, rules: Rules, now: Instant) -> Decision {
        let Some(since) = self.waiting.iter().map(|entry| entry.since).min() else {
            return Decision::Singly;
        };
        let latest = self.waiting.iter().map(|entry| entry.latest).min().unwrap_or(since);
        let pays = self.pace.pays(rules) || self.waiting.iter().any(|entry| entry.patience.among_others);
        decide(Waiting { items: self.waiting.len(), since, latest }, rules, pays, now)
    }
}

/// The place of one who waits; left, it is free.
struct Seat<'g, I, V> {
    gatherer: &'g Gatherer<I, V>,
    id: u64,
}

impl<I, V> Drop for Seat<'_, I, V> {
    fn drop(&mut self) {
        self.gatherer.remove(self.id);
    }
}

impl<I: Send + 'static, V: Send + 'static> Gatherer<I, V> {
    /// Waits with others until it was made with them, or is to be made by itself. `send` starts the call of several,
    /// and does not wait for it.
    pub(crate) async fn gather(
        &self,
        clock: &Clock,
        rules: Rules,
        item: I,
        patience: Patience,
        send: impl Fn(Vec<Entry<I, V>>),
    ) -> Gathered<I, V> {
        let (reply, mut receiver) = oneshot::channel();
        let (seat, mut goes) = match self.seat(rules, item, patience, reply, clock.now()) {
            Ok(seated) => seated,
            Err(item) => return Gathered::Alone(item),
        };
        loop {
            let again = self.turn(&seat, rules, std::mem::take(&mut goes), clock.now(), &send);
            let until = again.unwrap_or(patience.deadline).min(patience.deadline);
            match timeout_at(until.into(), &mut receiver).await {
                Ok(Ok(Verdict::Alone(item))) => return Gathered::Alone(item),
                Ok(Ok(Verdict::Answer(answer))) => return Gathered::Answer(answer),
                Ok(Err(_)) => return Gathered::Lost,
                Err(_) if clock.now() >= patience.deadline => {
                    return Gathered::Late { sent: !self.remove(seat.id) };
                }
                Err(_) => {}
            }
        }
    }

    /// Notes how long a call of several took.
    pub(crate) fn observe(&self, took: Duration) {
        lock(&self.0).took.observe(took);
    }

    /// Takes one in, or gives its item back if it is to go by itself. Says whether it goes at once, with those who
    /// wait.
    fn seat(
        &self,
        rules: Rules,
        item: I,
        patience: Patience,
        reply: oneshot::Sender<Verdict<I, V>>,
        now: Instant,
    ) -> Result<(Seat<'_, I, V>, bool), I> {
        let mut state = lock(&self.0);
        if !patience.among_others {
            state.pace.arrive(rules, now);
        }
        let latest = state.took.latest(patience.deadline, now);
        let hurries = latest <= now;
        if hurries && patience.deadline > now {
            state.took.doubt();
        }
        let goes = patience.priority >= Priority::High || hurries;
        if goes && !takes_along(state.waiting.len(), rules) {
            return Err(item);
        }
        let id = state.next;
        state.next += 1;
        state.waiting.push(Entry { id, item, since: now, latest, patience, reply });
        Ok((Seat { gatherer: self, id }, goes))
    }

    /// Does what is to be done now; says when to look again, `None` where only the answer is waited for.
    fn turn(
        &self,
        seat: &Seat<'_, I, V>,
        rules: Rules,
        mut goes: bool,
        now: Instant,
        send: &impl Fn(Vec<Entry<I, V>>),
    ) -> Option<Instant> {
        loop {
            let mut state = lock(&self.0);
            if !state.waits(seat.id) {
                return None;
            }
            let decision = if std::mem::take(&mut goes) { Decision::AsOne } else { state.decide(rules, now) };
            match decision {
                Decision::Wait { until } => return Some(until),
                Decision::AsOne => {
                    state.pace.ended(true);
                    let fit = state.waiting.len().min(rules.max_size.max(1));
                    let entries = state.waiting.drain(..fit).collect();
                    drop(state);
                    send(entries);
                }
                Decision::Singly => {
                    if state.pace.pays(rules) {
                        state.pace.ended(false);
                    }
                    let entries = std::mem::take(&mut state.waiting);
                    drop(state);
                    entries.into_iter().for_each(Entry::leave_alone);
                }
                Decision::Hurried => {
                    let hurried: Vec<_> = state.waiting.extract_if(.., |entry| entry.latest <= now).collect();
                    drop(state);
                    hurried.into_iter().for_each(Entry::leave_alone);
                }
            }
        }
    }
}

impl<I, V> Gatherer<I, V> {
    /// Takes one out; `false` if it does not wait here any more.
    fn remove(&self, id: u64) -> bool {
        let mut state = lock(&self.0);
        let place = state.waiting.iter().position(|entry| entry.id == id);
        let removed = place.map(|place| state.waiting.remove(place));
        // What the caller gave may do anything when it is dropped, and must not do it under the lock.
        drop(state);
        removed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use std::cell::RefCell;
    use std::future::Future;
    use std::rc::Rc;
    use tokio::time::{advance, sleep};

    const RULES: Rules = Rules { threshold: 3, window: Duration::from_millis(50), max_size: 10 };
    const SECOND: Duration = Duration::from_secs(1);

    type Sent = Rc<RefCell<Vec<Vec<Entry<u32, u32>>>>>;

    struct World {
        clock: Clock,
        gatherer: Gatherer<u32, u32>,
        sent: Sent,
    }

    fn world() -> World {
        let clock = Clock::virtual_from(Wall::from_millis(0));
        World { clock, gatherer: Gatherer::default(), sent: Sent::default() }
    }

    impl World {
        fn call(&self, item: u32, priority: Priority) -> impl Future<Output = Gathered<u32, u32>> {
            let patience = Patience { deadline: self.clock.now() + SECOND, priority, among_others: false };
            self.gatherer.gather(&self.clock, RULES, item, patience, |entries| self.sent.borrow_mut().push(entries))
        }

        fn waiting(&self) -> usize {
            lock(&self.gatherer.0).waiting.len()
        }

        /// Answers every item that was sent with its double.
        async fn serve(&self) {
            sleep(RULES.window * 2).await;
            for entries in self.sent.take() {
                entries.into_iter().for_each(|entry| {
                    let answer = entry.item * 2;
                    entry.answer(answer);
                });
            }
        }
    }

    fn answer(gathered: &Gathered<u32, u32>) -> Option<u32> {
        match gathered {
            Gathered::Answer(answer) => Some(*answer),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_within_a_window_are_sent_as_one_and_get_each_its_own_answer() {
        let world = world();
        let (a, b, c, ()) = tokio::join!(
            world.call(1, Priority::Normal),
            world.call(2, Priority::Normal),
            world.call(3, Priority::Normal),
            world.serve()
        );
        assert_eq!([answer(&a), answer(&b), answer(&c)], [Some(2), Some(4), Some(6)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_leaves_before_the_batch_is_sent_is_not_in_it() {
        let world = world();
        {
            let mut left = std::pin::pin!(world.call(1, Priority::Normal));
            assert!(futures_poll(&mut left).await.is_none());
            assert_eq!(world.waiting(), 1);
        }
        assert_eq!(world.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_may_not_wait_goes_by_itself_and_leaves_the_others_waiting() {
        let world = world();
        let mut waits = std::pin::pin!(world.call(1, Priority::Normal));
        assert!(futures_poll(&mut waits).await.is_none());
        assert!(matches!(world.call(2, Priority::High).await, Gathered::Alone(2)));
        assert_eq!(world.waiting(), 1);
        let mut second = std::pin::pin!(world.call(3, Priority::Low));
        assert!(futures_poll(&mut second).await.is_none());
        let mut urgent = std::pin::pin!(world.call(4, Priority::Critical));
        assert!(futures_poll(&mut urgent).await.is_none());
        let sent: Vec<Vec<u32>> =
            world.sent.borrow().iter().map(|batch| batch.iter().map(|entry| entry.item).collect()).collect();
        assert_eq!(sent, [[1, 3, 4]], "enough wait for it to take them along at once");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_sent_and_not_answered_is_late_at_its_deadline_and_not_before() {
        let world = world();
        let began = world.clock.now();
        let (a, ..) = tokio::join!(
            world.call(1, Priority::Normal),
            world.call(2, Priority::Normal),
            world.call(3, Priority::Normal)
        );
        assert!(matches!(a, Gathered::Late { sent: true }));
        let took = world.clock.now() - began;
        assert!((SECOND..SECOND + Duration::from_millis(50)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_sent_by_one_that_ended_is_told_so() {
        let world = world();
        let lose = async {
            sleep(RULES.window * 2).await;
            world.sent.borrow_mut().clear();
        };
        let (a, _, _, ()) = tokio::join!(
            world.call(1, Priority::Normal),
            world.call(2, Priority::Normal),
            world.call(3, Priority::Normal),
            lose
        );
        assert!(matches!(a, Gathered::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_gatherers_is_bounded_and_those_in_use_stay() {
        let gatherers = Gatherers::default();
        let key = |identity| Key::Tool {
            service: "crm".to_owned(),
            operation: "get".to_owned(),
            identity,
            repeatable: true,
            read_only: true,
            learning: Learning::On,
        };
        let held: Vec<_> =
            (0..10).map(|identity| gatherers.of::<u32, u32>(key(identity)).expect("there is room")).collect();
        for identity in 10..10_000 {
            assert!(gatherers.of::<u32, u32>(key(identity)).is_some());
        }
        assert!(lock(&gatherers.by_key).len() <= MAX_GATHERERS);
        assert!(Arc::ptr_eq(&held[3], &gatherers.of::<u32, u32>(key(3)).expect("it is known")));
        let all: Vec<_> = (0..2_000).filter_map(|identity| gatherers.of::<u32, u32>(key(identity))).collect();
        assert_eq!(all.len(), MAX_GATHERERS);
        assert_eq!(gatherers.refused.load(Ordering::Relaxed), 2_000 - MAX_GATHERERS as u64);
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        advance(Duration::ZERO).await;
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
