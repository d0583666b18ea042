//! One service and operation while the process lives: its values in force, its circuit, its budget.
//!
//! Found once per site and read by every call, so everything a healthy call touches is an atomic: the values are one
//! snapshot, a success is one addition. Locks are taken only when something has failed.

use crate::cache::Caching;
use crate::clock::Wall;
use crate::evidence::Vitals;
use crate::gate::Gate;
use crate::lock::lock;
use crate::outcome::{Arm, FailureKind, TargetId, Turn};
use crate::parameter::{self, ATTEMPT_TIMEOUT, MAX_RETRIES, Parameter, Values};
use crate::policy::breaker::{Admission, Breaker, Probe, Sign, Standing, Thresholds};
use crate::policy::budget::{Answered, Budget};
use crate::policy::hedge;
use crate::profile::Profile;
use crate::published::Published;
use crate::site::Learning;
use crate::store::{self, ParameterRow, TargetKey};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Of 256 calls that do not matter much, those that are made without what was learned, while nothing is on trial.
const HELD_OUT: u8 = 13;

/// The same with the last good values, while a new one is on trial: more, so that a harmful one is found out soon.
const HELD_OUT_ON_TRIAL: u8 = 96;

/// The share of them that makes one retry more than was learned.
const EXPLORED: f64 = 0.01;

/// A parameter of a target, by name and kind of failure.
pub(crate) type ParameterName = (String, Option<FailureKind>);

/// What all operations of one service share.
#[derive(Debug)]
pub(crate) struct Service {
    epoch: Instant,
    budget: Mutex<Budget>,
    /// The successes of each of its operations.
    successes: Mutex<Vec<Arc<AtomicU64>>>,
    /// Those of all its operations that were retries.
    recovered: AtomicU64,
    /// Nanoseconds after `epoch` until which the service asked to be left alone.
    held: AtomicU64,
}

impl Service {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            budget: Mutex::new(Budget::new()),
            successes: Mutex::default(),
            recovered: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One service and operation.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: TargetId,
    pub(crate) key: TargetKey,
    pub(crate) service: Arc<Service>,
    pub(crate) profile: &'static Profile,
    pub(crate) learning: Learning,
    /// What would be in force if nothing had been learned: profile, configuration, pins.
    pub(crate) unlearned: Values,
    pinned: Vec<ParameterName>,
    values: Published,
    /// What calls that are held out are made with.
    baseline: Published,
    learned: Mutex<BTreeMap<ParameterName, ParameterRow>>,
    /// The kinds of failure whose retries a person fixed, a bit each: none more is tried after them.
    held_retries: AtomicU8,
    circuit: Circuit,
    /// The places of its attempts.
    pub(crate) gate: Arc<Gate>,
    /// What its attempts earned towards second copies of them.
    copies: AtomicU32,
    /// What it knows about its own kept answers.
    pub(crate) caching: Caching,
    /// The schema that it was met with last; 0 before that.
    schema: AtomicU64,
    /// The price of one attempt, in the configured currency.
    pub(crate) price: Option<f64>,
    /// What the recorder last counted; no call reads or writes it.
    vitals: Mutex<Vitals>,
}

impl Target {
    pub(crate) fn new(
        id: TargetId,
        key: TargetKey,
        service: Arc<Service>,
        profile: &'static Profile,
        learning: Learning,
        unlearned: Values,
        pinned: Vec<ParameterName>,
    ) -> Self {
        let circuit = Circuit::new();
        lock(&service.successes).push(circuit.successes.clone());
        let target = Self {
            id,
            key,
            service,
            profile,
            learning,
            values: Published::new(&unlearned),
            baseline: Published::new(&unlearned),
            unlearned,
            pinned,
            learned: Mutex::default(),
            held_retries: AtomicU8::new(0),
            circuit,
            gate: Arc::new(Gate::new()),
            copies: AtomicU32::new(0),
            caching: Caching::default(),
            schema: AtomicU64::new(0),
            price: None,
            vitals: Mutex::default(),
        };
        target.hold_retries(&[]);
        target
    }

