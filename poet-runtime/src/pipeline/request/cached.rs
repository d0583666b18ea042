//! Perceive: whether a kept answer will do. Train: keeping the one that was fetched.
//!
//! Nothing is kept unless somebody asked for it: the configuration of the operation, the call, or the service itself,
//! which says how long its answer is valid. That an operation changes nothing does not make its answers cacheable. What
//! may not be repeated, or makes other answers worthless, is a write, and a write is never answered from memory,
//! whatever is configured.

use super::{Accepted, CacheWish, Order, Request, accepted, single};
use crate::audit::{Account, Trail, What, Who};
use crate::cache::{Answered, Entry, Moment};
use crate::context;
use crate::error::{Error, Kind};
use crate::key::{CacheKey, digest};
use crate::outcome::{Class, Shown};
use crate::pipeline::function::unanswered;
use crate::pipeline::perceive::learning;
use crate::pipeline::reuse;
use crate::pipeline::service::Keep;
use crate::policy::cache::{Freshness, Rules, freshness, is_sampled};
use crate::profile::Profile;
use crate::reply::{Disposition, Reply};
use crate::runtime::{Inner, Runtime};
use crate::service::Answer;
use crate::site::{Learning, Priority};
use crate::target::Target;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the cache has.
#[derive(Debug)]
pub(super) enum Look {
    /// An answer that is good enough.
    Found(Reply),
    /// One that is only good enough if the service fails.
    OnError,
    /// None.
    Missed,
}

impl Look {
    /// The old answer that stands in for a call that failed, and its age: unless the failure is an answer of its own.
    /// It is looked for anew, because what was found before may have been made worthless while the call ran.
    pub(super) fn stands_in(self, order: &Order, error: &Error) -> Option<(Arc<Value>, Duration)> {
        if !matches!(self, Self::OnError) || unanswered(error) == Class::Permanent {
            return None;
        }
        let Order { runtime, .. } = order;
        let (value, age, _) = kept(order, runtime.0.answers.moment(runtime.0.clock.now()))?;
        Some((value, age))
    }
}

/// What the cache may do for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// `None` for what is neither shared nor kept.
    key: Option<CacheKey>,
    uses: Uses,
    rules: Rules,
    /// The revision of the learned values in force.
    revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uses {
    /// Nothing is given or kept.
    Nothing,
    /// Only what the service itself says is valid for a time.
    IfTold,
    /// No kept answer will do, but the new one is kept.
    Renews,
    Everything,
}

/// What identifies a request.
fn key_of(request: &Request) -> CacheKey {
    CacheKey::of_request(&request.service, &request.operation, request.identity, &request.arguments)
}

/// What is at hand for a request before anything is found out about it.
pub(super) enum AtHand {
    /// A fresh answer, and whether it is to be fetched anew all the same.
    Fresh(Reply, bool),
    /// None; and its key, where that was made.
    Nothing(Option<CacheKey>),
}

/// Looks for a fresh answer to a read, which is all that most reads of what is cached ever need: what tells how good it
/// is lies beside it, so that neither the operation is looked for nor the request copied.
pub(super) fn at_hand(runtime: &Inner, request: &Request) -> AtHand {
    let answers = &runtime.answers;
    let asks = matches!(request.cache, CacheWish::AsConfigured | CacheWish::UpTo(_));
    if !(request.read_only && asks && answers.is_enabled()) {
        return AtHand::Nothing(None);
    }
    let key = key_of(request);
    let fresh = || {
        let entry = answers.of_request(key)?;
        let target = entry.target.as_deref()?;
        let terms = terms(runtime, request, target, Some(key));
        if terms.uses == Uses::Nothing || terms.uses == Uses::IfTold && !target.caching.server_tells() {
            return None;
        }
        let now = answers.moment(runtime.clock.now());
        let age = entry.age(now);
        if terms.grade(age, &entry)? != Freshness::Fresh {
            return None;
        }
        let value = entry.value.clone().downcast().ok()?;
        let answer = answer(runtime, target, &terms, (answers.next_hit(), now), value, age);
        let renews = terms.is_sampled(runtime, request, target, answer.execution.number());
        Some(AtHand::Fresh(Reply::shared(answer, target.price), renews))
    };
    fresh().unwrap_or(AtHand::Nothing(Some(key)))
}

