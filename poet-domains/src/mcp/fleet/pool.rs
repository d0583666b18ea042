//! The connections to one endpoint: as many as the calls under way need, within bounds, none that is old, idle or dead.
//!
//! A call takes the connection with the fewest calls under way and opens another one only where that has too many. What
//! need not be done for a call is done by a task of its own, which ends with the pool: connections that are to be kept open
//! are made and made again, idle ones are asked whether they still answer, and closed in time.

use crate::mcp::session::{ConnectionState, Session};
use poet_runtime::Clock;
use poet_runtime::config::PoolConfig;
use poet_runtime::service::fraction;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

/// How much longer or shorter a wait between two tries may be, so that clients that lost a server together do not come back
/// together.
const SPREAD: f64 = 0.2;

/// The connections to one endpoint.
pub(super) struct Pool {
    shared: Arc<Shared>,
    keeper: Mutex<Option<AbortHandle>>,
}

struct Shared {
    make: Box<dyn Fn() -> Session + Send + Sync>,
    config: PoolConfig,
    lanes: Mutex<Vec<Arc<Lane>>>,
    seed: u64,
    drawn: AtomicU64,
}

/// One connection, or the place of one.
#[derive(Debug)]
pub(super) struct Lane {
    session: Session,
    in_flight: AtomicU32,
    upkeep: Mutex<Upkeep>,
}

#[derive(Clone, Copy, Debug)]
struct Upkeep {
    /// When a call ended on it, or it was last asked whether it answers.
    heard_at: Instant,
    /// When a call ended on it.
    used_at: Instant,
    /// Tries to connect that failed, and when the next one is due.
    failed: u32,
    again_at: Instant,
}

/// A connection in use for a call.
#[derive(Debug)]
pub(super) struct Held(Arc<Lane>);

impl Held {
    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = Clock::system().now();
        let mut upkeep = self.0.upkeep();
        (upkeep.heard_at, upkeep.used_at) = (now, now);
        drop(upkeep);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Close,
    Renew,
    Check,
    Connect,
}

/// What decides it.
#[derive(Clone, Copy, Debug)]
struct View {
    /// Whether it is one of those that are kept open.
    is_kept: bool,
    is_idle: bool,
    connected_at: Option<Instant>,
    upkeep: Upkeep,
}

/// What is due now, or when something will be.
fn due(view: View, config: &PoolConfig, now: Instant) -> Result<Task, Instant> {
    let upkeep = view.upkeep;
    let unused_at = upkeep.used_at + config.max_idle_time;
    let Some(connected_at) = view.connected_at else {
        return match (view.is_kept, view.is_idle) {
            (true, _) if now >= upkeep.again_at => Ok(Task::Connect),
            (true, _) => Err(upkeep.again_at),
            (false, true) if now >= unused_at => Ok(Task::Close),
            (false, _) => Err(unused_at.max(now + config.health_check_interval)),
        };
    };
    if !view.is_idle {
        return Err(now + config.health_check_interval);
    }
    let (old_at, ask_at) = (connected_at + config.max_connection_age, upkeep.heard_at + config.health_check_interval);
    match () {
        () if !view.is_kept && now >= unused_at => Ok(Task::Close),
        () if now >= old_at => Ok(Task::Renew),
        () if now >= ask_at => Ok(Task::Check),
        () => Err(if view.is_kept { old_at.min(ask_at) } else { old_at.min(ask_at).min(unused_at) }),
    }
}