    /// How it has done lately, as far as this process knows.
    pub(crate) fn vitals(&self, now: Wall) -> Vitals {
        lock(&self.vitals).at(now)
    }

    pub(crate) fn note_vitals(&self, vitals: Vitals) {
        *lock(&self.vitals) = vitals;
    }

    /// Whether it is not known to have this schema; the same one is news once.
    pub(crate) fn is_news(&self, schema: u64) -> bool {
        self.schema.load(Ordering::Relaxed) != schema.max(1)
    }

    /// Whether it was met with any.
    pub(crate) fn has_a_schema(&self) -> bool {
        self.schema.load(Ordering::Relaxed) != 0
    }

    /// Takes it that the schema is noted.
    pub(crate) fn has_schema(&self, schema: u64) {
        self.schema.store(schema.max(1), Ordering::Relaxed);
    }

    /// How its circuit stands.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        lock(&self.circuit.breaker).standing(now)
    }

    /// The values in force.
    #[inline]
    pub(crate) fn values(&self) -> Values {
        self.values.load()
    }

    /// The values a call is made with, and which they are, by a draw from `0.0..1.0`.
    ///
    /// A call that matters, or must not be made as a trial, has those in force.
    #[inline]
    pub(crate) fn draw(&self, draw: impl FnOnce() -> f64) -> (Values, Arm) {
        let mut values = self.values();
        if values.held_out == 0 {
            return (values, Arm::InForce);
        }
        let draw = draw();
        if draw < f64::from(values.held_out) / 256.0 {
            let arm = if values.held_out == HELD_OUT_ON_TRIAL { Arm::HeldOut } else { Arm::Unlearned };
            return (self.baseline.load(), arm);
        }
        if draw >= 1.0 - EXPLORED {
            let ceiling = self.profile.max_retries_ceiling;
            let held = self.held_retries.load(Ordering::Relaxed);
            let free = values.max_retries.iter_mut().enumerate().filter(|(index, _)| held >> index & 1 == 0);
            for (_, retries) in free.filter(|(_, retries)| **retries < ceiling) {
                *retries += 1;
            }
            return (values, Arm::Aside);
        }
        (values, Arm::InForce)
    }

    /// How long an answer is fresh by the values in force, and their revision.
    #[inline]
    pub(crate) fn cache_ttl(&self) -> (Duration, u64) {
        self.values.cache_ttl()
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds::of(&self.values())
    }

    /// How long its circuit stays open; asking changes nothing about it.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        self.circuit.rest(now)
    }

    /// Whether a person fixed this parameter.
    pub(crate) fn is_pinned(&self, name: &str, after: Option<FailureKind>) -> bool {
        self.pinned.iter().any(|(pinned, kind)| pinned == name && (kind.is_none() || *kind == after))
    }

    /// The learned rows, applied or not.
    pub(crate) fn learned(&self) -> Vec<ParameterRow> {
        lock(&self.learned).values().cloned().collect()
    }

    /// Takes in a learned row and publishes the values that follow. An older revision than the known one is ignored.
    pub(crate) fn apply(&self, row: &ParameterRow) {
        let mut learned = lock(&self.learned);
        let name = (row.key.name.clone(), row.key.after);
        if learned.get(&name).is_some_and(|known| known.revision > row.revision || known == row) {
            return;
        }
        learned.insert(name, row.clone());
        let of_one_call = |row: &ParameterRow| parameter::find(&row.key.name).is_some_and(Parameter::is_of_one_call);
        let is_compared = |row: &ParameterRow| row.standing == store::Standing::Trial && of_one_call(row);
        let applies = |row: &&ParameterRow| self.learning.applies() && !self.is_pinned(&row.key.name, row.key.after);
        let in_force = learned.values().filter(applies).filter_map(|row| Some((row, row.in_force()?)));
        let in_force: Vec<(&ParameterRow, f64)> = in_force.collect();
        let on_trial = in_force.iter().any(|(row, _)| is_compared(row));
        let (mut values, mut baseline) = (self.unlearned.clone(), self.unlearned.clone());
        for &(row, value) in &in_force {
            if !values.set(&row.key.name, row.key.after, value) {
                continue;
            }
            values.revision = values.revision.max(row.revision);
            // What is on trial is compared with the last good value beside all that is in force; where nothing is,
            // what single calls learned is compared with nothing learned.
            let beside = match row.good {
                Some(good) if is_compared(row) => Some(good.value),
                _ if on_trial || !of_one_call(row) || row.standing == store::Standing::Pinned => Some(value),
                _ => None,
            };
            if let Some(beside) = beside {
                baseline.set(&row.key.name, row.key.after, beside);
            }
        }
        let by_hand = |(row, _): &&(&ParameterRow, f64)| row.standing == store::Standing::Pinned;
        let (held, moved): (Vec<_>, Vec<_>) = in_force.iter().partition(by_hand);
        self.bound(&mut values, &held);
        self.bound(&mut baseline, &held);
        self.hold_retries(&held);
        values.held_out = match moved.iter().any(|(row, _)| of_one_call(row)) {
            _ if on_trial => HELD_OUT_ON_TRIAL,
            true => HELD_OUT,
            false => 0,
        };
        baseline.revision = values.revision;
        self.baseline.store(&baseline);
        self.values.store(&values);
        if row.standing == store::Standing::RolledBack {
            self.circuit.reset();
        }
    }

    /// Keeps values within what the profile allows and a person fixed.
    fn bound(&self, values: &mut Values, held: &[(&ParameterRow, f64)]) {
        for (retries, &unlearned) in values.max_retries.iter_mut().zip(&self.unlearned.max_retries) {
            *retries = (*retries).min(self.profile.max_retries_ceiling.max(unlearned));
        }
        // The ceiling is for what is learned. A limit that a person fixed holds for writes as well.
        for (row, value) in held {
            values.set(&row.key.name, row.key.after, *value);
            values.attempt_timeout_pinned |= row.key.name == ATTEMPT_TIMEOUT.name;
        }
        // A row for all kinds of failure does not move the kinds that are pinned.
        for (name, kind) in self.pinned.iter().filter(|(_, kind)| kind.is_some()) {
            if let Some(value) = self.unlearned.get(name, *kind) {
                values.set(name, *kind, value);
            }
        }
    }

    /// Notes after which kinds of failure a person fixed the retries: in the configuration, or in these rows.
    fn hold_retries(&self, rows: &[(&ParameterRow, f64)]) {
        let name = MAX_RETRIES.name;
        let by_row = |kind: FailureKind| {
            rows.iter().any(|(row, _)| row.key.name == name && row.key.after.is_none_or(|after| after == kind))
        };
        let held = FailureKind::ALL.into_iter().filter(|kind| self.is_pinned(name, Some(*kind)) || by_row(*kind));
        self.held_retries.store(held.fold(0, |mask, kind| mask | 1 << kind.index()), Ordering::Relaxed);
    }
}