/// What holds for a request, found once; `key` is its key where that was made.
pub(super) fn terms(runtime: &Inner, request: &Request, target: &Target, key: Option<CacheKey>) -> Terms {
    let uses = uses(runtime, request, target);
    let shared = request.read_only && request.cache != CacheWish::Never;
    let key = (shared || uses != Uses::Nothing).then(|| key.unwrap_or_else(|| key_of(request)));
    let (ttl, revision) = reuse::fresh_for(target);
    let declared = target.caching.rules(ttl, target.profile);
    let rules = match request.cache {
        CacheWish::UpTo(ttl) => Rules {
            ttl,
            // Up to this age was the word, unless the service fails and something else was agreed for that.
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: target.caching.declared.map_or(Duration::ZERO, |_| declared.stale_if_error),
        },
        _ => declared,
    };
    let uses = match uses {
        // Fixed, nobody wants the cache. Learned, it goes on being measured, so that it can grow again.
        Uses::Everything if rules.ttl.is_zero() => {
            if target.caching.measured && request.cache == CacheWish::AsConfigured {
                Uses::Renews
            } else {
                Uses::Nothing
            }
        }
        uses => uses,
    };
    Terms { key, uses, rules, revision }
}

impl Terms {
    /// How good an answer of this age is; `None` where none will do.
    fn grade(&self, age: Duration, entry: &Entry) -> Option<Freshness> {
        let rules = match self.uses {
            Uses::Nothing | Uses::Renews => return None,
            Uses::IfTold => Rules { ttl: entry.valid_for?, ..Rules::default() },
            Uses::Everything => self.rules.capped(entry.valid_for),
        };
        Some(freshness(age, &rules))
    }

    /// Whether a fresh answer is fetched anew all the same, to see how often it changes.
    fn is_sampled(&self, runtime: &Inner, request: &Request, target: &Target, execution: u64) -> bool {
        target.caching.measured
            && self.uses == Uses::Everything
            && request.cache == CacheWish::AsConfigured
            && is_sampled(runtime.seed, execution)
            // Who does not learn asks nobody for the sake of learning.
            && learning(target) != Learning::Off
    }
}

fn uses(runtime: &Inner, request: &Request, target: &Target) -> Uses {
    let caching = &target.caching;
    let asked = matches!(request.cache, CacheWish::UpTo(_) | CacheWish::Refresh);
    let declared = asked || caching.declared.is_some();
    if request.cache == CacheWish::Never || !runtime.answers.is_enabled() {
        return Uses::Nothing;
    }
    if is_write(request, target) {
        if declared && caching.complains_first() {
            let (service, operation) = (&request.service, &request.operation);
            tracing::error!(service, operation, "a write is not cached; say read_only or idempotent if it is none");
        }
        return Uses::Nothing;
    }
    match request.cache {
        CacheWish::Refresh => Uses::Renews,
        _ if declared => Uses::Everything,
        _ if request.read_only => Uses::IfTold,
        _ => Uses::Nothing,
    }
}

fn is_write(request: &Request, target: &Target) -> bool {
    let harmless = request.repeatable || request.read_only;
    !harmless || !request.invalidates.is_empty() || !target.caching.invalidates.is_empty()
}

/// Looks for a kept answer.
pub(super) fn look(order: &Order) -> Look {
    let Terms { uses, .. } = order.terms;
    let caching = &order.target.caching;
    let answers = &order.runtime.0.answers;
    match uses {
        Uses::Nothing => return Look::Missed,
        Uses::IfTold if !caching.server_tells() => return Look::Missed,
        Uses::IfTold | Uses::Renews | Uses::Everything => {}
    }
    match kept(order, answers.moment(order.began)) {
        Some((value, age, Freshness::Fresh)) => {
            let reply = reply(order, answers.next_hit(), value, age);
            let execution = reply.execution_id().number();
            if order.terms.is_sampled(&order.runtime.0, &order.request, &order.target, execution) {
                refresh(order);
            }
            Look::Found(reply)
        }
        Some((value, age, Freshness::Stale)) => {
            answers.count(Answered::Stale);
            refresh(order);
            let warning = format!("{}_{}_stale", order.request.service, order.request.operation);
            context::tell_surrounding(0, false, vec![warning]);
            Look::Found(reply(order, order.runtime.0.next_execution(), value, age))
        }
        Some((_, _, Freshness::OnError)) => {
            answers.count(Answered::Not);
            Look::OnError
        }
        Some((_, _, Freshness::Gone)) | None => {
            answers.count(Answered::Not);
            Look::Missed
        }
    }
}

