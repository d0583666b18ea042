//! With `learning = "off"` every decision is the one that is made where nothing was ever learned, in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use poet_runtime::config::Config;
use poet_runtime::service::{Failure, ServiceCall};
use poet_runtime::{Class, Clock, Learning, Profile, Runtime, Wall};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const MS: Duration = Duration::from_millis(1);
const CALLS: u64 = 400;

fn process(database: &Path, learning: Learning) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let config = Config { learning, ..Config::default() };
    Runtime::builder().configuration(config).database(database).clock(clock).seed(7).build().unwrap()
}

/// A number that the call and the attempt alone decide, from 0 to 99.
fn chance(call: u64, attempt: u64) -> u64 {
    let mixed = (call * 1_000 + attempt + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) % 9_973 % 100
}

/// Calls a service that hangs, fails by chance, is slow, and is down for a while; every attempt with its time, and what
/// became of every call.
async fn live(runtime: &Runtime) -> Vec<String> {
    let began = Instant::now();
    let log = Mutex::new(Vec::new());
    let note = |what: String| log.lock().unwrap().push(format!("{:?} {what}", began.elapsed()));
    for number in 0..CALLS {
        let get = ServiceCall { repeatable: true, ..ServiceCall::new("crm", "get", Profile::GENERAL) };
        let tries = Mutex::new(0_u64);
        let attempt = |_| {
            let attempt = {
                let mut tries = tries.lock().unwrap();
                *tries += 1;
                *tries
            };
            note(format!("call {number}, attempt {attempt}"));
            let is_down = (200..240).contains(&number);
            async move {
                match chance(number, attempt) {
                    0..=4 => sleep(3_600_000 * MS).await,
                    5..=14 => sleep(900 * MS).await,
                    _ => sleep(30 * MS).await,
                }
                let fails = is_down || chance(number, attempt + 500) < 25;
                if fails { Err(Failure::new(Class::Transient, "503")) } else { Ok(attempt) }
            }
        };
        let ended = runtime.call(&get, attempt).await.map(|answer| answer.value);
        note(format!("call {number}: {ended:?}"));
        sleep(250 * MS).await;
    }
    log.into_inner().unwrap()
}

/// One life of a process.
async fn life(database: &Path, learning: Learning) -> Vec<String> {
    let runtime = process(database, learning);
    let lived = live(&runtime).await;
    runtime.shutdown(Duration::from_secs(5)).await.unwrap();
    lived
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_decides_nothing_where_learning_is_off_or_only_shown() {
    let folder = tempfile::tempdir().unwrap();
    let taught = folder.path().join("taught.db");
    let first = process(&taught, Learning::On);
    for _ in 0..6 {
        live(&first).await;
    }
    let learned = first.values("crm", "get").unwrap();
    first.shutdown(Duration::from_secs(5)).await.unwrap();
    let untaught = process(&folder.path().join("values.db"), Learning::Off);
    _ = untaught.call(&ServiceCall::new("crm", "get", Profile::GENERAL), async |_| Ok::<_, Failure>(())).await;
    assert_ne!(learned, untaught.values("crm", "get").unwrap(), "nothing was learned");

    let never = life(&folder.path().join("never.db"), Learning::Off).await;
    for learning in [Learning::Off, Learning::Shadow] {
        let lived = life(&taught, learning).await;
        let differs = lived.iter().zip(&never).find(|(here, there)| here != there);
        assert_eq!((differs, lived.len()), (None, never.len()), "{learning:?}");
    }
    assert_ne!(life(&taught, Learning::On).await, never, "what was learned would have decided something");
}
