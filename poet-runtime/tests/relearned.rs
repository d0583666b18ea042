//! What was learned about waits, crowds and slow attempts is in force from the first call of the next process, in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use poet_runtime::parameter::Values;
use poet_runtime::service::{Failure, ServiceCall};
use poet_runtime::{Class, Clock, Priority, Profile, Runtime, Utility, Wall};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A process that starts with this database, so many hours after the first.
fn process(database: &Path, hours: u64) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000 + hours as i64 * 3_600_000));
    let builder = Runtime::builder().configuration(Default::default()).database(database).clock(clock).seed(7);
    builder.build().unwrap()
}

fn read(operation: &str) -> ServiceCall<'_> {
    ServiceCall { repeatable: true, ..ServiceCall::new("crm", operation, Profile::GENERAL) }
}

async fn values(runtime: &Runtime) -> Values {
    runtime.flush().await.unwrap();
    runtime.values("crm", "get").unwrap()
}

/// A call whose first attempt fails, and whose retry succeeds if it comes 150 ms later at least; how long that took.
async fn recovers(runtime: &Runtime) -> Duration {
    let (began, tries) = (Instant::now(), AtomicU32::new(0));
    let mut once = read("get");
    once.retries = Some(1);
    let attempt = |_| {
        let early = tries.fetch_add(1, Ordering::Relaxed) == 0 || began.elapsed() < 150 * MS;
        async move { if early { Err(Failure::new(Class::Transient, "503")) } else { Ok(()) } }
    };
    _ = runtime.call(&once, attempt).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_base_delay_that_was_learned_is_waited_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("poet.db");
    let first = process(&database, 0);
    // What succeeds in between keeps the circuit closed and earns the retries.
    for call in 0.. {
        _ = first.call(&read("get"), async |_| Ok::<_, Failure>(())).await;
        recovers(&first).await;
        sleep(200 * MS).await;
        if call % 50 == 49 && values(&first).await.base_delay > 300 * MS {
            break;
        }
        assert!(call < 5_000, "nothing was learned");
    }
    let learned = values(&first).await.base_delay;
    first.shutdown(Duration::from_secs(5)).await.unwrap();

    let second = process(&database, 1);
    let mut longest = recovers(&second).await;
    assert!(second.values("crm", "get").unwrap().base_delay >= learned, "from the first call on");
    for _ in 0..9 {
        longest = longest.max(recovers(&second).await);
        _ = second.call(&read("get"), async |_| Ok::<_, Failure>(())).await;
        sleep(200 * MS).await;
    }
    assert!(longest > 205 * MS, "the default is never waited for longer than 200 ms, and this was {longest:?}");
}

/// So many calls at once of a service that works on four at a time; the most that were sent at once.
async fn burst(runtime: &Runtime, calls: u32) -> u32 {
    let most = Arc::new(AtomicU32::new(0));
    let (inside, desk) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Semaphore::new(4)));
    let calls: JoinSet<_> = (0..calls)
        .map(|_| {
            let (runtime, most, inside, desk) = (runtime.clone(), most.clone(), inside.clone(), desk.clone());
            async move {
                let get = read("get");
                let call = runtime.call(&get, |_| async {
                    most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    let served = desk.acquire().await;
                    sleep(20 * MS).await;
                    drop(served);
                    inside.fetch_sub(1, Ordering::Relaxed);
                    Ok::<_, Failure>(())
                });
                call.await.unwrap();
            }
        })
        .collect();
    calls.join_all().await;
    most.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_was_learned_is_kept_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("poet.db");
    let first = process(&database, 0);
    assert_eq!(burst(&first, 100).await, 64, "the default");
    for hour in 0.. {
        for _ in 0..12 {
            burst(&first, 1).await;
        }
        burst(&first, 100).await;
        if values(&first).await.concurrency_limit <= 20 {
            break;
        }
        assert!(hour < 40, "nothing was learned");
        advance(HOUR).await;
    }
    let learned = u32::from(values(&first).await.concurrency_limit);
    first.shutdown(Duration::from_secs(5)).await.unwrap();

    let second = process(&database, 41);
    assert_eq!(burst(&second, 100).await, learned);
}

/// Makes second copies worth their price: somebody waits for every answer.
static HURRIED: Profile = Profile {
    utility: Utility { second: 1.0, ..Utility::DEFAULT },
    max_retries: 0,
    max_retries_ceiling: 0,
    ..Profile::named("hurried")
};

/// A call whose first copy takes so long and whose second is quick; how many were started.
async fn races(runtime: &Runtime, takes: Duration) -> u32 {
    let started = AtomicU32::new(0);
    // What matters is never held out from what was learned.
    let priority = Some(Priority::High);
    let get = ServiceCall { repeatable: true, priority, ..ServiceCall::new("crm", "get", &HURRIED) };
    let attempt = |_| {
        let takes = if started.fetch_add(1, Ordering::Relaxed) == 0 { takes } else { 20 * MS };
        async move {
            sleep(takes).await;
            Ok::<_, Failure>(())
        }
    };
    runtime.call(&get, attempt).await.unwrap();
    started.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_delay_after_which_attempts_are_raced_is_learned_once_and_in_force_in_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("poet.db");
    let first = process(&database, 0);
    assert_eq!(races(&first, Duration::from_secs(4)).await, 1, "off by default");
    for call in 0.. {
        races(&first, if call % 50 == 0 { Duration::from_secs(4) } else { 20 * MS }).await;
        if call % 500 == 499 {
            if !values(&first).await.hedge_delay.is_zero() {
                break;
            }
            // What else was learned from such calls has an hour to show that it does no harm.
            advance(HOUR).await;
        }
        assert!(call < 10_000, "nothing was learned");
    }
    let learned = values(&first).await.hedge_delay;
    assert!(learned < Duration::from_secs(1), "{learned:?}");
    first.shutdown(Duration::from_secs(5)).await.unwrap();

    let second = process(&database, 41);
    for _ in 0..50 {
        assert_eq!(races(&second, 20 * MS).await, 1);
    }
    let began = Instant::now();
    assert_eq!(races(&second, Duration::from_secs(4)).await, 2);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
