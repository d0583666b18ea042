//! What a plan costs beyond its steps: plans of 1,000 steps that do nothing, against awaiting the same steps one by one.
//!
//! `cargo run --release -p poet-runtime --example plan_cost`

#![expect(clippy::print_stdout, reason = "it prints its figures")]

use poet_runtime::plan::{Inputs, Plan, Step, named};
use poet_runtime::{Error, Runtime};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const STEPS: usize = 1_000;
const RUNS: usize = 200;

async fn nothing(inputs: Inputs) -> Result<Value, Error> {
    Ok(Value::Object(inputs.into_map()))
}

fn independent() -> Plan {
    (0..STEPS).fold(named("independent"), |plan, at| plan.step(Step::new(format!("s{at}")).call(nothing, json!({}))))
}

fn chain() -> Plan {
    (0..STEPS).fold(named("chain").sequential(), |plan, at| {
        plan.step(Step::new(format!("s{at}")).call(nothing, json!({ "n": at })))
    })
}

fn referring() -> Plan {
    (0..STEPS).fold(named("referring").input("email", "a@example.com"), |plan, at| {
        let arguments = match at {
            0 => json!({ "id": 7 }),
            _ => json!({ "id": format!("$s{}.id", at - 1), "to": ["$email"], "text": "no. $last_result.id" }),
        };
        plan.step(Step::new(format!("s{at}")).call(nothing, arguments))
    })
}

/// The middle of many runs.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::builder().in_memory().build()?;
    let mut bare = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = Instant::now();
        for _ in 0..STEPS {
            let step: std::pin::Pin<Box<dyn Future<Output = Result<Value, Error>> + Send>> =
                Box::pin(nothing(Inputs::default()));
            std::hint::black_box(step.await?);
        }
        bare.push(began.elapsed());
    }
    let bare = median(bare);
    for plan in [independent(), chain(), referring()] {
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let began = Instant::now();
            let outcome = plan.run_in(&runtime).await?;
            times.push(began.elapsed());
            assert!(outcome.success, "{outcome:?}");
        }
        let beyond = median(times).saturating_sub(bare).as_secs_f64() / STEPS as f64;
        println!("{:<12} {:.2} us a step beyond the step itself", plan.name(), beyond * 1e6);
    }
    Ok(())
}
