//! How many connections a service has, how long each lives, and how calls are spread over its endpoints.

use super::bounds::length;
use super::path::Path;
use super::read::{Field, Hints, Reader};
use super::{Config, ServiceConfig, Transport, duration};
use std::ops::RangeInclusive;
use std::time::Duration;

const CONNECTIONS: RangeInclusive<u32> = 1..=1_000;
const FEWEST: RangeInclusive<u32> = 0..=1_000;
const LIFE: RangeInclusive<Duration> = Duration::from_secs(1)..=duration::LONGEST;
const WAIT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);

const POOL_HINTS: Hints = &[
    ("max_idle", "there is no such key; did you mean `max_idle_time`?"),
    ("max_size", "there is no such key; did you mean `max_connections`?"),
    ("min_size", "there is no such key; did you mean `min_connections`?"),
];
const BALANCER_HINTS: Hints = &[("failover", "there is no such key; did you mean `failover_enabled`?")];

/// The connections to each endpoint of a service.
///
/// Several calls share a connection, so more than one is opened only where more calls are under way than
/// [`calls_per_connection`](Self::calls_per_connection) lets share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Connections that are kept open once the service was called. Default 0.
    pub min_connections: u32,
    /// The most connections. Default 50; of a program of this machine 1, unless it is said of that service.
    pub max_connections: u32,
    /// Calls under way on a connection beyond which another one is opened. Default 64.
    pub calls_per_connection: u32,
    /// How long a connection beyond the fewest is kept without a call. Default 10 min.
    pub max_idle_time: Duration,
    /// How old a connection may be; it is replaced when no call is under way on it. Default 1 h.
    pub max_connection_age: Duration,
    /// How long a connection is without a call before it is asked whether it still answers, and how often from then on.
    /// Default 30 s.
    pub health_check_interval: Duration,
    /// How long after a failed try a lost connection that is to be kept open is made again, up to twenty per cent more or
    /// less; twice as long after each further one. A call does not wait for it. Default 1 s.
    pub reconnect_backoff: Duration,
    /// The longest such wait. Default 30 s.
    pub max_reconnect_backoff: Duration,
    /// How long connecting may take, the list of tools included. Default 30 s.
    pub connection_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            min_connections: 0,
            max_connections: 50,
            calls_per_connection: 64,
            max_idle_time: Duration::from_secs(600),
            max_connection_age: Duration::from_secs(3_600),
            health_check_interval: Duration::from_secs(30),
            reconnect_backoff: Duration::from_secs(1),
            max_reconnect_backoff: Duration::from_secs(30),
            connection_timeout: Duration::from_secs(30),
        }
    }
}

/// How calls are spread over several endpoints of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Balance {
    /// Of two drawn by their weights, the one with the lower product of calls under way and recent latency, which follows a
    /// rise at once and a fall slowly (peak EWMA).
    #[default]
    PeakEwma,
    /// One after the other.
    RoundRobin,
    /// One after the other, as often as its weight says, evenly spread.
    WeightedRoundRobin,
    /// The one with the fewest calls under way for its weight.
    LeastConnections,
    /// The one whose calls succeed most.
    HealthBased,
    /// The one that answers soonest.
    ResponseTimeBased,
    /// Any, as often as its weight says.
    Random,
}

impl Balance {
    /// Every strategy.
    pub const ALL: [Self; 7] = [
        Self::PeakEwma,
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnections,
        Self::HealthBased,
        Self::ResponseTimeBased,
        Self::Random,
    ];

    /// The name used in configuration and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeakEwma => "peak_ewma",
            Self::RoundRobin => "round_robin",
            Self::WeightedRoundRobin => "weighted_round_robin",
            Self::LeastConnections => "least_connections",
            Self::HealthBased => "health_based",
            Self::ResponseTimeBased => "response_time_based",
            Self::Random => "random",
        }
    }
}

/// How calls are spread over endpoints, and whether one that could not be sent to one is sent to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalancerConfig {
    /// How an endpoint is chosen. Default [`Balance::PeakEwma`].
    pub strategy: Balance,
    /// Whether a call that was not sent, because there was no connection, is sent to another endpoint within the same
    /// attempt; and whether an endpoint that keeps failing is left out for a while. Default `true`.
    pub failover_enabled: bool,
}

impl Default for BalancerConfig {
    fn default() -> Self {
        Self { strategy: Balance::default(), failover_enabled: true }
    }
}