/// What calls of one service have in common, as [`Shared`](crate::policy::Shared) asks for it.
impl Target {
    #[inline]
    pub(crate) fn admit(&self, now: Instant) -> Admission {
        self.circuit.admit(|| self.thresholds(), now)
    }

    /// Takes in what an attempt said, and tells what the circuit did for it. `draw` is where the wait after a probe that
    /// failed lies between its shortest and its longest.
    #[inline]
    pub(crate) fn settle(&self, probe: Option<Probe>, sign: Sign, draw: f64, now: Instant) -> Option<Turn> {
        let turn = self.circuit.settle(probe, sign, || self.thresholds().drawn(draw), now)?;
        self.tell(&turn, now);
        Some(turn)
    }

    #[cold]
    fn tell(&self, turn: &Turn, now: Instant) {
        let TargetKey { service, operation } = &self.key;
        match turn {
            Turn::Opened { blamed, .. } => {
                let failures: u32 = blamed.iter().copied().map(u32::from).sum();
                let open_for = self.rest(now).unwrap_or_default();
                tracing::warn!(service, operation, failures, ?open_for, "the circuit has opened");
            }
            Turn::Closed { back_after, .. } => {
                tracing::info!(service, operation, down_for = ?back_after, "the circuit is closed again");
            }
        }
    }

