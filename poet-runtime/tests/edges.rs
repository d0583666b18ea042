//! The laws at their edges: the longest durations, calls that are dropped or come too late, whoever never yields.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod support;

use poet_runtime::__private::{Call, caps, run, run_once, run_once_or};
use poet_runtime::config::Config;
use poet_runtime::service::{CacheKey, Failure, ServiceCall};
use poet_runtime::store::{MemoryStore, OutcomeRow, Store};
use poet_runtime::{Class, Clock, Declaration, Ending, Error, Profile, Runtime, Wall, Withheld, warnings};
use std::cell::Cell;
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::{GRACE, call, declared, fails, read, site};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    runtime_on(MemoryStore::new())
}

fn runtime_on(store: MemoryStore) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let builder = Runtime::builder().configuration(Config::default()).store(store).clock(clock).seed(7);
    builder.build().expect("a correct configuration")
}

async fn outcomes(runtime: &Runtime, mut store: MemoryStore) -> Vec<OutcomeRow> {
    runtime.flush().await.unwrap();
    store.outcomes(None, 100).await.unwrap()
}

fn shared<'a>(deadline: Duration) -> ServiceCall<'a> {
    ServiceCall { coalesce: Some(CacheKey::of("crm get 7")), deadline: Some(deadline), ..read("get") }
}

fn profile(profile: Profile) -> &'static Profile {
    Box::leak(Box::new(profile))
}

type Placed = Result<u32, Error>;

