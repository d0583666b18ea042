//! The door for annotated functions that name a bulk form: `batch = path`.
//!
//! A call waits for others of its site, and one task gives all their items to the bulk function at once. What the
//! function answers for an item is that call's answer; what it answers for all, each is told. The bulk function is learned
//! under the operation's name with `(batch)` behind it, because the time of many says nothing about the time of one.
//!
//! What goes by itself runs its own body in its own task, as if there were no bulk form. That is also the end of a bulk
//! call that fails and may be repeated: it is made again in halves until the item at fault stands alone.

use super::batch::{Entry, Gathered, Gatherer, Key, Patience, after, rules, surroundings};
use super::driver::{End, drive};
use super::flight::Flight;
use super::function::{Answer, Attempts, Judge, NoFallback, conclude, engage, pinned, take_off, written};
use super::perceive::{Written, learning};
use crate::__private::{Again, Answers, BatchAnswers, Call, CarriesRejection, Travels};
use crate::context;
use crate::error::{Error, Kind};
use crate::outcome::{Class, Ending, Shown};
use crate::policy::batch::Next;
use crate::runtime::{Bound, Held, Runtime};
use crate::site::Site;
use crate::target::Target;
use std::any::TypeId;
use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// Runs a function that must not be started twice, together with others where that pays: `bulk` is then given the items
/// of all, once; else `single` is given this one.
pub async fn run_batched_once<T, I, Q, U, B, S, F>(site: &'static Site, call: Call<T>, item: I, bulk: Q, single: S) -> T
where
    T: CarriesRejection + Travels,
    I: Travels,
    Q: Fn(Vec<I>) -> U + Send + Sync + 'static,
    U: Future<Output = B> + Send + 'static,
    B: BatchAnswers<T>,
    S: FnOnce(I) -> F,
    F: Future<Output = T>,
{
    match join(site, &call, item, None, bulk).await {
        Joined::Answer(answer) => answer,
        Joined::Alone { item, began } => {
            let body = pin!(single(item));
            let attempts = Attempts { began: Some(began), ..pinned(body) };
            engage(site, call, attempts, None::<NoFallback<T>>).await
        }
    }
}

/// Runs a function that may be started again, together with others where that pays: a `bulk` call that fails is tried
/// again, then in halves, until the item at fault stands alone and is given to `single`.
pub async fn run_batched<T, I, Q, U, B, S, F>(
    site: &'static Site,
    call: Call<T>,
    item: Again<I>,
    bulk: Q,
    mut single: S,
) -> T
where
    T: CarriesRejection + Travels,
    I: Travels,
    Q: Fn(Vec<I>) -> U + Send + Sync + 'static,
    U: Future<Output = B> + Send + 'static,
    B: BatchAnswers<T>,
    S: FnMut(I) -> F,
    F: Future<Output = T>,
{
    let (item, clone) = item.apart();
    match join(site, &call, item, Some(clone), bulk).await {
        Joined::Answer(answer) => answer,
        Joined::Alone { item, began } => {
            let mut item = Again::of(item, clone);
            let start = move |last| single(item.next(last));
            let attempts = Attempts { start, restartable: true, began: Some(began) };
            engage(site, call, attempts, None::<NoFallback<T>>).await
        }
    }
}

/// How it ended for one call.
enum Joined<T, I> {
    Answer(T),
    /// It is made by itself; it began when it began to wait.
    Alone {
        item: I,
        began: Instant,
    },
}

/// An item on its way; gone while the bulk function has it.
type Parcel<I, T> = Entry<Option<I>, Result<T, Error>>;

async fn join<T, I, Q, U, B>(
    site: &'static Site,
    call: &Call<T>,
    item: I,
    clone: Option<fn(&I) -> I>,
    bulk: Q,
) -> Joined<T, I>
where
    T: Travels,
    I: Travels,
    Q: Fn(Vec<I>) -> U + Send + Sync + 'static,
    U: Future<Output = B> + Send + 'static,
    B: BatchAnswers<T>,
{
    let bound = Bound::to(site);
    let began = bound.runtime.clock.now();
    if call.caps.reject.is_none() || tokio::runtime::Handle::try_current().is_err() {
        return Joined::Alone { item, began };
    }
    let learning = learning(&bound.target);
    let key = Key::Site { site: std::ptr::from_ref(site).addr(), types: TypeId::of::<(I, T, Q)>(), learning };
    let Some(gatherer) = bound.runtime.gatherers.of::<Option<I>, Result<T, Error>>(key) else {
        return Joined::Alone { item, began };
    };
    let written = Written { began: Some(began), ..written(site, call, clone.is_some()) };
    let flight = take_off(&bound, site, call, written);
    let surrounding = flight.context.as_ref().expect("a function has a context");
    let (deadline, priority) = (surrounding.deadline, surrounding.priority);
    let patience = Patience { deadline, priority, among_others: false };

    let key = &bound.target.key;
    let operation = format!("{} (batch)", key.operation);
    let target = bound.runtime.registry.service_target(&bound.runtime, &key.service, &operation, bound.target.profile);
    let rules = rules(&bound.target, &target, learning);
    let bulk = Arc::new(bulk);
    let send = |parcels: Vec<Parcel<I, T>>| {
        let context = surroundings(&parcels, learning);
        let work = Work {
            runtime: bound.runtime.clone(),
            site,
            call: *call,
            gatherer: gatherer.clone(),
            target: target.clone(),
            bulk: bulk.clone(),
            clone,
            deadline: context.deadline,
        };
        // The bulk function may make calls of its own, which are to find the runtime of those it works for.
        let scope = match &bound.runtime {
            Held::Static(_) => None,
            Held::Shared(runtime) => Some(Runtime(runtime.clone())),
        };
        let work = context::inside(context, work.make(parcels));
        tokio::spawn(async move {
            match scope {
                Some(runtime) => runtime.scope(work).await,
                None => work.await,
            }
        });
    };
    let gathered = gatherer.gather(&bound.runtime.clock, rules, Some(item), patience, send).await;
    match gathered {
        Gathered::Alone(item) => {
            flight.hand_over();
            Joined::Alone { item: item.expect("what goes alone is given back"), began }
        }
        gathered => Joined::Answer(land(flight, &mut Judge::new(call, &bound), gathered, clone.is_some())),
    }
}

/// Ends a call that was sent with others, or could not be in time.
fn land<T, I>(
    mut flight: Flight<'_>,
    judge: &mut Judge<'_, T>,
    gathered: Gathered<Option<I>, Result<T, Error>>,
    repeatable: bool,
) -> T {
    flight.look_up();
    let error = match gathered {
        Gathered::Answer(Ok(value)) => {
            let class = judge.class(&value);
            let (answer, ending) = judge.settle(End::Answer { value, class, withheld: None }, &flight);
            let ending = if ending == Ending::Done { Ending::Batched } else { ending };
            return conclude(flight, judge, answer, ending);
        }
        Gathered::Answer(Err(error)) => error,
        Gathered::Late { sent: true } if !repeatable => {
            unknown("the call that was made for several at once had no answer by the deadline")
        }
        Gathered::Late { .. } => Error::new(Kind::Deadline { limit: flight.elapsed() }),
        Gathered::Lost | Gathered::Alone(_) if repeatable => {
            Error::service(Class::Network { sent: true }, "the call for several at once ended without an answer")
        }
        Gathered::Lost | Gathered::Alone(_) => unknown("the call for several at once ended without an answer"),
    };
    let error = flight.place(error);
    let ending = error.ending();
    conclude(flight, judge, Answer::Refused(error), ending)
}

fn unknown(words: &'static str) -> Error {
    Error::new(Kind::OutcomeUnknown).with_source(Some(words.into()))
}

/// A call for several that has no answer for each.
struct Failed<I, T> {
    parcels: Vec<Parcel<I, T>>,
    error: Error,
    /// The one answer that says so, where the bulk function gave one.
    own: Option<T>,
}

/// One batch and everything it takes to make it; owned, because it outlives any of those who wait for it.
struct Work<T, I, Q> {
    runtime: Held<crate::runtime::Inner>,
    site: &'static Site,
    call: Call<T>,
    gatherer: Arc<Gatherer<Option<I>, Result<T, Error>>>,
    target: Arc<Target>,
    bulk: Arc<Q>,
    /// How items are cloned, where they may be given to the bulk function more than once.
    clone: Option<fn(&I) -> I>,
    deadline: Instant,
}

impl<T, I, Q, U, B> Work<T, I, Q>
where
    T: Travels,
    I: Travels,
    Q: Fn(Vec<I>) -> U + Send + Sync + 'static,
    U: Future<Output = B> + Send + 'static,
    B: BatchAnswers<T>,
{
    /// Gives all to the bulk function, and after a failure less and less.
    async fn make(self, parcels: Vec<Parcel<I, T>>) {
        let mut todo = vec![parcels];
        let mut retries = self.site.declaration.retries;
        while let Some(mut parcels) = todo.pop() {
            parcels.retain(|parcel| !parcel.is_abandoned());
            if parcels.len() < 2 {
                parcels.into_iter().for_each(Entry::leave_alone);
                continue;
            }
            let end = self.ask(&mut parcels, retries.replace(0)).await;
            if let Some(failed) = self.hand_out(parcels, end) {
                self.go_on(failed, &mut todo);
            }
        }
    }

    /// Makes one call of the bulk function. What it was given is back in the parcels, unless it may be given only once.
    async fn ask(&self, parcels: &mut [Parcel<I, T>], retries: Option<u8>) -> End<Answers<T>> {
        let Self { runtime, target, call, bulk, clone, .. } = self;
        let declared = &self.site.declaration;
        let written = Written {
            repeatable: clone.is_some(),
            restartable: clone.is_some(),
            function: true,
            began: None,
            retries,
            timeout: None,
            deadline: Some(self.deadline.saturating_duration_since(runtime.clock.now())),
            priority: None,
            deferrable: declared.deferrable,
        };
        let mut flight = Flight::take_off(runtime, target, None, written, true);
        flight.shown = Some(Shown::Batch { items: u16::try_from(parcels.len()).unwrap_or(u16::MAX) });
        let wanted = parcels.len();
        let mut items: Vec<I> = parcels.iter_mut().filter_map(|parcel| parcel.item.take()).collect();
        let given = &mut items;
        let attempt = |_, _| {
            let items = match clone {
                Some(clone) => given.iter().map(clone).collect(),
                None => mem::take(given),
            };
            let answers = bulk(items);
            async move { answers.await.answers() }
        };
        let end = drive(&mut flight, attempt, |answers| classify(call, answers, wanted, target)).await;
        let ending = match &end {
            End::Answer { class: Class::Success, .. } => Ending::Done,
            End::Answer { .. } => Ending::Failed,
            End::Refused(error) => error.ending(),
        };
        flight.finish(ending);
        if ending == Ending::Done {
            self.gatherer.observe(flight.elapsed());
        }
        for (parcel, item) in parcels.iter_mut().zip(items) {
            parcel.item = Some(item);
        }
        end
    }

    /// Gives each its answer, if there is one for each.
    fn hand_out(&self, parcels: Vec<Parcel<I, T>>, end: End<Answers<T>>) -> Option<Failed<I, T>> {
        match end {
            End::Answer { value: Answers::Each(answers), .. } if answers.len() == parcels.len() => {
                for (parcel, answer) in parcels.into_iter().zip(answers) {
                    let class = self.call.class(&answer, self.target.profile);
                    let again = class.is_retryable() && class.may_have_run() && parcel.item.is_some();
                    if again { parcel.leave_alone() } else { parcel.answer(Ok(answer)) }
                }
                None
            }
            End::Answer { value: Answers::Each(answers), .. } => {
                let problem = format!("{} items were given and {} answers came", parcels.len(), answers.len());
                let invalid = self.clone.is_some();
                let kind = if invalid { Kind::InvalidResponse } else { Kind::OutcomeUnknown };
                fail(parcels, kind, &problem);
                None
            }
            End::Answer { value: Answers::Whole(answer, words), class, .. } => {
                Some(Failed { parcels, error: Error::service(class, words), own: Some(answer) })
            }
            End::Refused(error) => Some(Failed { parcels, error, own: None }),
        }
    }

    fn go_on(&self, failed: Failed<I, T>, todo: &mut Vec<Vec<Parcel<I, T>>>) {
        let Failed { mut parcels, error, own } = failed;
        let words = format!("the call for {} at once failed: {error}", parcels.len());
        match after(&error, self.clone.is_some(), &self.target, self.runtime.clock.now()) {
            Next::Singly if parcels.iter().all(|parcel| parcel.item.is_some()) => {
                parcels.into_iter().for_each(Entry::leave_alone);
            }
            Next::Singly => fail(parcels, error.kind(), &words),
            Next::Halve { .. } => {
                let second = parcels.split_off(parcels.len() / 2);
                todo.push(second);
                todo.push(parcels);
            }
            Next::Fail(kind) => {
                // The error itself for the first, its words for the others: not every error can be cloned.
                if let Some(own) = own {
                    parcels.remove(0).answer(Ok(own));
                }
                fail(parcels, kind, &words);
            }
        }
    }
}

fn fail<I, T>(parcels: Vec<Parcel<I, T>>, kind: Kind, words: &str) {
    for parcel in parcels {
        parcel.answer(Err(Error::new(kind).with_source(Some(words.into()))));
    }
}

/// What the answers for several say about the call: it failed if all of them did.
fn classify<T>(call: &Call<T>, answers: &Answers<T>, wanted: usize, target: &Target) -> Class {
    let of = |answer| call.class(answer, target.profile);
    match answers {
        Answers::Whole(answer, _) => of(answer),
        Answers::Each(answers) if answers.len() != wanted => Class::Invalid,
        Answers::Each(answers) => {
            let all_failed = answers.iter().all(|answer| of(answer) != Class::Success);
            answers.first().filter(|_| all_failed).map_or(Class::Success, of)
        }
    }
}
