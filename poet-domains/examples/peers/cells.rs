//! What has to hold of every server, each claim tried through every stage of the runtime.

use crate::bench::{Bench, Wish};
use crate::peers::Call;
use crate::process;
use crate::report::Outcome;
use poet_domains::mcp::{Fault, McpError};
use poet_runtime::{Class, Error, Reply};
use serde_json::json;
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

type Claim = for<'a> fn(&'a mut Bench) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// The claims, in the order in which they are tried.
pub(crate) const ALL: [(&str, Claim); 12] = [
    ("connect", |bench| Box::pin(connect(bench))),
    ("list", |bench| Box::pin(list(bench))),
    ("call", |bench| Box::pin(call(bench))),
    ("slow write", |bench| Box::pin(slow_write(bench))),
    ("slow read", |bench| Box::pin(slow_read(bench))),
    ("slow deadline", |bench| Box::pin(slow_deadline(bench))),
    ("unknown tool", |bench| Box::pin(unknown_tool(bench))),
    ("wrong arguments", |bench| Box::pin(wrong_arguments(bench))),
    ("tool's error", |bench| Box::pin(tool_error(bench))),
    ("die in a write", |bench| Box::pin(die_in_a_write(bench))),
    ("die in a read", |bench| Box::pin(die_in_a_read(bench))),
    ("restart", |bench| Box::pin(restart(bench))),
];

/// How late a call may be, beside what the machine is late by.
const LATE: Duration = Duration::from_millis(50);
const ATTEMPT: Duration = Duration::from_millis(300);
/// Until a request is surely with the server: it is one write to a connection that is open.
const SENT: Duration = Duration::from_millis(200);
/// Within which a caller is told that the server died.
const TOLD: Duration = Duration::from_millis(500);

async fn connect(bench: &mut Bench) -> Outcome {
    let began = Instant::now();
    bench.tools().await?;
    bench.connect = began.elapsed();
    Ok(millis(bench.connect))
}

async fn list(bench: &mut Bench) -> Outcome {
    let tools = bench.tools().await?;
    let missing: Vec<_> = [bench.peer.read.tool, bench.peer.refused.tool]
        .into_iter()
        .filter(|tool| !tools.iter().any(|t| t == tool))
        .collect();
    ensure(tools.len() >= bench.peer.tools && missing.is_empty(), || format!("{missing:?} not among {tools:?}"))?;
    Ok(format!("{} tools", tools.len()))
}

async fn call(bench: &mut Bench) -> Outcome {
    let began = Instant::now();
    answers(bench, Wish::ONCE).await?;
    Ok(millis(began.elapsed()))
}

/// A write that takes longer than its attempt may: what became of it is unknown, and it is not made again.
async fn slow_write(bench: &mut Bench) -> Outcome {
    let before = executions(bench);
    let wish = Wish { timeout: Some(ATTEMPT), ..Wish::ONCE };
    let error = unanswered(slow(bench, wish, ATTEMPT).await?)?;
    ensure(error.is_outcome_unknown(), || format!("no unknown outcome: {error:?}"))?;
    executed_once_since(before, bench)?;
    answers(bench, Wish::ONCE).await?;
    Ok(millis(error.elapsed()))
}

/// A read that takes longer than its attempt may, and is not to be tried again: a timeout.
async fn slow_read(bench: &mut Bench) -> Outcome {
    let wish = Wish { timeout: Some(ATTEMPT), retries: Some(0), ..Wish::REPEATABLE };
    let error = unanswered(slow(bench, wish, ATTEMPT).await?)?;
    ensure(error.is_timeout(), || format!("no timeout: {error:?}"))?;
    answers(bench, Wish::ONCE).await?;
    Ok(millis(error.elapsed()))
}

