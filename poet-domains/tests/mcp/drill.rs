//! Ten thousand writes that were executed and whose answers were lost, through every stage of the runtime.

use crate::server::{Action, Asked, Server};
use poet_domains::mcp::McpResource;
use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::{Error, Reply, Runtime};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls that are executed and whose connection is then dropped.
const FAULTS: usize = 10_000;
/// Calls at once.
const WORKERS: usize = 8;

/// Every second call is executed and not answered; every fourth answer is the last on its connection, so that the next
/// call may be handed one that is already gone.
///
/// A circuit that opened would end the drill early, and however the calls overtake each other it cannot: when a call
/// fails, at most seven others wait for their answers. So `a` calls that were answered stand beside at most `a + 7` that
/// were lost and a quarter as many again that met a connection that was gone: four failures to an answer, which is what
/// opens it, are not there from the fourth answer on, and before that fewer than the 20 attempts it takes. Nor are the
/// failures in a row ever the 50 that are configured.
fn is_lost(number: usize) -> bool {
    !number.is_multiple_of(2)
}

fn is_last_on_its_connection(number: usize) -> bool {
    number.is_multiple_of(8)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_lost_answers_are_ten_thousand_unknown_outcomes_and_no_second_execution() {
    let lost = Arc::new(AtomicUsize::new(0));
    let script = {
        let lost = lost.clone();
        move |asked: &Asked| {
            let number = asked.key().parse().unwrap();
            match asked.done() {
                _ if is_lost(number) => {
                    lost.fetch_add(1, Ordering::SeqCst);
                    Action::Close(Vec::new())
                }
                Action::Send(answer) if is_last_on_its_connection(number) => Action::Close(answer),
                answer => answer,
            }
        }
    };
    let server = Server::start(script).await;
    let service = ServiceConfig::http("crm", server.url()).pin("breaker.failure_threshold", 50);
    let config = Config::default().service(service);
    let runtime = Runtime::builder().configuration(config).in_memory().seed(7).build().unwrap();

    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> =
        (0..WORKERS).map(|_| tokio::spawn(work(runtime.clone(), next.clone(), lost.clone()))).collect();
    let mut results = BTreeMap::new();
    for worker in workers {
        results.extend(worker.await.unwrap());
    }

    let executions = server.executions();
    let times = |number: usize| executions.get(&number.to_string()).copied().unwrap_or(0);
    let duplicates = executions.values().filter(|&&times| times > 1).count();
    let unknown = results.iter().filter(|(number, result)| {
        is_lost(**number) && times(**number) == 1 && result.as_ref().is_err_and(Error::is_outcome_unknown)
    });
    assert_eq!((duplicates, unknown.count()), (0, lost.load(Ordering::SeqCst)));
    assert!(lost.load(Ordering::SeqCst) >= FAULTS);
    for (number, result) in &results {
        match result {
            Ok(_) => assert_eq!((is_lost(*number), times(*number)), (false, 1), "{number}"),
            Err(error) => assert!(error.is_outcome_unknown(), "{number}: {error:?}"),
        }
    }
    let answered = results.values().filter(|result| result.is_ok()).count();
    assert!(answered > FAULTS / 2, "only {answered} were answered");
}

/// Writes until enough answers are lost.
async fn work(runtime: Runtime, next: Arc<AtomicUsize>, lost: Arc<AtomicUsize>) -> Vec<(usize, Result<Reply, Error>)> {
    let crm = McpResource::new("crm");
    let mut results = Vec::new();
    while lost.load(Ordering::SeqCst) < FAULTS && results.len() < FAULTS {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let call = crm.call_tool("write", json!({ "key": number.to_string() }));
        results.push((number, runtime.scope(call).await));
    }
    results
}