/// What is kept for the request, as good as it is at this moment.
fn kept(order: &Order, now: Moment) -> Option<(Arc<Value>, Duration, Freshness)> {
    let key = order.terms.key?;
    let answers = &order.runtime.0.answers;
    let entry = answers.get(key, &order.target.caching)?;
    let age = entry.age(now);
    let grade = order.terms.grade(age, &entry)?;
    if grade == Freshness::Gone {
        answers.remove_expired(key, now);
        return None;
    }
    Some((entry.value.clone().downcast().ok()?, age, grade))
}

/// The reply with a kept answer, written down as one.
fn reply(order: &Order, execution: u64, value: Arc<Value>, age: Duration) -> Reply {
    Reply::shared(order.answered(execution, value, age), order.price())
}

/// The execution of that number, which is answered at this moment.
fn answer<V>(
    runtime: &Inner,
    target: &Target,
    terms: &Terms,
    (execution, now): (u64, Moment),
    value: V,
    age: Duration,
) -> Answer<V> {
    reuse::record(runtime, target, None, execution, now, terms.revision);
    // No clock is read for the end: there is nothing to wait for in between.
    let (disposition, elapsed) = (Disposition::Cached { age }, Duration::ZERO);
    Answer { value, disposition, attempts: 0, elapsed, execution: runtime.execution_id(execution) }
}

/// What identical calls share one call by; `None` where each is made.
pub(super) fn shared_key(order: &Order) -> Option<CacheKey> {
    let request = &order.request;
    let shared = match request.cache {
        CacheWish::Never | CacheWish::Refresh => false,
        CacheWish::AsConfigured | CacheWish::UpTo(_) => {
            request.read_only || matches!(order.terms.uses, Uses::Renews | Uses::Everything)
        }
    };
    let answers = &order.runtime.0.answers;
    let key = order.terms.key.filter(|_| shared)?;
    answers.shared_key(key, &order.target.caching, answers.moment(order.began))
}

/// An answer as callers and the cache share it.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) value: Arc<Value>,
    pub(super) valid_for: Option<Duration>,
    /// The service took the request on; there is no value yet.
    pub(super) accepted: Option<Accepted>,
}

impl Keep<Shared> for Order {
    fn found(&self) -> Option<Answer<Shared>> {
        let answers = &self.runtime.0.answers;
        let Some((value, age, Freshness::Fresh)) = kept(self, answers.moment(self.began)) else { return None };
        Some(self.answered(self.runtime.0.next_execution(), Shared { value, valid_for: None, accepted: None }, age))
    }

    fn keep(&self, fetched: &Shared) -> Option<Shown> {
        if !self.is_final(fetched) {
            return None;
        }
        keep(self, &fetched.value, fetched.valid_for)
    }

    fn is_final(&self, fetched: &Shared) -> bool {
        fetched.accepted.is_none()
    }

    fn trail(&self) -> Option<&Trail> {
        self.trail.as_ref()
    }
}

