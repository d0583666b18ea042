//! Answers of annotated functions that are given again: looked up before the body, shared while it runs, kept after it.
//!
//! A hit takes no [`Flight`]: it can neither fail nor wait, so it is one look into the table and one record. Nothing is
//! fetched in the background for a function, because its body borrows what its caller holds; past its freshness an
//! answer is only good where the body fails. In synchronous code nobody waits for another call; each runs.

use super::coalesce::{self, Leader, Role};
use super::flight::Flight;
use super::function::written;
use super::perceive::{Written, deadline};
use crate::__private::Call;
use crate::cache::{Answered, Entry, Moment, Value};
use crate::context;
use crate::error::{Error, Kind};
use crate::key::CacheKey;
use crate::outcome::{Class, Ending};
use crate::policy::cache::{Freshness, Rules, freshness, is_fresh};
use crate::recorder::Cached;
use crate::runtime::{Bound, Inner};
use crate::site::{CacheFor, Declaration, Learning, Site};
use crate::target::Target;
use std::any::type_name;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an answer is fresh, as far as was learned or pinned, and the revision of what was learned.
#[inline]
pub(super) fn fresh_for(target: &Target) -> (Duration, u64) {
    let outer = context::surrounding(|outer| outer.map_or(Learning::On, |outer| outer.learning));
    if outer.applies() && target.learning.applies() { target.cache_ttl() } else { (target.unlearned.cache_ttl, 0) }
}

/// Writes down a call that the cache answered.
#[inline]
pub(super) fn record(
    runtime: &Inner,
    target: &Target,
    function: Option<&'static Declaration>,
    execution: u64,
    now: Moment,
    revision: u64,
) {
    // No clock is read for the end: there is nothing to wait for in between.
    let ended = runtime.answers.since_epoch(now);
    runtime.recorder.record_cached(Cached { target: target.id, function, execution, ended, revision });
    context::tell_ended(runtime.number, target.id, false);
}

/// How a call of a function begins.
pub(super) enum Begun<'a, T, W> {
    /// Nothing is shared and nothing is at hand.
    Plain,
    Answered(T),
    /// Others may join it.
    Leads(Box<Leader<'a>>),
    /// It has joined another one. Boxed, so that only those who wait hold what waiting takes.
    Follows(Pin<Box<W>>),
}

/// Looks for a kept answer, and for an identical call under way.
#[inline]
pub(super) fn begin<'a, T, B>(
    bound: &'a Bound,
    site: &'static Site,
    call: &'a Call<T>,
    restartable: bool,
) -> Begun<'a, T, impl Future<Output = Followed<'a, T>> + use<'a, T, B>> {
    let Some(reuse) = Reuse::of::<B>(bound, site, call) else { return Begun::Plain };
    if let Some(answer) = reuse.hit() {
        return Begun::Answered(answer);
    }
    match reuse.join() {
        Some(Role::Leader(leader)) => match reuse.meanwhile() {
            Some(answer) => Begun::Answered(answer),
            None => Begun::Leads(Box::new(leader)),
        },
        Some(Role::Follower(receiver)) => Begun::Follows(Box::pin(reuse.follow(receiver, restartable))),
        None => Begun::Plain,
    }
}

/// One call of a function whose answers are kept.
pub(super) struct Reuse<'a, T> {
    bound: &'a Bound,
    site: &'static Site,
    call: &'a Call<T>,
    key: CacheKey,
}

impl<'a, T> Reuse<'a, T> {
    /// `None` for a function whose answers are not kept, or a cache that is off. `B` is the body: all instantiations of
    /// a generic function share a site, and its name tells them apart.
    #[inline]
    pub(super) fn of<B>(bound: &'a Bound, site: &'static Site, call: &'a Call<T>) -> Option<Self> {
        let (_, key) = call.kept.filter(|_| bound.runtime.answers.is_enabled())?;
        let key = key.with(ptr::from_ref(site) as u64).with(body::<B>(site));
        key.is_some().then_some(Self { bound, site, call, key })
    }

    /// A kept answer that is fresh, written down as a call.
    #[inline]
    pub(super) fn hit(&self) -> Option<T> {
        let answer = self.fresh(|runtime| runtime.answers.next_hit());
        if answer.is_none() {
            self.bound.runtime.answers.count(Answered::Not);
        }
        answer
    }

    /// A fresh answer that came about since this call was counted as one without.
    fn meanwhile(&self) -> Option<T> {
        self.fresh(Inner::next_execution)
    }

    #[inline]
    fn fresh(&self, number: impl FnOnce(&Inner) -> u64) -> Option<T> {
        let Bound { runtime, target } = self.bound;
        let entry = runtime.answers.get(self.key, &target.caching)?;
        let now = runtime.answers.moment(runtime.clock.now());
        let (ttl, revision) = self.ttl();
        if !is_fresh(entry.age(now), ttl) {
            runtime.answers.remove_expired(self.key, now);
            return None;
        }
        let answer = self.give(&entry.value)?;
        record(runtime, target, Some(&self.site.declaration), number(runtime), now, revision);
        Some(answer)
    }

    /// A kept answer for a call that failed, if the failure is none that another answer would hide.
    pub(super) fn on_error(&self, class: Class, now: Instant) -> Option<T> {
        if class == Class::Permanent {
            return None;
        }
        let Bound { runtime, target } = self.bound;
        let entry = runtime.answers.get(self.key, &target.caching)?;
        let good = freshness(entry.age(runtime.answers.moment(now)), &self.rules()) != Freshness::Gone;
        good.then(|| self.give(&entry.value))?
    }