/// A read that is tried again and again until its deadline: it ends by then.
///
/// A child that is frozen is replaced meanwhile, and the new one may answer.
async fn slow_deadline(bench: &mut Bench) -> Outcome {
    let deadline = Duration::from_secs(1);
    let wish = Wish { timeout: Some(ATTEMPT), retries: Some(10), deadline, ..Wish::REPEATABLE };
    let note = match slow(bench, wish, deadline).await? {
        Ok(reply) if bench.peer.slow.is_none() && bench.is_stdio() => {
            format!("replaced and answered in {}", millis(reply.elapsed()))
        }
        Ok(reply) => return Err(format!("answered {} in {}", reply.value(), millis(reply.elapsed()))),
        Err(error) => {
            // A child that is frozen is given up, and the next one may not be there in time.
            let unsent = bench.is_stdio() && error.class() == (Class::Network { sent: false });
            ensure(error.is_deadline() || unsent, || format!("no deadline: {error:?}"))?;
            format!("{}, {} attempts", millis(error.elapsed()), error.attempts())
        }
    };
    answers(bench, Wish::ONCE).await?;
    Ok(note)
}

async fn unknown_tool(bench: &mut Bench) -> Outcome {
    let nothing = Call { tool: "no_such_tool", args: json!({}) };
    refused(bench, &nothing, |fault| fault == Fault::UnknownTool).await
}

/// What contradicts the schema that the server declares is not sent.
async fn wrong_arguments(bench: &mut Bench) -> Outcome {
    let wrong = Call { args: json!({ "unheard_of": true }), ..bench.peer.read.clone() };
    let error = unanswered(bench.call(&wrong, Wish::REPEATABLE).await)?;
    ensure(error.is_denied() && error.attempts() == 0, || format!("not refused before it was sent: {error:?}"))?;
    Ok(error.to_string())
}

async fn tool_error(bench: &mut Bench) -> Outcome {
    let call = bench.peer.refused.clone();
    refused(bench, &call, |fault| matches!(fault, Fault::Tool | Fault::Rpc { .. })).await
}

/// What a server refuses for good is the service's own error, and is not tried again though it might be.
async fn refused(bench: &Bench, call: &Call, expected: fn(Fault) -> bool) -> Outcome {
    let error = unanswered(bench.call(call, Wish::REPEATABLE).await)?;
    let cause = error.source().and_then(|source| source.downcast_ref::<McpError>());
    let fault = cause.ok_or_else(|| format!("no fault of the layer: {error:?}"))?;
    ensure(error.is_service() && error.class() == Class::Permanent, || format!("not refused for good: {error:?}"))?;
    ensure(error.attempts() == 1, || format!("tried {} times: {error:?}", error.attempts()))?;
    ensure(expected(fault.fault()), || format!("the fault is {:?}: {error:?}", fault.fault()))?;
    Ok(format!("{:?}: {}", fault.fault(), fault.text().lines().next().unwrap_or_default()))
}

/// The server is killed while it executes a write: what became of it is unknown, and it is not made again.
async fn die_in_a_write(bench: &mut Bench) -> Outcome {
    let before = executions(bench);
    let (call, _frozen) = match bench.peer.slow.clone() {
        Some(slow) => (slow, None),
        None => (bench.peer.read.clone(), Some(bench.freeze().await?)),
    };
    let (result, took) = bench.while_killed(&call, Wish::ONCE, SENT).await?;
    bench.revive().await?;
    let error = unanswered(result)?;
    ensure(error.is_outcome_unknown(), || format!("no unknown outcome: {error:?}"))?;
    ensure(took < TOLD, || format!("told {} after the server's death", millis(took)))?;
    answers(bench, Wish::ONCE).await?;
    executed_once_since(before, bench)?;
    Ok(format!("told {} after its death", millis(took)))
}

/// The server is killed while it executes a read: it is made again once the server is back.
async fn die_in_a_read(bench: &mut Bench) -> Outcome {
    let read = bench.peer.read.clone();
    let _frozen = bench.freeze().await?;
    let wish = Wish { retries: Some(10), ..Wish::REPEATABLE };
    let (result, took) = bench.while_restarted(&read, wish, SENT).await?;
    let reply = result.map_err(|error| shown(&error))?;
    Ok(format!("answered {} after its death, {} attempts", millis(took), reply.attempts()))
}