/// Keeps an answer that the request got, and says whether it differs from the one that was kept before.
pub(super) fn keep(order: &Order, value: &Arc<Value>, valid_for: Option<Duration>) -> Option<Shown> {
    let Terms { key, uses, rules, .. } = order.terms;
    let (caching, answers) = (&order.target.caching, &order.runtime.0.answers);
    if uses == Uses::Nothing || valid_for == Some(Duration::ZERO) {
        return None;
    }
    let rules = match valid_for {
        Some(valid) if uses == Uses::IfTold => Rules { ttl: valid, ..Rules::default() },
        None if uses == Uses::IfTold => return None,
        told => rules.capped(told),
    };
    if valid_for.is_some() {
        caching.note_server_tells();
    }
    let key = key?;
    let digest = digest(&**value)?;
    // What a call says for itself does not end what was agreed for the others.
    let agreed =
        caching.declared.map(|_| caching.rules(reuse::fresh_for(&order.target).0, order.target.profile).usable_for());
    let usable = rules.usable_for().max(agreed.unwrap_or_default());
    let fetched = answers.moment(order.began);
    let entry = Entry {
        value: value.clone(),
        target: Some(order.target.clone()),
        fetched,
        gone: fetched.saturating_add(u64::try_from(usable.as_nanos()).unwrap_or(u64::MAX)),
        fingerprint: Some(digest.hash as u64),
        valid_for,
        bytes: digest.bytes as u64,
    };
    answers.keep(key, entry, caching, answers.moment(order.runtime.0.clock.now()))
}

/// Fetches the answer anew, while nobody waits for it.
pub(super) fn refresh(order: &Order) {
    let Some(key) = order.terms.key else { return };
    if tokio::runtime::Handle::try_current().is_err() || !order.runtime.0.answers.may_refresh(key) {
        return;
    }
    let refreshing = Refreshing { runtime: order.runtime.clone(), key };
    let order = order.clone();
    // Ends by the deadline of its own call.
    tokio::spawn(async move {
        let runtime = refreshing.runtime.clone();
        runtime
            .scope(async move {
                let account = Account::of_request(&order.runtime, &order.request, &order.caller);
                let order = Order { trail: account.as_ref().map(|account| account.trail()), ..order.again() };
                if let Some(trail) = &order.trail {
                    trail.note(order.began, What::Refreshed, Who::Rule);
                }
                let (fetched, landing) = single(&order).await;
                let (fetched, landing) = match fetched {
                    Ok(answer) => Box::pin(accepted::wait_for(&order, answer, landing)).await,
                    Err(error) => (Err(error), landing),
                };
                landing.failed();
                let fetched = match account {
                    None => fetched,
                    Some(account) => Box::pin(account.close(fetched)).await,
                };
                if let Err(error) = fetched {
                    tracing::debug!(%error, "an answer was not fetched anew; the old one stays");
                }
            })
            .await;
        drop(refreshing);
    });
}

/// One answer that is being fetched anew.
struct Refreshing {
    runtime: Runtime,
    key: CacheKey,
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.runtime.0.answers.refreshed(self.key);
    }
}

impl Order {
    /// A kept answer, written down as one.
    fn answered<V>(&self, execution: u64, value: V, age: Duration) -> Answer<V> {
        let runtime = &self.runtime.0;
        let now = runtime.answers.moment(self.began);
        answer(runtime, &self.target, &self.terms, (execution, now), value, age)
    }

    /// The same request as one of its own, which begins now and which no kept answer will do for.
    fn again(&self) -> Self {
        let began = self.runtime.0.clock.now();
        let deadline = crate::pipeline::perceive::deadline(&self.target, began, self.request.deadline);
        let terms = Terms { uses: self.terms.uses.renewing(), ..self.terms };
        Self { began, deadline, terms, priority: Priority::Low, ..self.clone() }
    }
}

impl Uses {
    fn renewing(self) -> Self {
        if self == Self::Everything { Self::Renews } else { self }
    }
}

/// A call under way that makes kept answers of operations worthless when it has ended. Dropped before, it may still be
/// executed.
#[derive(Debug)]
pub(super) struct Write<'a> {
    runtime: &'a Runtime,
    /// The service that is written to.
    service: &'a str,
    profile: &'static Profile,
    /// What it makes worthless.
    names: Vec<&'a str>,
    began: Instant,
    /// The longest one attempt takes.
    attempt: Duration,
    told: bool,
}

impl<'a> Write<'a> {
    /// `None` for a request that names nothing it makes worthless.
    pub(super) fn of(order: &'a Order) -> Option<Self> {
        let Order { runtime, request, target, began, deadline, .. } = order;
        let limit = request.timeout.unwrap_or_else(|| target.values().attempt_timeout);
        Self::begun(runtime, request, [&**target], &request.invalidates, *began, *deadline, limit)
    }