    #[inline]
    fn give(&self, value: &Value) -> Option<T> {
        let (keeps, _) = self.call.kept?;
        keeps.give(&**value)
    }

    #[inline]
    fn ttl(&self) -> (Duration, u64) {
        match self.site.declaration.cache {
            Some(CacheFor::Fixed(ttl)) => (ttl, 0),
            Some(CacheFor::Learned) | None => fresh_for(&self.bound.target),
        }
    }

    fn rules(&self) -> Rules {
        let target = &self.bound.target;
        let (ttl, _) = self.ttl();
        Rules { stale_while_revalidate: Duration::ZERO, ..target.caching.rules(ttl, target.profile) }
    }

    /// Keeps a good answer; what it shows beside the one before is noted on the flight. Returns the answer for those
    /// who wait for it.
    pub(super) fn keep(&self, answer: &T, flight: &mut Flight<'_>) -> Option<Value> {
        let (keeps, _) = self.call.kept?;
        let parcel = keeps.keep(answer)?;
        let Bound { runtime, target } = self.bound;
        let fetched = runtime.answers.moment(flight.began());
        let usable = self.rules().usable_for();
        let entry = Entry {
            value: parcel.value.clone(),
            target: None,
            fetched,
            gone: fetched.saturating_add(u64::try_from(usable.as_nanos()).unwrap_or(u64::MAX)),
            fingerprint: parcel.fingerprint,
            valid_for: None,
            bytes: parcel.bytes as u64,
        };
        flight.shown = runtime.answers.keep(self.key, entry, &target.caching, runtime.answers.moment(flight.now()));
        Some(parcel.value)
    }

    /// Joins an identical call under way, or leads those who come after; `None` where it is made by itself.
    fn join(&self) -> Option<Role<'a>> {
        // Waiting for another call has a limit, which needs a timer.
        tokio::runtime::Handle::try_current().ok()?;
        let Bound { runtime, target } = self.bound;
        let now = runtime.answers.moment(runtime.clock.now());
        let key = runtime.answers.shared_key(self.key, &target.caching, now)?;
        Some(runtime.flights.join(key))
    }

    /// Waits for the call that was joined.
    async fn follow(
        self,
        mut receiver: watch::Receiver<Option<coalesce::Shared>>,
        restartable: bool,
    ) -> Followed<'a, T> {
        let Bound { runtime, target } = self.bound;
        let began = runtime.clock.now();
        let written = Written { began: Some(began), ..written(self.site, self.call, restartable) };
        let until = deadline(target, began, written.deadline);
        let bounded = self.call.caps.reject.is_some();
        loop {
            let declared = Some(&self.site.declaration);
            let mut flight = Flight::take_off(runtime, target, declared, written, bounded);
            let waited = tokio::time::timeout_at(until.into(), coalesce::follow(receiver)).await;
            let error = match &waited {
                // The leader ended without an answer; somebody else leads now, perhaps this call.
                Ok(None) => {
                    flight.hand_over();
                    receiver = match self.join() {
                        Some(Role::Follower(receiver)) => receiver,
                        Some(Role::Leader(leader)) => {
                            return match self.meanwhile() {
                                Some(answer) => Followed::Answered(answer),
                                None => Followed::Leads(Some(Box::new(leader)), began),
                            };
                        }
                        None => return Followed::Leads(None, began),
                    };
                    continue;
                }
                Ok(Some(shared)) => match shared.downcast_ref::<Told>() {
                    Some(Ok(value)) => match self.give(value) {
                        Some(answer) => {
                            flight.tell_ended(false);
                            flight.finish_after_waiting(Ending::Coalesced);
                            return Followed::Answered(answer);
                        }
                        None => return self.alone(flight, began),
                    },
                    Some(Err(class)) => Error::service(*class, "the identical call it had joined failed"),
                    None => return self.alone(flight, began),
                },
                Err(_) => Error::new(Kind::Deadline { limit: until - began }),
            };
            if !bounded {
                return self.alone(flight, began);
            }
            flight.look_up();
            return Followed::Failed(Box::new(flight), error);
        }
    }

    fn alone(&self, flight: Flight<'_>, began: Instant) -> Followed<'a, T> {
        flight.hand_over();
        Followed::Leads(None, began)
    }
}

/// What tells the instantiations of a generic function apart, of which all share one site: the name of the body.
#[inline]
fn body<B>(site: &Site) -> u64 {
    let name = type_name::<B>();
    let (first, hash) = site.body.get_or_init(|| (name, name_hash(name)));
    // One name can lie at several addresses, and is then read again.
    if ptr::eq(*first, name) { *hash } else { name_hash(name) }
}

#[cold]
fn name_hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// What those who joined are told: the value, or what the failure was.
type Told = Result<Value, Class>;

/// Tells those who joined. That the leader had no more time says nothing about theirs.
pub(super) fn tell(leader: Leader<'_>, told: Option<Told>) {
    if let Some(told) = told {
        leader.answer(Arc::new(told));
    }
}

/// How waiting for an identical call ended.
pub(super) enum Followed<'a, T> {
    Answered(T),
    /// It is this call's turn, which began then.
    Leads(Option<Box<Leader<'a>>>, Instant),
    /// There is no answer.
    Failed(Box<Flight<'a>>, Error),
}