/// The server is killed while nobody calls, and is there again: the next call succeeds, also if it must not run twice.
///
/// The best of a few times counts, because a busy machine only ever makes it longer, and a server that hangs while it starts
/// is none that is back. One that did not answer is told all the same, with what its process did.
async fn restart(bench: &mut Bench) -> Outcome {
    const TIMES: usize = 3;
    let (limit, of) = if bench.is_stdio() {
        (bench.connect + Duration::from_millis(500), "its start and 0.5 s")
    } else {
        (Duration::from_secs(1), "1 s")
    };
    let (mut best, mut silent) = (None, String::new());
    for _ in 0..TIMES {
        bench.kill().await?;
        bench.revive().await?;
        let began = Instant::now();
        match bench.call(&bench.peer.read, Wish::ONCE).await {
            Ok(reply) => {
                best = Some(best.unwrap_or(Duration::MAX).min(began.elapsed()));
                is_right(bench, &reply)?;
            }
            Err(error) => silent += &format!("; {} ({})", shown(&error), process::described()),
        }
        if best.is_some_and(|best| best <= limit) {
            break;
        }
    }
    let best = best.ok_or_else(|| format!("never answered{silent}"))?;
    ensure(best <= limit, || format!("answered after {}, more than {of}{silent}", millis(best)))?;
    Ok(format!("answered after {}{silent}", millis(best)))
}

/// Makes the slow call, or a call to a server that is frozen meanwhile, and holds it to its limit.
async fn slow(bench: &Bench, wish: Wish, limit: Duration) -> Result<Result<Reply, Error>, String> {
    match &bench.peer.slow {
        Some(slow) => in_time(limit, bench.call(slow, wish)).await,
        None => {
            let _frozen = bench.freeze().await?;
            in_time(limit, bench.call(&bench.peer.read, wish)).await
        }
    }
}

/// Where the server tells what it executed, it was the slow call once.
fn executed_once_since(before: Option<usize>, bench: &Bench) -> Result<(), String> {
    let after = executions(bench);
    ensure(after.is_none_or(|after| after == before.unwrap_or(0) + 1), || {
        format!("executed {after:?}, before {before:?}")
    })
}

fn unanswered(result: Result<Reply, Error>) -> Result<Error, String> {
    match result {
        Ok(reply) => Err(format!("answered {} in {}", reply.value(), millis(reply.elapsed()))),
        Err(error) => Ok(error),
    }
}

/// Runs a call and checks that it ended by its limit; what the machine is late by is measured by a timer beside it.
async fn in_time<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, String> {
    let timer = async {
        tokio::time::sleep(limit).await;
        Instant::now()
    };
    tokio::pin!(call, timer);
    tokio::select! {
        biased;
        value = &mut call => Ok(value),
        fired = &mut timer => {
            let value = call.await;
            let late = fired.elapsed();
            ensure(late <= LATE, || format!("ended {} after its limit of {}", millis(late), millis(limit)))?;
            Ok(value)
        }
    }
}

/// The server answers its known call as it should.
async fn answers(bench: &Bench, wish: Wish) -> Result<(), String> {
    let reply = bench.call(&bench.peer.read, wish).await.map_err(|error| shown(&error))?;
    is_right(bench, &reply)
}

fn is_right(bench: &Bench, reply: &Reply) -> Result<(), String> {
    let answer = reply.value().to_string();
    ensure(answer.contains(bench.peer.answer), || format!("{answer} does not have {} in it", bench.peer.answer))
}

/// How often the slow call was executed, where the server leaves a trace of it.
fn executions(bench: &Bench) -> Option<usize> {
    let trace = bench.peer.trace.as_ref()?;
    Some(std::fs::read_to_string(trace).unwrap_or_default().lines().filter(|line| *line == "slow").count())
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

fn shown(error: &Error) -> String {
    format!("{error:?}")
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