    /// Whether its circuit is closed, by one atomic.
    pub(crate) fn is_closed(&self) -> bool {
        self.circuit.is_closed()
    }

    #[inline]
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        let held = self.service.held.load(Ordering::Relaxed);
        // Nothing is held in the ordinary case, and then the clock arithmetic is not worth doing.
        if held == 0 {
            return None;
        }
        let until = self.service.epoch + Duration::from_nanos(held);
        (until > now).then_some(until)
    }

    pub(crate) fn hold(&self, until: Instant) {
        self.service.held.fetch_max(self.service.since_epoch(until), Ordering::Relaxed);
    }

    pub(crate) fn withdraw_retry(&self, now: Instant) -> bool {
        let successes = lock(&self.service.successes).iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let answered = Answered { successes, recovered: self.service.recovered.load(Ordering::Relaxed) };
        lock(&self.service.budget).withdraw(answered, now)
    }

    pub(crate) fn give_back_retry(&self) {
        self.service.recovered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn earn_copy(&self) {
        let earned = |credit| Some(hedge::earned(credit));
        _ = self.copies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }

    pub(crate) fn withdraw_copy(&self) -> bool {
        self.copies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, hedge::spent).is_ok()
    }
}

/// A [`Breaker`] that a healthy call passes without a lock.
#[derive(Debug)]
struct Circuit {
    /// Mirrors [`Breaker::is_closed`].
    closed: AtomicBool,
    /// Mirrors [`Breaker::is_calm`].
    calm: AtomicBool,
    successes: Arc<AtomicU64>,
    breaker: Mutex<Breaker>,
}

impl Circuit {
    fn new() -> Self {
        Self {
            closed: AtomicBool::new(true),
            calm: AtomicBool::new(true),
            successes: Arc::default(),
            breaker: Mutex::new(Breaker::new()),
        }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[inline]
    fn admit(&self, thresholds: impl FnOnce() -> Thresholds, now: Instant) -> Admission {
        if self.is_closed() {
            return Admission::Pass;
        }
        let mut breaker = lock(&self.breaker);
        let admission = breaker.admit(thresholds(), now);
        self.mirror(&breaker);
        admission
    }

    fn rest(&self, now: Instant) -> Option<Duration> {
        if self.is_closed() {
            return None;
        }
        lock(&self.breaker).rest(now)
    }

    /// Takes in what an attempt said, and tells what the circuit did for it.
    #[inline]
    fn settle(
        &self,
        probe: Option<Probe>,
        sign: Sign,
        thresholds: impl FnOnce() -> Thresholds,
        now: Instant,
    ) -> Option<Turn> {
        let successes = match sign {
            Sign::Well => self.successes.fetch_add(1, Ordering::Relaxed) + 1,
            Sign::Ill(_) | Sign::None => self.successes.load(Ordering::Relaxed),
        };
        if probe.is_none() && (sign == Sign::None || (sign == Sign::Well && self.calm.load(Ordering::Acquire))) {
            return None;
        }
        let mut breaker = lock(&self.breaker);
        let turn = breaker.record(probe, sign, successes, thresholds(), now);
        self.mirror(&breaker);
        turn
    }

    /// Closes it: what opened it, or for how long, may be the value that did harm. Where it is the service that is down it
    /// opens again.
    fn reset(&self) {
        let mut breaker = lock(&self.breaker);
        *breaker = Breaker::new();
        self.mirror(&breaker);
    }

    fn mirror(&self, breaker: &Breaker) {
        self.closed.store(breaker.is_closed(), Ordering::Release);
        self.calm.store(breaker.is_calm(), Ordering::Release);
    }
}
