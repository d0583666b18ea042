//! The laws of the framework, shown on the real pipeline in virtual time.

mod support;

use poet_runtime::__private::{Call, caps, run, run_once, run_once_or, run_sync};
use poet_runtime::config::{Config, RetryStrategy, ServiceConfig};
use poet_runtime::service::{Answer, CacheKey, Failure, ServiceCall};
use poet_runtime::{Class, Clock, Declaration, Disposition, Error, Profile, Runtime, Wall, warnings};
use std::cell::Cell;
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use support::{GRACE, call, declared, fails, read, site};
use tokio::time::{Instant, advance, sleep};

fn runtime() -> Runtime {
    runtime_with(Config::default())
}

fn runtime_with(config: Config) -> Runtime {
    seeded(config, 7)
}

fn seeded(config: Config, seed: u64) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    Runtime::builder()
        .configuration(config)
        .in_memory()
        .clock(clock)
        .seed(seed)
        .build()
        .expect("a correct configuration")
}

fn write<'a>(operation: &'a str) -> ServiceCall<'a> {
    ServiceCall::new("crm", operation, Profile::GENERAL)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_at_its_deadline() {
    let runtime = runtime();
    let began = Instant::now();
    let limited = ServiceCall { deadline: Some(Duration::from_secs(5)), ..read("hangs") };
    let (started, result) = call(&runtime, &limited, |_| pending()).await;
    assert!(result.unwrap_err().is_deadline());
    assert_eq!(started, 1, "an attempt may take 10 s, so the deadline cut the first one");
    assert!(began.elapsed() <= Duration::from_secs(5) + GRACE);
}