impl Pool {
    pub(super) fn new(config: PoolConfig, seed: u64, make: impl Fn() -> Session + Send + Sync + 'static) -> Self {
        let shared = Shared { make: Box::new(make), config, lanes: Mutex::default(), seed, drawn: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), keeper: Mutex::default() }
    }

    /// A connection for a call. It may still have to be made.
    pub(super) fn hold(&self) -> Held {
        let held = self.shared.hold();
        self.keep();
        held
    }

    /// The places of connections, used or not.
    pub(super) fn sessions(&self) -> Vec<Session> {
        self.shared.lanes().iter().map(|lane| lane.session.clone()).collect()
    }

    /// How well it is connected: as its best connection is.
    pub(super) fn state(&self) -> ConnectionState {
        let states = self.sessions().into_iter().map(|session| session.state());
        states.max_by_key(|state| state.rank()).unwrap_or(ConnectionState::Unconnected)
    }

    /// Sees to it that somebody looks after the connections, on the runtime of whoever calls.
    fn keep(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.as_ref().is_some_and(|keeper| !keeper.is_finished()) {
            return;
        }
        *keeper = Some(tokio::spawn(look_after(Arc::downgrade(&self.shared))).abort_handle());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper.take() {
            keeper.abort();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("lanes", &*self.shared.lanes()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_lane(&self) -> Arc<Lane> {
        let now = Clock::system().now();
        let upkeep = Upkeep { heard_at: now, used_at: now, failed: 0, again_at: now };
        Arc::new(Lane { session: (self.make)(), in_flight: AtomicU32::new(0), upkeep: Mutex::new(upkeep) })
    }

    fn hold(&self) -> Held {
        let mut lanes = self.lanes();
        let calls = |lane: &Arc<Lane>| lane.in_flight.load(Ordering::Relaxed);
        let least = lanes.iter().min_by_key(|lane| calls(lane)).cloned();
        let has_room = lanes.len() < self.config.max_connections as usize;
        let lane = match least {
            Some(lane) if calls(&lane) < self.config.calls_per_connection || !has_room => lane,
            _ => {
                let lane = self.new_lane();
                lanes.push(lane.clone());
                lane
            }
        };
        // Counted while nobody can take it away.
        lane.in_flight.fetch_add(1, Ordering::Relaxed);
        Held(lane)
    }

    /// What is due, and when to look again.
    fn round(&self, now: Instant) -> (Vec<(Task, Arc<Lane>)>, Instant) {
        let mut lanes = self.lanes();
        while lanes.len() < self.config.min_connections as usize {
            lanes.push(self.new_lane());
        }
        let (mut tasks, mut next) = (Vec::new(), now + self.config.health_check_interval);
        let mut place = 0;
        lanes.retain(|lane| {
            let view = View {
                is_kept: place < self.config.min_connections as usize,
                is_idle: lane.is_idle(),
                connected_at: lane.session.connected_at(),
                upkeep: *lane.upkeep(),
            };
            place += 1;
            match due(view, &self.config, now) {
                Ok(Task::Close) => {
                    lane.session.close();
                    place -= 1;
                    return false;
                }
                Ok(task) => tasks.push((task, lane.clone())),
                Err(at) => next = next.min(at),
            }
            true
        });
        (tasks, next)
    }

    async fn perform(&self, task: Task, lane: &Lane) {
        let until = Clock::system().now() + self.config.connection_timeout;
        let result = match task {
            Task::Check => lane.session.examine(until).await,
            Task::Renew => {
                lane.session.close();
                lane.session.connect(until).await
            }
            Task::Connect => lane.session.connect(until).await,
            Task::Close => Ok(()),
        };
        let now = Clock::system().now();
        let mut upkeep = lane.upkeep();
        upkeep.heard_at = now;
        if result.is_ok() {
            upkeep.failed = 0;
            upkeep.again_at = now;
        } else {
            upkeep.again_at = now + self.backoff(upkeep.failed);
            upkeep.failed = upkeep.failed.saturating_add(1);
        }
    }

    fn backoff(&self, failed: u32) -> Duration {
        let longest = self.config.max_reconnect_backoff.max(self.config.reconnect_backoff);
        let wait = self.config.reconnect_backoff.saturating_mul(1 << failed.min(20)).min(longest);
        let chance = fraction(self.seed, self.drawn.fetch_add(1, Ordering::Relaxed));
        wait.mul_f64(1.0 + SPREAD * (2.0 * chance - 1.0))
    }
}

/// Looks after the connections of a pool until it is gone.
async fn look_after(pool: Weak<Shared>) {
    // Often enough for nobody to wait, and not more often.
    const BREATH: Duration = Duration::from_millis(10);
    loop {
        let now = Clock::system().now();
        let Some(shared) = pool.upgrade() else { return };
        let (tasks, next) = shared.round(now);
        let idle = tasks.is_empty();
        futures_util::future::join_all(tasks.iter().map(|(task, lane)| shared.perform(*task, lane))).await;
        drop((tasks, shared));
        let next = if idle { next } else { now };
        sleep_until(next.max(Clock::system().now() + BREATH).into()).await;
    }
}
