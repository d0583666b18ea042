//! What protection adds to a call that costs nothing: poet, its peers, and the floor, in one run.
//!
//! `cargo bench --bench overhead -- [--json FILE] [--samples N] [FILTER]`

use poet_benches::heap::Counting;
use poet_benches::protected::Readiness;
use poet_benches::sampling::Bench;
use poet_benches::{annotated, cached, floor, peers, primitives, table};
use std::error::Error;
use std::path::PathBuf;

#[global_allocator]
static HEAP: Counting = Counting;

/// Samples of a full run.
const SAMPLES: usize = 1_500;

struct Options {
    json: Option<PathBuf>,
    samples: usize,
    filter: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { json: None, samples: SAMPLES, filter: None };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = Some(arguments.next().ok_or("--json needs a file")?.into()),
                "--samples" => options.samples = arguments.next().ok_or("--samples needs a number")?.parse()?,
                // Cargo adds it to every benchmark.
                "--bench" => {}
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}").into()),
                filter => options.filter = Some(filter.to_owned()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    poet::Runtime::builder().in_memory().build()?.install()?;
    let bench = Bench::new()?;
    let mut cases = primitives::cases();
    for readiness in [Readiness::AtOnce, Readiness::PendingOnce] {
        cases.extend(peers::cases(&bench, readiness));
        cases.extend(floor::cases(&bench, readiness));
        cases.extend(annotated::cases(&bench, readiness));
        cases.extend(cached::cases(&bench, readiness));
    }
    cases.retain(|case| options.filter.as_ref().is_none_or(|filter| case.is_about(filter)));
    let measured = bench.measure(cases, options.samples);
    println!("{}", table::text(&measured));
    if let Some(file) = options.json {
        std::fs::write(file, serde_json::to_string_pretty(&table::json(&measured, options.samples))?)?;
    }
    Ok(())
}