#[tokio::test(start_paused = true)]
async fn retries_waits_and_retry_after_all_fit_into_the_deadline() {
    let runtime = runtime();
    for class in [
        Class::Transient,
        Class::Throttled { retry_after: Some(Duration::from_secs(9)) },
        Class::Throttled { retry_after: Some(Duration::from_secs(900)) },
        Class::Network { sent: true },
        Class::Timeout,
    ] {
        let began = Instant::now();
        let limited = ServiceCall { deadline: Some(Duration::from_secs(3)), retries: Some(10), ..read("fails") };
        let (_, result) = call(&runtime, &limited, |_| async move {
            sleep(Duration::from_millis(400)).await;
            fails(class)
        })
        .await;
        result.unwrap_err();
        assert!(began.elapsed() <= Duration::from_secs(3) + GRACE, "{class:?} took {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_by_itself_tells_the_same_as_an_attempt_that_was_dropped() {
    let runtime = runtime();
    let gives_up = |until: Duration| {
        move |_| async move {
            sleep(until).await;
            fails(Class::Timeout)
        }
    };
    let short = ServiceCall { timeout: Some(Duration::from_secs(1)), retries: Some(0), ..read("slow") };
    let (_, result) = call(&runtime, &short, gives_up(Duration::from_millis(995))).await;
    assert!(result.unwrap_err().is_timeout());
    let late = ServiceCall { deadline: Some(Duration::from_secs(1)), ..read("slow") };
    let (_, result) = call(&runtime, &late, gives_up(Duration::from_millis(995))).await;
    assert!(result.unwrap_err().is_deadline());
    let write = ServiceCall { timeout: Some(Duration::from_secs(1)), ..write("slow") };
    let (_, result) = call(&runtime, &write, gives_up(Duration::from_millis(995))).await;
    assert!(result.unwrap_err().is_outcome_unknown());
}

#[tokio::test(start_paused = true)]
async fn there_is_a_deadline_even_if_nobody_wrote_one() {
    let began = Instant::now();
    let (started, result) = call(&runtime(), &read("hangs"), |_| pending()).await;
    assert!(result.unwrap_err().is_deadline());
    assert_eq!(started, 3, "three attempts of 10 s");
    assert!(began.elapsed() <= Duration::from_secs(30) + GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_run_is_not_started_again() {
    let runtime = runtime();
    for class in [Class::Network { sent: true }, Class::Timeout] {
        let (started, result) = call(&runtime, &write("create"), |_| async move { fails(class) }).await;
        assert!(result.unwrap_err().is_outcome_unknown(), "{class:?}");
        assert_eq!(started, 1, "{class:?}");
    }
    let (started, result) = call(&runtime, &write("create_slowly"), |_| pending()).await;
    let error = result.unwrap_err();
    assert!(
        error.is_outcome_unknown() && !error.is_timeout(),
        "a caller who repeats on `is_timeout` must not repeat this"
    );
    assert_eq!(started, 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_sent_is_tried_again() {
    let (started, result) = call(&runtime(), &write("create"), |n| async move {
        if n < 3 { fails(Class::Network { sent: false }) } else { Ok(n) }
    })
    .await;
    let answer = result.unwrap();
    assert_eq!((started, answer.attempts, answer.disposition), (3, 3, Disposition::Done));
}

#[tokio::test(start_paused = true)]
async fn what_the_service_refuses_for_good_is_its_own_error_after_one_attempt() {
    let (started, result) = call(&runtime(), &read("get"), |_| async { fails(Class::Permanent) }).await;
    let error = result.unwrap_err();
    assert_eq!(started, 1);
    assert!(error.is_service());
    assert_eq!(error.to_string(), "calling get of crm: the service failed (permanent): scripted");
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_without_sending_and_says_for_how_long() {
    let runtime = runtime();
    for _ in 0..2 {
        call(&runtime, &read("down"), |_| async { fails(Class::Transient) }).await.1.unwrap_err();
    }
    let (started, result) = call(&runtime, &read("down"), |_| async { Ok(1) }).await;
    let error = result.unwrap_err();
    assert_eq!(started, 0);
    assert!(error.is_circuit_open());
    assert!(error.retry_after().unwrap() <= Duration::from_secs(60));
    let (started, _) = call(&runtime, &read("healthy"), |_| async { Ok(1) }).await;
    assert_eq!(started, 1, "a bad tool must not shut its healthy neighbours");
}

#[tokio::test(start_paused = true)]
async fn processes_that_saw_a_service_fail_in_one_moment_ask_again_in_one_moment_once_and_then_apart() {
    let down = read("down");
    let refused = async |process: &Runtime| {
        let (started, result) = call(process, &down, |_| async { fails(Class::Transient) }).await;
        assert_eq!(started, 0);
        result.unwrap_err().retry_after().unwrap().as_secs_f64().round() as u64
    };
    let mut waits = Vec::new();
    for seed in 1..=8 {
        let process = seeded(Config::default(), seed);
        for _ in 0..2 {
            call(&process, &down, |_| async { fails(Class::Transient) }).await.1.unwrap_err();
        }
        let first = refused(&process).await;
        advance(Duration::from_secs(61)).await;
        let (probed, _) = call(&process, &down, |_| async { fails(Class::Transient) }).await;
        waits.push((first, probed, refused(&process).await));
    }
    assert!(
        waits.iter().all(|(first, probed, next)| (*first, *probed) == (60, 1) && (48..=72).contains(next)),
        "{waits:?}"
    );
    let apart: std::collections::BTreeSet<_> = waits.iter().map(|(.., next)| next).collect();
    assert!(apart.len() >= 6, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn dropped_probes_do_not_keep_a_circuit_from_closing() {
    let runtime = runtime();
    for _ in 0..2 {
        call(&runtime, &read("down"), |_| async { fails(Class::Transient) }).await.1.unwrap_err();
    }
    advance(Duration::from_secs(61)).await;
    for _ in 0..20 {
        let down = read("down");
        let probe = runtime.call(&down, |_| pending::<Result<u32, Failure>>());
        assert!(tokio::time::timeout(Duration::from_millis(1), probe).await.is_err(), "the caller gave up");
    }
    for _ in 0..3 {
        call(&runtime, &read("down"), |_| async { Ok(1) }).await.1.unwrap();
    }
    let many: Vec<_> = (0..50).map(|_| read("down")).collect();
    for one in &many {
        assert_eq!(call(&runtime, one, |_| async { Ok(1) }).await.0, 1, "closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_holds_back_all_callers_of_the_service() {
    let runtime = runtime();
    let wait = Duration::from_secs(4);
    let throttled = ServiceCall { retries: Some(0), ..read("first") };
    let (_, result) =
        call(&runtime, &throttled, |_| async move { fails(Class::Throttled { retry_after: Some(wait) }) }).await;
    assert_eq!(result.unwrap_err().retry_after(), Some(wait));
    let began = Instant::now();
    call(&runtime, &read("second"), |_| async { Ok(1) }).await.1.unwrap();
    assert!(began.elapsed() >= wait);
    call(&runtime, &throttled, |_| async move { fails(Class::Throttled { retry_after: Some(wait) }) })
        .await
        .1
        .unwrap_err();
    let impatient = ServiceCall { deadline: Some(Duration::from_secs(1)), ..read("third") };
    let (started, result) = call(&runtime, &impatient, |_| async { Ok(1) }).await;
    assert_eq!(started, 0);
    assert!(result.unwrap_err().is_throttled());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_identical_reads_make_one_call() {
    let runtime = runtime();
    let started = Rc::new(Cell::new(0));
    let local = tokio::task::LocalSet::new();
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let (runtime, started) = (runtime.clone(), started.clone());
            local.spawn_local(async move {
                let shared = ServiceCall { coalesce: Some(CacheKey::of("crm get 7")), ..read("get") };
                let attempt = |_| {
                    started.set(started.get() + 1);
                    async {
                        sleep(Duration::from_millis(100)).await;
                        Ok(7)
                    }
                };
                runtime.call(&shared, attempt).await
            })
        })
        .collect();
    let mut joined = 0;
    local
        .run_until(async {
            for caller in callers {
                let answer: Answer<i32> = caller.await.unwrap().unwrap();
                assert_eq!(answer.value, 7);
                joined += u32::from(answer.disposition == Disposition::Coalesced);
            }
        })
        .await;
    assert_eq!((started.get(), joined), (1, 999));
}

#[tokio::test(start_paused = true)]
async fn when_a_leader_is_dropped_somebody_else_leads() {
    let runtime = runtime();
    let shared = ServiceCall { coalesce: Some(CacheKey::of("crm get 7")), ..read("get") };
    let leader = runtime.call(&shared, |_| pending::<Result<u32, Failure>>());
    let follower = runtime.call(&shared, |_| async { Ok(7) });
    let mut leader = Box::pin(leader);
    let mut follower = Box::pin(follower);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut leader).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut follower).await.is_err());
    drop(leader);
    assert_eq!(follower.await.unwrap().value, 7);
}

type Placed = Result<u32, Error>;

#[tokio::test(start_paused = true)]
async fn a_function_that_is_not_idempotent_is_started_once_and_ends_at_its_deadline() {
    runtime()
        .scope(async {
            let limited = site(Declaration { deadline: Some(Duration::from_secs(2)), ..declared("place") });
            let began = Instant::now();
            let result: Placed = run_once(limited, Call::new(caps!(Placed)), pin!(pending())).await;
            assert!(result.unwrap_err().is_outcome_unknown());
            assert!(began.elapsed() <= Duration::from_secs(2) + GRACE);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_function_is_tried_again_with_its_own_arguments() {
    runtime()
        .scope(async {
            let repeats = site(Declaration { idempotent: true, ..declared("fetch") });
            let mut tries = 0;
            let result: Placed = run(repeats, Call::new(caps!(Placed)), |last| {
                tries += 1;
                let answer = if tries < 3 { Err(Error::service(Class::Transient, "503")) } else { Ok(tries) };
                assert_eq!(last, tries == 3);
                async move { answer }
            })
            .await;
            assert_eq!(result.unwrap(), 3);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_function_holds_for_the_calls_inside_it() {
    let runtime = runtime();
    let inner = runtime.clone();
    let began = Instant::now();
    let result: Placed = runtime
        .scope(async {
            let limited = site(Declaration { deadline: Some(Duration::from_secs(1)), ..declared("place") });
            let body = pin!(async {
                let slow = ServiceCall { deadline: Some(Duration::from_secs(20)), ..read("get") };
                let error = call(&inner, &slow, |_| pending()).await.1.unwrap_err();
                assert!(error.is_deadline(), "{error}");
                Err(error)
            });
            run_once(limited, Call::new(caps!(Placed)), body).await
        })
        .await;
    result.unwrap_err();
    assert!(began.elapsed() <= Duration::from_secs(1) + GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_function_and_the_calls_inside_it_share_one_retry_budget() {
    let runtime = runtime();
    let started = Cell::new(0);
    let result: Placed = runtime
        .scope(async {
            let repeats = site(Declaration { idempotent: true, retries: Some(3), ..declared("place") });
            run(repeats, Call::new(caps!(Placed)), |_| async {
                let many = ServiceCall { retries: Some(3), ..read("get") };
                let attempt = |_| {
                    started.set(started.get() + 1);
                    async { fails(Class::Transient) }
                };
                runtime.call(&many, attempt).await.map(|answer| answer.value)
            })
            .await
        })
        .await;
    result.unwrap_err();
    // Four attempts of the function times four of the call would be 16.
    assert!(started.get() <= 7, "started {} times", started.get());
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_does_not_open_the_circuit_of_the_function_that_calls_it() {
    let runtime = runtime();
    let inner = runtime.clone();
    runtime
        .scope(async {
            let orchestrates = site(declared("place"));
            for n in 0..20 {
                let entered = Cell::new(false);
                let result: Placed = run_once(
                    orchestrates,
                    Call::new(caps!(Placed)),
                    pin!(async {
                        entered.set(true);
                        let once = ServiceCall { retries: Some(0), ..read("down") };
                        call(&inner, &once, |_| async { fails(Class::Transient) }).await.1.map(|answer| answer.value)
                    }),
                )
                .await;
                assert!(entered.get(), "call {n} was refused: {result:?}");
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_retried_inside_is_told_as_a_warning() {
    let runtime = runtime();
    let inner = runtime.clone();
    let seen = runtime
        .scope(async {
            let orchestrates = site(declared("place"));
            let result: Result<Vec<String>, Error> = run_once(
                orchestrates,
                Call::new(caps!(Result<Vec<String>, Error>)),
                pin!(async {
                    let flaky = |n| async move { if n == 1 { fails(Class::Transient) } else { Ok(1) } };
                    call(&inner, &read("get"), flaky).await.1?;
                    Ok(warnings())
                }),
            )
            .await;
            result.unwrap()
        })
        .await;
    assert_eq!(seen, ["crm_get_recovered"]);
    assert!(warnings().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_when_the_function_fails_or_is_refused() {
    runtime()
        .scope(async {
            let limited = site(Declaration { deadline: Some(Duration::from_secs(1)), ..declared("price") });
            let fallback = || async { Ok(42) };
            let failed: Placed = run_once_or(
                limited,
                Call::new(caps!(Placed)),
                pin!(async { Err(Error::service(Class::Transient, "503")) }),
                fallback,
            )
            .await;
            assert_eq!(failed.unwrap(), 42);
            let hung: Placed = run_once_or(limited, Call::new(caps!(Placed)), pin!(pending()), fallback).await;
            assert_eq!(hung.unwrap(), 42);
            let fine: Placed = run_once_or(limited, Call::new(caps!(Placed)), pin!(async { Ok(1) }), fallback).await;
            assert_eq!(fine.unwrap(), 1);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_fails_validation_is_an_error_and_is_tried_again_where_that_is_safe() {
    runtime()
        .scope(async {
            let repeats = site(Declaration { idempotent: true, ..declared("fetch") });
            let even = |answer: &Placed| matches!(answer, Ok(n) if n % 2 == 1).then(|| "it is odd".to_owned());
            let mut tries = 0;
            let result: Placed = run(repeats, Call::new(caps!(Placed)).validate(even), |_| {
                tries += 1;
                let answer = tries;
                async move { Ok(answer) }
            })
            .await;
            assert_eq!(result.unwrap(), 2);
            let error = run(repeats, Call::new(caps!(Placed)).validate(even), |_| async { Ok(1) }).await.unwrap_err();
            assert!(error.is_invalid_response(), "{error}");
            assert_eq!(
                error.to_string(),
                "calling orders::fetch of shop: the answer is not what was agreed (after 3 attempts): it is odd"
            );
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_function_that_cannot_carry_a_refusal_is_only_watched() {
    runtime()
        .scope(async {
            let plain = site(Declaration { deadline: Some(Duration::from_millis(1)), ..declared("count") });
            for _ in 0..20 {
                let slow = pin!(async {
                    sleep(Duration::from_secs(100)).await;
                    None
                });
                let answer: Option<u32> =
                    run_once(plain, Call::new(caps!(Option<u32>)).failure(|_| Class::Transient), slow).await;
                assert_eq!(answer, None);
            }
        })
        .await;
}

#[test]
fn a_synchronous_function_needs_no_tokio_runtime() {
    let clock = Clock::virtual_from(Wall::from_millis(0));
    let runtime = Runtime::builder().configuration(Config::default()).in_memory().clock(clock).build().unwrap();
    let mut tries = 0;
    let repeats = site(Declaration { idempotent: true, retries: Some(1), ..declared("blocking") });
    let quick = Profile { base_delay: Duration::ZERO, ..Profile::named("quick") };
    let repeats = site(Declaration { profile: Some(Box::leak(Box::new(quick))), ..repeats.declaration });
    let result: std::io::Result<u32> = runtime.scope_blocking(|| {
        run_sync(repeats, Call::new(caps!(std::io::Result<u32>)), |_| {
            tries += 1;
            if tries == 1 { Err(std::io::ErrorKind::ConnectionReset.into()) } else { Ok(tries) }
        })
    });
    assert_eq!(result.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_pinned_in_the_configuration_holds() {
    let config = Config::default()
        .service(ServiceConfig::named("crm").timeout(Duration::from_secs(1)).pin("retry.max_retries", 0));
    let began = Instant::now();
    let (started, result) = call(&runtime_with(config), &read("hangs"), |_| pending()).await;
    assert!(result.unwrap_err().is_timeout());
    assert_eq!(started, 1);
    assert!(began.elapsed() <= Duration::from_secs(1) + GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_retry_strategy_says_how_often_and_after_which_waits_a_call_is_made_again() {
    let seconds = |strategy| async move {
        let config = Config::default().service(ServiceConfig::named("crm").retry(strategy));
        let began = Instant::now();
        let (started, result) =
            call(&runtime_with(config), &read("fails"), |_| async { fails(Class::Transient) }).await;
        result.unwrap_err();
        assert_eq!(started, u32::from(strategy.attempts), "{}", strategy.name);
        began.elapsed().as_secs_f64()
    };
    // The sums of the upper ends; what is waited is drawn from in between.
    let (quick, network) = (seconds(&RetryStrategy::QUICK).await, seconds(&RetryStrategy::NETWORK).await);
    let (standard, throttle) = (seconds(&RetryStrategy::STANDARD).await, seconds(&RetryStrategy::THROTTLE).await);
    assert!(quick <= 0.1 + 0.2, "{quick}");
    assert!(network > quick && network <= 0.5 + 1.0 + 2.0, "{network}");
    assert!(standard > network && standard <= 1.0 + 2.0 + 4.0 + 8.0, "{standard}");
    assert!(throttle > quick && throttle <= 2.0 + 3.0, "{throttle}");
}

#[tokio::test(start_paused = true)]
async fn a_service_nobody_configured_is_told_with_what_to_write() {
    let config = Config::default().service(ServiceConfig::named("crm")).service(ServiceConfig::named("billing"));
    let error = runtime_with(config).service("cmr").unwrap_err();
    assert!(error.is_configuration());
    assert_eq!(error.to_string(), "not configured: service `cmr` is not configured; configured are: billing, crm");
}