    /// The call for several, which may be executed when those who wanted it wait no longer. It makes worthless what is
    /// configured for itself and for the operation it stands in for, and what any of them named.
    pub(super) fn of_several(
        runtime: &'a Runtime,
        single: &'a Request,
        targets: [&'a Target; 2],
        named: impl IntoIterator<Item = &'a String>,
        deadline: Instant,
    ) -> Option<Self> {
        let limit = targets[1].values().attempt_timeout;
        Self::begun(runtime, single, targets, named, runtime.0.clock.now(), deadline, limit)
    }

    fn begun<const N: usize>(
        runtime: &'a Runtime,
        request: &'a Request,
        targets: [&'a Target; N],
        named: impl IntoIterator<Item = &'a String>,
        began: Instant,
        deadline: Instant,
        limit: Duration,
    ) -> Option<Self> {
        let configured = targets.into_iter().flat_map(|target| &target.caching.invalidates);
        let mut names: Vec<&str> = Vec::new();
        for name in configured.chain(named) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        // No attempt is waited for beyond the deadline, however long it might have taken.
        let attempt = limit.min(deadline.saturating_duration_since(began));
        let Request { service, profile, .. } = request;
        (!names.is_empty()).then_some(Self { runtime, service, profile, names, began, attempt, told: false })
    }

    /// Makes them worthless, as far as the call may have been executed.
    pub(super) fn ended<T>(mut self, result: &Result<T, Error>) {
        self.told = true;
        match result.as_ref().map_or_else(execution, |_| Execution::Over) {
            Execution::None => {}
            Execution::Over => self.invalidate(Duration::ZERO),
            Execution::Unknown => self.invalidate(self.attempt()),
        }
    }

    /// How long an attempt may take, and so how long one that was given up may still be executed.
    fn attempt(&self) -> Duration {
        self.attempt.max(self.runtime.0.clock.now().saturating_duration_since(self.began))
    }

    fn invalidate(&self, hold: Duration) {
        let runtime = &self.runtime.0;
        let until = runtime.answers.moment(crate::clock::after(runtime.clock.now(), hold));
        for name in &self.names {
            // What nobody has called has no answers yet, but may be called while the write is still executed.
            let unknown = (!hold.is_zero()).then_some(self.profile);
            runtime.invalidate(named(runtime, self.service, name, unknown), until);
        }
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.invalidate(self.attempt());
        }
    }
}

/// What is known about whether a call that failed was executed.
enum Execution {
    None,
    Over,
    /// It may be executed even now.
    Unknown,
}

fn execution(error: &Error) -> Execution {
    match error.kind() {
        Kind::Denied | Kind::Configuration | Kind::Pending { .. } => Execution::None,
        Kind::CircuitOpen { .. } | Kind::Crowded { .. } | Kind::Throttled { .. } | Kind::Deadline { .. }
            if error.attempts() == 0 =>
        {
            Execution::None
        }
        Kind::Service { class: Class::Permanent | Class::Transient | Class::Invalid } | Kind::InvalidResponse => {
            Execution::Over
        }
        Kind::Service { class } if !class.may_have_run() && error.attempts() <= 1 => Execution::None,
        _ => Execution::Unknown,
    }
}

/// The operations that a name in `invalidates` stands for. Names of tools may have dots, so that a name can be read in
/// two ways; then it stands for both, because forgetting too much costs a call and forgetting too little is wrong. Those
/// that were never called are found only where it is said of which domain they are.
fn named(runtime: &Inner, service: &str, name: &str, unknown: Option<&'static Profile>) -> Vec<Arc<Target>> {
    let registry = &runtime.registry;
    let find = |service: &str, operation: &str| match unknown {
        Some(profile) => Some(registry.named_target(runtime, service, operation, profile)),
        None => registry.known(service, operation),
    };
    let elsewhere = name.match_indices('.').filter_map(|(dot, _)| {
        let (other, operation) = (&name[..dot], &name[dot + 1..]);
        if registry.knows_service(other) { find(other, operation) } else { None }
    });
    let elsewhere: Vec<_> = elsewhere.collect();
    find(service, name).into_iter().chain(elsewhere).collect()
}

#[cfg(test)]
mod tests;