#[tokio::test(start_paused = true)]
async fn no_duration_is_too_long_to_be_waited_for() {
    let runtime = runtime();
    let forever = Some(Duration::MAX);
    let patient = ServiceCall { deadline: forever, timeout: forever, ..read("get") };
    let (started, result) = call(&runtime, &patient, |_| async {
        sleep(SECOND).await;
        Ok(1)
    })
    .await;
    assert_eq!((started, result.unwrap().value), (1, 1));
    let asks = Class::Throttled { retry_after: forever };
    let (started, result) = call(&runtime, &read("asks"), |_| async move { fails(asks) }).await;
    assert_eq!((started, result.unwrap_err().retry_after()), (1, forever));
    let opens = profile(Profile {
        failure_threshold: 1,
        open_for: Duration::MAX,
        base_delay: Duration::MAX,
        max_delay: Duration::MAX,
        ..Profile::named("opens")
    });
    let once = ServiceCall { repeatable: true, ..ServiceCall::new("erp", "get", opens) };
    call(&runtime, &once, |_| async { fails(Class::Transient) }).await.1.unwrap_err();
    assert!(call(&runtime, &once, |_| async { Ok(1) }).await.1.unwrap_err().is_circuit_open());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_uses_up_its_tasks_budget_at_every_poll_ends_at_its_deadline_too() {
    let runtime = runtime();
    let limited = ServiceCall { deadline: Some(SECOND), ..read("streams") };
    let polled = Cell::new(0);
    let greedy = |_| async {
        while polled.get() < 100_000 {
            polled.set(polled.get() + 1);
            tokio::task::coop::consume_budget().await;
        }
        Ok(0)
    };
    let (call, ()) = tokio::join!(runtime.call(&limited, greedy), tokio::time::advance(2 * SECOND));
    assert!(call.unwrap_err().is_deadline(), "polled {} times", polled.get());
}

#[tokio::test(start_paused = true)]
async fn no_number_of_retries_is_too_high() {
    let endless = profile(Profile { failure_threshold: u32::MAX, ..Profile::named("endless") });
    let call_ = ServiceCall {
        repeatable: true,
        deadline: Some(36_000 * SECOND),
        retries: Some(u8::MAX),
        ..ServiceCall::new("erp", "get", endless)
    };
    let runtime = runtime();
    // The ratio of failures would open the circuit; what asks for patience does not.
    let (started, result) =
        call(&runtime, &call_, |_| async { fails(Class::Throttled { retry_after: Some(SECOND) }) }).await;
    assert!(result.unwrap_err().is_throttled());
    assert_eq!(started, 256);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_watched_holds_back_nobody() {
    let runtime = runtime();
    runtime
        .scope(async {
            let watched = site(declared("count"));
            let asks = Call::new(caps!(Option<u32>))
                .failure(|_| Class::Throttled { retry_after: Some(Duration::from_secs(3600)) });
            assert_eq!(run_once(watched, asks, pin!(ready(None))).await, None);
            let neighbour = site(declared("place"));
            let result: Placed = run_once(neighbour, Call::new(caps!(Placed)), pin!(ready(Ok(1)))).await;
            assert_eq!(result.unwrap(), 1);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_leads_after_having_followed_still_ends_at_its_own_deadline() {
    let runtime = runtime();
    let (one, other) = (shared(60 * SECOND), shared(5 * SECOND));
    let mut leader = Box::pin(runtime.call(&one, |_| pending::<Result<u32, Failure>>()));
    let mut follower = Box::pin(runtime.call(&other, |_| pending::<Result<u32, Failure>>()));
    assert!(timeout(Duration::from_millis(1), &mut leader).await.is_err());
    let began = Instant::now();
    assert!(timeout(4 * SECOND, &mut follower).await.is_err());
    drop(leader);
    let error = follower.await.unwrap_err();
    assert!(error.is_deadline(), "{error}");
    assert!(began.elapsed() <= 5 * SECOND + GRACE, "{:?}", began.elapsed());
    assert!(error.elapsed() >= 5 * SECOND, "{:?}", error.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_leader_is_not_that_of_those_who_follow() {
    let runtime = runtime();
    let (hasty, patient) = (shared(SECOND), shared(20 * SECOND));
    let leader = runtime.call(&hasty, |_| pending::<Result<u32, Failure>>());
    let follower = runtime.call(&patient, |_| async { Ok(7) });
    let (leader, follower) = tokio::join!(leader, follower);
    assert!(leader.unwrap_err().is_deadline());
    assert_eq!(follower.unwrap().value, 7);
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_recorded_with_the_time_it_waited_even_if_it_gives_up() {
    let store = MemoryStore::new();
    let runtime = runtime_on(store.clone());
    let (leads, joins, late) = (shared(20 * SECOND), shared(20 * SECOND), shared(2 * SECOND));
    let slow = |_| async {
        sleep(3 * SECOND).await;
        Ok(7)
    };
    let leader = runtime.call(&leads, slow);
    let joined = runtime.call(&joins, |_| async { Ok(7) });
    let too_late = runtime.call(&late, |_| async { Ok(7) });
    let dropped = timeout(SECOND, runtime.call(&joins, |_| async { Ok(7) }));
    let (leader, joined, too_late, dropped) = tokio::join!(leader, joined, too_late, dropped);
    assert_eq!((leader.unwrap().value, joined.unwrap().value), (7, 7));
    let error = too_late.unwrap_err();
    assert!(error.is_deadline() && error.elapsed() >= 2 * SECOND, "{error:?}");
    assert!(dropped.is_err());
    let rows = outcomes(&runtime, store).await;
    let took = |ending| rows.iter().find(|row| row.ending == ending).map(|row| row.elapsed.as_secs());
    assert_eq!(rows.len(), 4);
    assert_eq!(took(Ending::Coalesced), Some(3));
    assert_eq!(took(Ending::Deadline), Some(2));
    assert_eq!(took(Ending::Cancelled), Some(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_only_watched_runs_even_after_the_deadline_around_it() {
    runtime()
        .scope(async {
            let outer = site(declared("main_loop"));
            let inner = site(declared("step"));
            let answer: Option<u32> = run_once(
                outer,
                Call::new(caps!(Option<u32>)),
                pin!(async {
                    sleep(3600 * SECOND).await;
                    run_once(inner, Call::new(caps!(Option<u32>)), pin!(ready(Some(1)))).await
                }),
            )
            .await;
            assert_eq!(answer, Some(1));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_only_watched_sets_no_deadline_for_the_calls_inside_it() {
    let runtime = runtime();
    runtime
        .scope(async {
            let outer = site(declared("main_loop"));
            let answer: Option<u32> = run_once(
                outer,
                Call::new(caps!(Option<u32>)),
                pin!(async {
                    sleep(3600 * SECOND).await;
                    call(&runtime, &read("get"), |_| async { Ok(1) }).await.1.map(|answer| answer.value).ok()
                }),
            )
            .await;
            assert_eq!(answer, Some(1));
        })
        .await;
}

#[test]
fn without_a_tokio_runtime_a_call_says_so_and_gives_back_its_probe() {
    let runtime = runtime();
    let opens = profile(Profile { failure_threshold: 2, open_for: Duration::ZERO, ..Profile::named("opens") });
    let once = ServiceCall { retries: Some(0), ..ServiceCall::new("erp", "get", opens) };
    let poll = |ready: bool| {
        let body = |_| async move { if ready { fails(Class::Transient) } else { pending().await } };
        match pin!(call(&runtime, &once, body)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready((_, result)) => result.unwrap_err(),
            Poll::Pending => panic!("it waits for something that will never come"),
        }
    };
    for _ in 0..2 {
        assert!(poll(true).is_service());
    }
    for n in 0..10 {
        let error = poll(false);
        assert!(error.is_outcome_unknown(), "call {n}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_hangs_ends_with_the_function_at_its_deadline() {
    runtime()
        .scope(async {
            let limited = site(Declaration { deadline: Some(SECOND), ..declared("price") });
            let began = Instant::now();
            let failed = pin!(async { Err(Error::service(Class::Transient, "503")) });
            let result: Placed = run_once_or(limited, Call::new(caps!(Placed)), failed, pending).await;
            assert!(result.unwrap_err().is_service(), "the answer there was");
            assert!(began.elapsed() <= SECOND + GRACE);
            let began = Instant::now();
            let result: Placed = run_once_or(limited, Call::new(caps!(Placed)), pin!(pending()), pending).await;
            assert!(result.unwrap_err().is_outcome_unknown());
            assert!(began.elapsed() <= SECOND + GRACE);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_fallback_belongs_to_the_function_it_answers_for() {
    let runtime = runtime();
    runtime
        .scope(async {
            let limited = site(Declaration { deadline: Some(2 * SECOND), ..declared("price") });
            let failed = pin!(async { Err(Error::service(Class::Transient, "503")) });
            let fallback = || async {
                let slow = ServiceCall { deadline: Some(20 * SECOND), ..read("list_price") };
                call(&runtime, &slow, |n| ready(if n == 1 { fails(Class::Transient) } else { Ok(1) })).await.1?;
                assert_eq!(warnings(), ["crm_list_price_recovered"]);
                Ok(42)
            };
            let result: Placed = run_once_or(limited, Call::new(caps!(Placed)), failed, fallback).await;
            assert_eq!(result.unwrap(), 42);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_execution_and_all_calls_inside_it_make_no_more_retries_than_it_may() {
    let patient = profile(Profile { failure_threshold: u32::MAX, ..Profile::named("patient") });
    let runtime = runtime();
    let started = Cell::new(0);
    runtime
        .scope(async {
            let repeats = site(Declaration { idempotent: true, retries: Some(3), ..declared("place") });
            let result: Placed = run(repeats, Call::new(caps!(Placed)), |_| async {
                let many =
                    ServiceCall { repeatable: true, retries: Some(3), ..ServiceCall::new("erp", "get", patient) };
                let attempt = |_| {
                    started.set(started.get() + 1);
                    async { fails(Class::Transient) }
                };
                let (one, other) = tokio::join!(runtime.call(&many, attempt), runtime.call(&many, attempt));
                one.and(other).map(|answer| answer.value)
            })
            .await;
            result.unwrap_err();
        })
        .await;
    // Six retries in all: those of both calls, and those of the function, each of which starts both anew.
    let retries_inside_the_first_attempt = 6;
    assert_eq!(started.get(), 2 + retries_inside_the_first_attempt);
}

#[tokio::test(start_paused = true)]
async fn warnings_do_not_fill_the_memory_of_a_function_that_runs_for_long() {
    let runtime = runtime();
    runtime
        .scope(async {
            let outer = site(declared("main_loop"));
            let seen: Option<usize> = run_once(
                outer,
                Call::new(caps!(Option<usize>)),
                pin!(async {
                    for n in 0..1_000 {
                        let flaky = |tries| ready(if tries == 1 { fails(Class::Transient) } else { Ok(1) });
                        let operation = format!("get_{}", n % 500);
                        let inner = site(declared("step"));
                        let result: Placed = run_once(
                            inner,
                            Call::new(caps!(Placed)),
                            pin!(async { Ok(call(&runtime, &read(&operation), flaky).await.1?.value) }),
                        )
                        .await;
                        let _ = result;
                    }
                    Some(warnings().len())
                }),
            )
            .await;
            assert!(seen.unwrap() <= 100, "{seen:?}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_was_due_and_not_made_is_stored_with_its_reason() {
    let store = MemoryStore::new();
    let runtime = runtime_on(store.clone());
    let failing = |class| async move { Err::<u8, _>(Failure::new(class, "scripted")) };
    let write = ServiceCall::new("crm", "create", Profile::GENERAL);
    runtime.call(&write, |_| failing(Class::Transient)).await.unwrap_err();
    let hurried =
        ServiceCall { repeatable: true, deadline: Some(SECOND), ..ServiceCall::new("crm", "get", Profile::GENERAL) };
    let throttled = Class::Throttled { retry_after: Some(2 * SECOND) };
    runtime.call(&hurried, |_| failing(throttled)).await.unwrap_err();
    let other = ServiceCall { repeatable: true, ..ServiceCall::new("billing", "get", Profile::GENERAL) };
    runtime.call(&other, |_| failing(Class::Permanent)).await.unwrap_err();

    let mut withheld: Vec<_> =
        outcomes(&runtime, store).await.into_iter().map(|row| (row.execution, row.withheld)).collect();
    withheld.sort_unstable();
    let withheld: Vec<_> = withheld.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(withheld, [Some(Withheld::NotRepeatable), Some(Withheld::Deadline), None]);
}
