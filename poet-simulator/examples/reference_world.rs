//! Lives the reference world through and prints what came of it, with and without the runtime's help.
//!
//! ```text
//! cargo run --release -p poet-simulator --example reference_world -- --days 14 --rate 0.5 --seeds 5
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what an example is for")]

use poet_runtime::parameter::Unit;
use poet_simulator::world::{Lived, Policy, Run, Summary, run};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

struct Options {
    days: f64,
    rate: f64,
    seeds: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { days: 14.0, rate: 0.5, seeds: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || -> Result<f64, String> {
            let text = arguments.next().ok_or_else(|| format!("`{name}` needs a number"))?;
            let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
            number.ok_or_else(|| format!("`{name}` needs a number above 0, not `{text}`"))
        };
        match name.as_str() {
            "--days" => options.days = number()?,
            "--rate" => options.rate = number()?,
            "--seeds" => options.seeds = number()? as u64,
            _ => return Err(format!("`{name}` is not known; write --days N, --rate REQUESTS_PER_SECOND, --seeds N")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("reference_world: {problem}");
            return ExitCode::from(2);
        }
    };
    println!(
        "{} days at {} requests/s, {} seed(s); the second half is measured\n",
        options.days, options.rate, options.seeds
    );
    println!("{:10}{}", "policy", Summary::HEADER);
    let mut last = None;
    for policy in [Policy::None, Policy::Learned] {
        let mut summaries = Vec::new();
        for seed in 1..=options.seeds {
            let Options { days, rate, .. } = options;
            let lived = run(Run { policy, days, rate, seed }, |share| tell(policy, seed, share));
            summaries.push(lived.tally.summary());
            last = Some(lived);
        }
        tell(policy, options.seeds, 1.0);
        println!("{:10}{}", policy.as_str(), Summary::mean_of(&summaries));
    }
    if let Some(lived) = last {
        show(&lived);
    }
    ExitCode::SUCCESS
}

/// One line that changes, on a terminal only.
fn tell(policy: Policy, seed: u64, share: f64) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{:10} seed {seed} {:3.0} %  \r", policy.as_str(), 100.0 * share);
        // A terminal that cannot be written to is no reason to stop.
        let _ = std::io::stderr().flush();
    }
}

fn show(lived: &Lived) {
    println!("\nAsked, in the whole run:");
    for ((service, operation), calls) in &lived.asked {
        println!("  {service}.{operation}: {calls}");
    }
    println!("\nIn force at the end:");
    for (service, operation, values) in &lived.values {
        println!(
            "  {service}.{operation}: attempt {}, retries {:?}, ttl {}, batch {} to {} within {}",
            Unit::Seconds.show(values.attempt_timeout.as_secs_f64()),
            values.max_retries,
            Unit::Seconds.show(values.cache_ttl.as_secs_f64()),
            values.batch_threshold,
            values.batch_max_size,
            Unit::Seconds.show(values.batch_window.as_secs_f64()),
        );
    }
}
