//! Several endpoints and their pools, in virtual time, with connections of our own.

use super::*;
use crate::mcp::connection::{Era, Limits, McpConnection, Pending, ToolAnswer, ToolCall};
use crate::mcp::session::Connector;
use crate::mcp::task::Called;
use poet_runtime::config::Balance;
use serde_json::Map;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// What the endpoints do, by their addresses, and what was done to them.
#[derive(Debug, Default)]
struct World {
    /// Those that refuse connections.
    down: Mutex<BTreeSet<String>>,
    /// Those that connect to nobody, and say nothing.
    black_holes: Mutex<BTreeSet<String>>,
    /// Those that answer every call with an error of the server.
    failing: Mutex<BTreeSet<String>>,
    /// How long each takes to answer.
    delays: Mutex<BTreeMap<String, Duration>>,
    /// Whether probes are answered.
    wedged: AtomicBool,
    calls: Mutex<BTreeMap<String, u32>>,
    connects: AtomicU32,
    open: AtomicU32,
    most_open: AtomicU32,
    probes: AtomicU32,
}

impl World {
    fn calls(&self, address: &str) -> u32 {
        self.calls.lock().unwrap().get(address).copied().unwrap_or(0)
    }

    fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }

    fn connects(&self) -> u32 {
        self.connects.load(Ordering::SeqCst)
    }

    fn is(set: &Mutex<BTreeSet<String>>, address: &str) -> bool {
        set.lock().unwrap().contains(address)
    }

    fn set(set: &Mutex<BTreeSet<String>>, address: &str, on: bool) {
        let mut set = set.lock().unwrap();
        if on {
            set.insert(address.to_owned())
        } else {
            set.remove(address)
        };
    }
}

#[derive(Debug)]
struct Fake(Arc<World>, String);

impl Connector for Fake {
    fn connect<'a>(&'a self, _: Option<Era>, limits: &'a Limits) -> Pending<'a, (Arc<dyn McpConnection>, Era)> {
        Box::pin(async move {
            let Self(world, address) = self;
            world.connects.fetch_add(1, Ordering::SeqCst);
            if World::is(&world.black_holes, address) {
                tokio::time::sleep(limits.connect).await;
                return Err(McpError::new(Fault::Timeout { sent: false }, ""));
            }
            tokio::time::sleep(MS).await;
            if World::is(&world.down, address) {
                return Err(McpError::new(Fault::Connect, "refused"));
            }
            let open = world.open.fetch_add(1, Ordering::SeqCst) + 1;
            world.most_open.fetch_max(open, Ordering::SeqCst);
            let line = Line { world: world.clone(), address: address.clone(), dead: false.into() };
            Ok((Arc::new(line) as Arc<dyn McpConnection>, Era::Legacy))
        })
    }
}

#[derive(Debug)]
struct Line {
    world: Arc<World>,
    address: String,
    dead: AtomicBool,
}

impl McpConnection for Line {
    fn tools(&self) -> Arc<[ToolInfo]> {
        Arc::from([])
    }