/// What is written, over `pool`.
pub(super) fn pool(reader: &mut Reader<'_>, field: &Field<'_>, mut pool: PoolConfig) -> PoolConfig {
    let Some(mut table) = reader.table(field) else {
        return pool;
    };
    let mut bound = None;
    for (key, value, allowed) in counts(&mut pool) {
        let field = table.take(key);
        *value = field.as_ref().and_then(|field| reader.count(field, allowed)).unwrap_or(*value);
        bound = if key == "calls_per_connection" { bound } else { field.or(bound) };
    }
    for (key, value, allowed) in durations(&mut pool) {
        let written = table.take(key).and_then(|field| reader.duration(&field, &allowed));
        *value = written.unwrap_or(*value);
    }
    reader.refuse_rest(&table, POOL_HINTS);
    if let (Some(field), Some(problem)) = (bound, crossed(&pool)) {
        reader.refuse(&field, &problem);
    }
    pool
}

/// What is written, over `balancer`.
pub(super) fn balancer(reader: &mut Reader<'_>, field: &Field<'_>, mut balancer: BalancerConfig) -> BalancerConfig {
    let Some(mut table) = reader.table(field) else {
        return balancer;
    };
    let names = Balance::ALL.map(|balance| (balance.as_str(), balance));
    if let Some(strategy) = table.take("strategy").and_then(|field| reader.choice(&field, &names, &[])) {
        balancer.strategy = strategy;
    }
    if let Some(failover) = table.take("failover_enabled").and_then(|field| reader.flag(&field)) {
        balancer.failover_enabled = failover;
    }
    reader.refuse_rest(&table, BALANCER_HINTS);
    balancer
}

impl PoolConfig {
    /// The pool of a program of this machine. There is one copy of it, because several would not know of each other, and
    /// it is not ended as long as it answers, because it may remember things.
    #[must_use]
    pub const fn of_a_program(self) -> Self {
        Self {
            min_connections: 0,
            max_connections: 1,
            max_idle_time: duration::LONGEST,
            max_connection_age: duration::LONGEST,
            ..self
        }
    }
}

impl Config {
    /// The connections of a service: what is said of it, else what is said for all.
    #[must_use]
    pub fn pool_of(&self, service: &ServiceConfig) -> PoolConfig {
        let for_all = || if service.transport == Transport::Stdio { self.pool.of_a_program() } else { self.pool };
        service.pool.unwrap_or_else(for_all)
    }

    /// How calls are spread over the endpoints of a service: what is said of it, else what is said for all.
    #[must_use]
    pub fn balancer_of(&self, service: &ServiceConfig) -> BalancerConfig {
        service.balancer.unwrap_or(self.balancer)
    }
}

/// What is wrong with a pool that a program set.
pub(super) fn problems(path: &Path, pool: &PoolConfig) -> Vec<String> {
    let (mut one, mut other) = (*pool, *pool);
    let counts = counts(&mut one).into_iter().filter_map(|(key, found, allowed)| {
        let (from, to) = (allowed.start(), allowed.end());
        let said = || format!("{}: expected a whole number from {from} to {to}, found {found}", path.key(key));
        (!allowed.contains(found)).then(said)
    });
    let durations =
        durations(&mut other).into_iter().filter_map(|(key, found, allowed)| length(&path.key(key), *found, &allowed));
    let crossed = crossed(pool).map(|problem| format!("{}: {problem}", path.key("min_connections")));
    counts.chain(crossed).chain(durations).collect()
}

/// The numbers of a pool, with their keys and what each may be.
fn counts(pool: &mut PoolConfig) -> [(&'static str, &mut u32, RangeInclusive<u32>); 3] {
    [
        ("min_connections", &mut pool.min_connections, FEWEST),
        ("max_connections", &mut pool.max_connections, CONNECTIONS),
        ("calls_per_connection", &mut pool.calls_per_connection, CONNECTIONS),
    ]
}

/// Its durations, likewise.
fn durations(pool: &mut PoolConfig) -> [(&'static str, &mut Duration, RangeInclusive<Duration>); 6] {
    [
        ("max_idle_time", &mut pool.max_idle_time, LIFE),
        ("max_connection_age", &mut pool.max_connection_age, LIFE),
        ("health_check_interval", &mut pool.health_check_interval, LIFE),
        ("reconnect_backoff", &mut pool.reconnect_backoff, WAIT),
        ("max_reconnect_backoff", &mut pool.max_reconnect_backoff, WAIT),
        ("connection_timeout", &mut pool.connection_timeout, WAIT),
    ]
}

fn crossed(pool: &PoolConfig) -> Option<String> {
    let PoolConfig { min_connections: fewest, max_connections: most, .. } = pool;
    (fewest > most).then(|| format!("of at least {fewest} connections at most {most} are allowed"))
}
