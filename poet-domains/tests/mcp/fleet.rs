//! Services with several servers, through every stage of the runtime, on real sockets.

use crate::server::{Asked, Server, Unknown};
use poet_domains::MCP_INTEGRATION;
use poet_domains::mcp::{ConnectionState, McpResource};
use poet_runtime::config::{Balance, BalancerConfig, Config, Endpoint, ServiceConfig};
use poet_runtime::service::{Failure, ServiceCall, fraction};
use poet_runtime::{Class, Clock, Error, FailureKind, Reply, Runtime, Wall};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

fn runtime(service: ServiceConfig) -> Runtime {
    let config = Config::default().service(service);
    Runtime::builder().configuration(config).in_memory().seed(7).build().unwrap()
}

async fn write(runtime: &Runtime, number: usize) -> Result<Reply, Error> {
    let crm = McpResource::new("crm");
    runtime.scope(crm.call_tool("write", json!({ "key": number.to_string() }))).await
}

/// How often each write was executed, on all servers together.
fn executions(servers: &[&Server], number: usize) -> usize {
    let of = |server: &&Server| server.executions().get(&number.to_string()).copied().unwrap_or(0);
    servers.iter().map(of).sum()
}

#[tokio::test]
async fn a_server_that_is_stopped_costs_no_write_and_no_write_is_made_twice() {
    let (one, other) = (Server::start(Asked::done).await, Server::start(Asked::done).await);
    let balancer = BalancerConfig { strategy: Balance::RoundRobin, ..BalancerConfig::default() };
    let runtime = runtime(ServiceConfig::http("crm", one.url()).endpoint(other.url()).balancer(balancer));
    for number in 0..20 {
        write(&runtime, number).await.unwrap();
    }
    assert_eq!((one.calls(), other.calls()), (10, 10));
    let address = one.stop().await;
    let mut unknown = 0;
    for number in 20..120 {
        // What was handed to a connection that had just ended is not known to have been executed or not.
        match write(&runtime, number).await {
            Ok(_) => assert_eq!(executions(&[&other], number), 1, "{number}"),
            Err(error) if error.is_outcome_unknown() => unknown += 1,
            Err(error) => panic!("{number}: {error:?}"),
        }
    }
    assert!(unknown <= 1, "{unknown} were handed to the connection that had ended");
    let status = runtime.scope(async { McpResource::new("crm").endpoints() }).await.unwrap();
    assert!(status[0].left_out_for.is_some() && status[1].state == ConnectionState::Connected, "{status:?}");

    let one = Server::start_at(address, Unknown::NotFound, Asked::done).await;
    let back = Instant::now();
    let mut number = 120;
    while one.calls() == 0 {
        write(&runtime, number).await.unwrap();
        assert_eq!(executions(&[&one, &other], number), 1);
        number += 1;
        assert!(back.elapsed() < Duration::from_secs(31), "it is left out for half a minute at most");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_endpoint_can_be_added_and_taken_away_while_a_program_runs() {
    let (one, other) = (Server::start(Asked::done).await, Server::start(Asked::done).await);
    let runtime = runtime(ServiceConfig::http("crm", one.url()));
    let crm = McpResource::new("crm");
    write(&runtime, 0).await.unwrap();
    runtime.scope(async { crm.add_endpoint(&Endpoint::new(other.url())) }).await.unwrap();
    assert!(runtime.scope(async { crm.remove_endpoint(&one.url()) }).await.unwrap());
    for number in 1..5 {
        write(&runtime, number).await.unwrap();
    }
    assert_eq!((one.calls(), other.calls()), (1, 4));
    assert!(!runtime.scope(async { crm.remove_endpoint(&other.url()) }).await.unwrap(), "the only one stays");
}

/// Calls of the drill below.
const CALLS: usize = 10_000;

/// The calls that succeeded, and the attempts they took.
async fn drill(runtime: &Runtime, apart: Duration, from: u64) -> (usize, usize) {
    let attempts = Arc::new(AtomicUsize::new(0));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (runtime, attempts) = (runtime.clone(), attempts.clone());
        calls.spawn(async move {
            let read = ServiceCall { repeatable: true, ..ServiceCall::new("crm", "read", &MCP_INTEGRATION) };
            let attempt = |_| {
                let number = attempts.fetch_add(1, Ordering::SeqCst) as u64;
                async move {
                    sleep(Duration::from_millis(20)).await;
                    let fails = fraction(11, from + number) < 0.2;
                    if fails { Err(Failure::new(Class::Transient, "503")) } else { Ok(()) }
                }
            };
            runtime.call(&read, attempt).await.is_ok()
        });
        sleep(apart).await;
    }
    let done = calls.join_all().await.into_iter().filter(|done| *done).count();
    (done, attempts.load(Ordering::SeqCst))
}

/// Two retries leave 0.8 % of the calls; a third one saves 3 of 100 failures, and is learned.
#[tokio::test(start_paused = true)]
async fn of_ten_thousand_reads_a_fifth_of_whose_attempts_fail_one_in_two_hundred_fails_and_the_circuit_stays_closed() {
    for per_second in [20, 1_000] {
        let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
        let config = Config::default().service(ServiceConfig::named("crm"));
        let runtime = Runtime::builder().configuration(config).in_memory().clock(clock).seed(7).build().unwrap();
        for round in 0..2 {
            let (done, attempts) = drill(&runtime, Duration::from_secs(1) / per_second, round * 100_000).await;
            println!("{per_second} a second: {done} of {CALLS} calls succeeded with {attempts} attempts");
            assert!(done >= CALLS * 995 / 1000, "{done} of {CALLS} succeeded, with {attempts} attempts");
            assert!(attempts <= CALLS * 13 / 10, "{attempts} attempts");
        }
        let learned = runtime.values("crm", "read").unwrap().failure_threshold;
        assert!(learned[FailureKind::Transient.index()] >= 10, "{learned:?}");
    }
}