    fn list_tools(&self, _: Instant) -> Pending<'_, Arc<[ToolInfo]>> {
        Box::pin(async { Ok(self.tools()) })
    }

    fn probe(&self, until: Instant) -> Pending<'_, ()> {
        Box::pin(async move {
            self.world.probes.fetch_add(1, Ordering::SeqCst);
            if self.world.wedged.load(Ordering::SeqCst) {
                tokio::time::sleep_until(until.into()).await;
                return Err(McpError::new(Fault::Timeout { sent: true }, ""));
            }
            Ok(())
        })
    }

    fn call<'a>(&'a self, _: ToolCall<'a>) -> Pending<'a, Called> {
        Box::pin(async move {
            *self.world.calls.lock().unwrap().entry(self.address.clone()).or_default() += 1;
            let delay = self.world.delays.lock().unwrap().get(&self.address).copied();
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            if World::is(&self.world.failing, &self.address) {
                return Err(McpError::new(Fault::Http { status: 500, retry_after: None }, ""));
            }
            Ok(ToolAnswer::new(&[&self.address], Vec::new(), None, false).into())
        })
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn close(&self) {
        self.world.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn fleet_with(addresses: &[&str], pool: PoolConfig, strategy: Balance) -> (Arc<World>, Fleet) {
    let world = Arc::<World>::default();
    let balancer = BalancerConfig { strategy, ..BalancerConfig::default() };
    let places = addresses.iter().map(|address| place(address)).collect::<Vec<_>>();
    let limits = Limits { connect: pool.connection_timeout, ..Limits::default() };
    let connect_to = world.clone();
    let connect = move |place: &Place| Session::new(Fake(connect_to.clone(), place.address.clone()), limits);
    (world, Fleet::new(places, pool, balancer, Arc::default(), connect))
}

fn fleet(addresses: &[&str]) -> (Arc<World>, Fleet) {
    fleet_with(addresses, PoolConfig::default(), Balance::RoundRobin)
}

fn place(address: &str) -> Place {
    Place { address: address.to_owned(), shown: address.to_owned(), weight: 1 }
}

/// One call of one attempt; the address that answered.
async fn call(fleet: &Fleet, within: Duration) -> Result<String, McpError> {
    attempt(fleet, &Mutex::default(), within).await
}

async fn attempt(fleet: &Fleet, tried: &Mutex<Vec<u64>>, within: Duration) -> Result<String, McpError> {
    let until = Clock::system().now() + within;
    let due = Due::of_attempt(AttemptContext { until, deadline: until, last: true, may_be_accepted: false });
    let send = |session: Session, due: Due| async move { session.call_once("tool", &Map::new(), &due, None).await };
    let (called, _) = fleet.send(tried, due, send).await?;
    let Called::Answered(answer) = called else { panic!("{called:?}") };
    Ok(answer.text)
}

#[tokio::test(start_paused = true)]
async fn calls_go_round_and_what_cannot_be_sent_to_one_goes_to_another_in_the_same_attempt() {
    let (world, fleet) = fleet(&["a", "b", "c"]);
    for address in ["a", "b", "c", "a"] {
        assert_eq!(call(&fleet, SECOND).await.unwrap(), address);
    }
    World::set(&world.down, "b", true);
    let connected = fleet.state().members[1].pool.sessions();
    connected.iter().for_each(Session::close);
    for _ in 0..30 {
        assert_ne!(call(&fleet, SECOND).await.unwrap(), "b");
    }
    let status = &fleet.status()[1];
    assert!(status.left_out_for.is_some() && status.health < 0.8, "{status:?}");
    assert!(world.connects() < 10, "one that is left out is not asked for every call");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_back_is_found_by_one_call_and_then_takes_its_share() {
    let (world, fleet) = fleet(&["a", "b"]);
    World::set(&world.failing, "b", true);
    let mut failed = 0;
    for _ in 0..20 {
        failed += u32::from(call(&fleet, SECOND).await.is_err());
    }
    assert_eq!((failed, world.calls("b")), (3, 3), "three failures leave it out");
    tokio::time::sleep(SECOND).await;
    assert!(call(&fleet, SECOND).await.is_err(), "the one that finds out");
    World::set(&world.failing, "b", false);
    tokio::time::sleep(SECOND).await;
    assert_eq!(call(&fleet, SECOND).await.unwrap(), "a", "it is left out for twice as long");
    tokio::time::sleep(SECOND).await;
    for _ in 0..20 {
        call(&fleet, SECOND).await.unwrap();
    }
    assert!(world.calls("b") >= 12, "{}", world.calls("b"));
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_goes_to_another_endpoint_and_what_was_sent_is_not_sent_again_by_itself() {
    let (world, fleet) = fleet(&["a", "b"]);
    World::set(&world.failing, "a", true);
    let tried = Mutex::default();
    assert!(attempt(&fleet, &tried, SECOND).await.is_err());
    assert_eq!((world.calls("a"), world.calls("b")), (1, 0));
    assert_eq!(attempt(&fleet, &tried, SECOND).await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_swallows_connections_costs_half_the_time_and_not_the_attempt() {
    let (world, fleet) = fleet(&["a", "b"]);
    World::set(&world.black_holes, "a", true);
    let began = tokio::time::Instant::now();
    assert_eq!(call(&fleet, 2 * SECOND).await.unwrap(), "b");
    assert!(began.elapsed() < SECOND + 50 * MS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_all_are_left_out_all_are_called() {
    let (world, fleet) = fleet(&["a", "b"]);
    ["a", "b"].into_iter().for_each(|address| World::set(&world.failing, address, true));
    for _ in 0..40 {
        assert!(call(&fleet, SECOND).await.is_err());
    }
    assert_eq!(world.calls("a") + world.calls("b"), 40);
    ["a", "b"].into_iter().for_each(|address| World::set(&world.failing, address, false));
    assert!(call(&fleet, SECOND).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_failover_a_call_fails_where_it_was_sent_and_nobody_is_left_out() {
    let world = Arc::<World>::default();
    let balancer = BalancerConfig { strategy: Balance::RoundRobin, failover_enabled: false };
    let connect_to = world.clone();
    let connect = move |place: &Place| Session::new(Fake(connect_to.clone(), place.address.clone()), Limits::default());
    let fleet = Fleet::new([place("a"), place("b")], PoolConfig::default(), balancer, Arc::default(), connect);
    World::set(&world.down, "a", true);
    let mut failed = 0;
    for _ in 0..10 {
        failed += u32::from(call(&fleet, SECOND).await.is_err());
    }
    assert_eq!((failed, world.calls("b")), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn endpoints_come_and_go_while_calls_are_made() {
    let (world, fleet) = fleet(&["a"]);
    world.delays.lock().unwrap().insert("a".to_owned(), 10 * SECOND);
    let slow = {
        let fleet = fleet.clone();
        tokio::spawn(async move { call(&fleet, 30 * SECOND).await })
    };
    tokio::time::sleep(SECOND).await;
    assert!(!fleet.remove("a"), "the only one stays");
    fleet.add(place("b"));
    assert!(fleet.remove("a") && !fleet.remove("a"));
    assert_eq!(call(&fleet, SECOND).await.unwrap(), "b");
    assert_eq!(slow.await.unwrap().unwrap(), "a", "its last call ends undisturbed");
    assert_eq!(world.open(), 1, "and then it is closed");
    assert_eq!(fleet.status().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_slow_one_of_three_gets_little_by_default() {
    let (world, fleet) = fleet_with(&["a", "b", "c"], PoolConfig::default(), Balance::default());
    world.delays.lock().unwrap().extend([("a".into(), 10 * MS), ("b".into(), 10 * MS), ("c".into(), 500 * MS)]);
    for _ in 0..600 {
        call(&fleet, 5 * SECOND).await.unwrap();
    }
    let [a, b, c] = ["a", "b", "c"].map(|address| world.calls(address));
    assert!(c < 30 && a > 200 && b > 200, "{a} {b} {c}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_grows_with_the_calls_under_way_never_beyond_its_cap_and_shrinks_when_they_are_over() {
    let config =
        PoolConfig { max_connections: 3, calls_per_connection: 2, min_connections: 1, ..PoolConfig::default() };
    let (world, fleet) = fleet_with(&["a"], config, Balance::default());
    world.delays.lock().unwrap().insert("a".to_owned(), SECOND);
    let many: Vec<_> = (0..40)
        .map(|_| {
            let fleet = fleet.clone();
            tokio::spawn(async move { call(&fleet, 5 * SECOND).await })
        })
        .collect();
    for one in many {
        one.await.unwrap().unwrap();
    }
    assert_eq!((world.open(), world.most_open.load(Ordering::SeqCst)), (3, 3));
    tokio::time::sleep(config.max_idle_time + 2 * SECOND).await;
    assert_eq!(world.open(), 1, "what is beyond the fewest is closed");
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_kept_open_are_made_again_with_growing_waits_when_the_server_is_back() {
    let config = PoolConfig { min_connections: 2, ..PoolConfig::default() };
    let (world, fleet) = fleet_with(&["a"], config, Balance::default());
    call(&fleet, SECOND).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(world.open(), 2);
    World::set(&world.down, "a", true);
    fleet.sessions().for_each(|session| session.close());
    let before = world.connects();
    tokio::time::sleep(300 * SECOND).await;
    let tries = world.connects() - before;
    // After 0, 1, 3, 7, 15, 31 s and then every 30 s, each of two.
    assert!((20..=36).contains(&tries), "{tries}");
    assert_eq!(fleet.status()[0].state, ConnectionState::Failed);
    World::set(&world.down, "a", false);
    tokio::time::sleep(40 * SECOND).await;
    assert_eq!((world.open(), fleet.status()[0].state), (2, ConnectionState::Connected));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_asked_whether_it_answers_and_replaced_where_it_does_not() {
    let config = PoolConfig { min_connections: 1, ..PoolConfig::default() };
    let (world, fleet) = fleet_with(&["a"], config, Balance::default());
    call(&fleet, SECOND).await.unwrap();
    tokio::time::sleep(95 * SECOND).await;
    assert_eq!((world.probes.load(Ordering::SeqCst), world.connects()), (3, 1));
    world.wedged.store(true, Ordering::SeqCst);
    tokio::time::sleep(32 * SECOND).await;
    assert_eq!((world.connects(), world.open()), (2, 1), "before a call has to find out");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_replaced_when_no_call_is_under_way_on_it() {
    let config = PoolConfig { min_connections: 1, max_connection_age: 60 * SECOND, ..PoolConfig::default() };
    let (world, fleet) = fleet_with(&["a"], config, Balance::default());
    world.delays.lock().unwrap().insert("a".to_owned(), 90 * SECOND);
    call(&fleet, 100 * SECOND).await.unwrap();
    assert_eq!(world.connects(), 1);
    tokio::time::sleep(31 * SECOND).await;
    assert_eq!((world.connects(), world.open()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_gone_leaves_neither_connections_nor_tasks() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let config = PoolConfig { min_connections: 3, ..PoolConfig::default() };
    let before = alive();
    let (world, fleet) = fleet_with(&["a", "b"], config, Balance::default());
    for _ in 0..4 {
        call(&fleet, SECOND).await.unwrap();
    }
    tokio::time::sleep(SECOND).await;
    assert!(world.open() >= 3 && alive() > before);
    drop(fleet);
    tokio::time::sleep(SECOND).await;
    assert_eq!((world.open(), alive()), (0, before));
}
