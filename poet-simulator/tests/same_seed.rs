//! One seed, one course of events: two processes that live the same world through decide everything alike.
//!
//! Two processes, not two runs in one, because what is drawn once a process (the secrets of hashes, the order of maps)
//! would not be seen to differ in one.

use poet_simulator::policy::Policy;
use poet_simulator::world::{Log, Run, World, run};
use std::process::Command;
use std::sync::Arc;

const SEED: &str = "POET_TEST_SEED";

fn lived(seed: u64) -> String {
    let out = Command::new(std::env::current_exe().expect("a test has a file"))
        .args(["--exact", "a_process_of_another_test", "--nocapture"])
        .env(SEED, seed.to_string())
        .output()
        .expect("it can be started again");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = String::from_utf8(out.stdout).expect("it prints text");
    let from = out.find("Lived").expect("it says what it lived through");
    out[from..].lines().next().unwrap_or_default().to_owned()
}

#[test]
fn two_processes_with_one_seed_live_through_the_same_to_the_last_nanosecond() {
    let first = lived(7);
    assert_eq!(first, lived(7));
    assert_ne!(first, lived(8), "what is compared says something");
}

/// Not a test of its own: what the processes started by the other one do.
#[test]
fn a_process_of_another_test() {
    let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) else { return };
    let world = Arc::new(World::find("reference").expect("a world of ours"));
    let policy = Policy::find("learned").expect("a policy of ours");
    let lived = run(&Run { world, policy, days: 0.3, rate: 0.3, seed, log: Log::default() }, |_| {});
    println!("{lived:?}");
}
