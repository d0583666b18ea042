//! Judges the learner on a folder of recorded traces.
//!
//! `cargo run --release -p poet-simulator --example traces -- --data DIR [--seeds N] [--only STUDY]... [--json]`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use poet_simulator::replay::{self, Options, Study};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::new("");
    let (mut only, mut json) = (Vec::new(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--data" => options.data = value()?.into(),
            "--seeds" => options.seeds = value()?.parse().map_err(|_| "--seeds wants a whole number")?,
            "--only" => {
                let name = value()?;
                let names = Study::ALL.map(Study::as_str).join(", ");
                only.push(Study::from_name(&name).ok_or(format!("no study `{name}`, there are {names}"))?);
            }
            "--json" => json = true,
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    if options.data.as_os_str().is_empty() {
        return Err("--data DIR is missing".into());
    }
    if !only.is_empty() {
        options.only = only;
    }
    let report = replay::run(&options, |what| eprintln!("{what}"))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
