//! The worker of a process: one task that makes jobs when they are due, as long as the runtime lives.
//!
//! It starts with the first call inside a tokio runtime and starts anew in the next one if that goes away. It sleeps
//! until something is due or put off in this process; what other processes put off it finds by looking now and then.

use super::desk::Desk;
use super::shift::{Shift, until};
use crate::clock::after;
use crate::lock::lock;
use crate::profile::Profile;
use crate::runtime::{Inner, Runtime};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How often the queue is looked at for jobs of other processes.
const LOOK: Duration = Duration::from_secs(5);
/// The same in virtual time, where there are none.
const HARDLY: Duration = Duration::from_secs(600);
/// How often what ended long ago is deleted.
const PRUNE: Duration = Duration::from_secs(3_600);
/// The longest pause after the queue failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The part of a runtime that calls are put off in.
#[derive(Debug)]
pub(crate) struct Deferral {
    pub(crate) desk: Arc<Desk>,
    /// Whether this process makes jobs by itself.
    works: bool,
    /// Profiles that find who sends a job, by name: a job only knows the name.
    profiles: Mutex<BTreeMap<&'static str, &'static Profile>>,
    /// Whether there is a worker; it says so itself when it goes away with its tokio runtime.
    alive: Arc<AtomicBool>,
    /// When a worker has to be gone; dropped with the runtime.
    stop: watch::Sender<Option<Instant>>,
}

impl Deferral {
    pub(crate) fn new(desk: Arc<Desk>, profiles: impl IntoIterator<Item = &'static Profile>) -> Self {
        let works = desk.config.work && desk.is_open();
        let deferral =
            Self { desk, works, profiles: Mutex::default(), alive: Arc::default(), stop: watch::channel(None).0 };
        profiles.into_iter().for_each(|profile| deferral.remember(profile));
        deferral
    }

    /// Makes a profile known to the worker.
    pub(crate) fn remember(&self, profile: &'static Profile) {
        if profile.caller.is_some() && lock(&self.profiles).insert(profile.name, profile).is_none() {
            self.desk.arrived.notify_one();
        }
    }

    pub(super) fn profile(&self, name: &str) -> Option<&'static Profile> {
        lock(&self.profiles).get(name).copied()
    }

    pub(super) fn profiles(&self) -> Vec<&'static Profile> {
        lock(&self.profiles).values().copied().collect()
    }

    /// Stops leasing, lets what is under way end within the time, and says of the rest that it was broken off.
    pub(crate) async fn shut_down(&self, timeout: Duration) {
        const GRACE: Duration = Duration::from_millis(100);
        self.stop.send_replace(Some(after(self.desk.monotonic(), timeout)));
        // The worker's receiver is gone when the worker is, also if it loses its tokio runtime. Outside of any there is
        // nothing to wait with, and what is under way is left to its lease.
        if Handle::try_current().is_ok() {
            let _ = tokio::time::timeout(timeout.saturating_add(GRACE), self.stop.closed()).await;
        }
    }
}

/// Starts the worker unless there is one, or nothing to run it on.
#[inline]
pub(crate) fn ensure(runtime: &Runtime) {
    let deferral = &runtime.0.deferral;
    if deferral.works && !deferral.alive.load(Ordering::Acquire) {
        start(runtime);
    }
}

#[cold]
fn start(runtime: &Runtime) {
    let deferral = &runtime.0.deferral;
    let Ok(tokio) = Handle::try_current() else { return };
    if deferral.stop.borrow().is_some() || deferral.alive.swap(true, Ordering::AcqRel) {
        return;
    }
    let alive = Alive(deferral.alive.clone());
    let (weak, desk, stop) = (Arc::downgrade(&runtime.0), deferral.desk.clone(), deferral.stop.subscribe());
    let name = runtime.0.worker_name();
    tokio.spawn(async move {
        let _alive = alive;
        work(weak, desk, name, stop).await;
    });
}

/// Says that the worker is gone, however it went.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

async fn work(runtime: Weak<Inner>, desk: Arc<Desk>, name: String, mut stop: watch::Receiver<Option<Instant>>) {
    let mut shift = Shift::new(desk.clone(), name);
    let mut rounds = Rounds { recovered: desk.monotonic(), pruned: None, is_time: true };
    let mut troubles = 0;
    loop {
        // Held only while it is needed: a worker that waits keeps no runtime alive.
        let Some(inner) = runtime.upgrade() else { break };
        let pause = match rounds.go(&Runtime(inner), &mut shift, &desk, || stop.borrow().is_some()).await {
            Ok(pause) => {
                troubles = 0;
                pause
            }
            Err(error) => {
                tracing::warn!(%error, "the queue could not be worked on");
                troubles += 1;
                (Duration::from_secs(1) * (1 << troubles.min(6))).min(LONGEST_PAUSE)
            }
        };
        let pause = pause.min(shift.renew_in());
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            ended = shift.ended() => shift.settle(ended).await,
            () = desk.arrived.notified(), if troubles == 0 => {}
            () = tokio::time::sleep(pause) => rounds.is_time = true,
        }
    }
    let until = stop.borrow().unwrap_or_else(|| desk.monotonic());
    shift.finish(until).await;
}

/// Waits until the worker is told to stop, also where it was before it had begun to listen, or its runtime is gone.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) {
    drop(stop.wait_for(Option::is_some).await);
}

/// What is done between two pauses.
struct Rounds {
    recovered: Instant,
    pruned: Option<Instant>,
    /// Whether the pause ended because its time was over.
    is_time: bool,
}

impl Rounds {
    /// Recovers, renews, leases and starts; returns how long there is nothing more to do.
    async fn go(
        &mut self,
        runtime: &Runtime,
        shift: &mut Shift,
        desk: &Desk,
        stop: impl Fn() -> bool,
    ) -> Result<Duration, super::queue::QueueError> {
        let now = desk.monotonic();
        let since = |moment: Instant| now.saturating_duration_since(moment);
        shift.renew().await?;
        // Every job that ends would be a reason to look; once a second is enough.
        if std::mem::take(&mut self.is_time) || since(self.recovered) >= Duration::from_secs(1) {
            shift.recover().await?;
            self.recovered = now;
        }
        if !stop() {
            shift.fill(runtime).await?;
        }
        if self.pruned.is_none_or(|pruned| since(pruned) >= PRUNE) {
            desk.keeper()?.prune(desk.now().before(desk.config.keep)).await?;
            self.pruned = Some(now);
        }
        let longest = if desk.clock.is_virtual() { HARDLY } else { LOOK };
        if shift.room(runtime) == 0 {
            // Until one of them ends it does not matter what else is due.
            return Ok(longest);
        }
        let due = desk.keeper()?.next_due(&shift.wanted(runtime)).await?;
        Ok(until(due, desk.now(), longest))
    }
}

/// Makes jobs until none is due; of those that others are making the end is not waited for.
pub(super) async fn run_due(runtime: &Runtime) -> Result<super::shift::Worked, super::queue::QueueError> {
    let desk = runtime.0.deferral.desk.clone();
    let mut shift = Shift::new(desk, runtime.0.worker_name());
    shift.recover().await?;
    loop {
        shift.fill(runtime).await?;
        if shift.is_idle() {
            return Ok(shift.worked);
        }
        let pause = shift.renew_in().min(LOOK);
        tokio::select! {
            biased;
            ended = shift.ended() => shift.settle(ended).await,
            () = tokio::time::sleep(pause) => shift.renew().await?,
        }
    }
}
