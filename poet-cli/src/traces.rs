//! `poet simulate traces`: judges the learner on a folder of recorded traces.

use crate::Refusal;
use crate::arguments::Format;
use clap::Args;
use poet_simulator::replay::{self, LAYOUT, Options, Study};
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub(crate) struct Traces {
    /// The folder of traces
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How often what the traces leave open is drawn anew: how long an outage was, when requests come
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Only this study, and others that are named so: probing, timeouts, freshness, hours, degradation, calls
    #[arg(long, value_name = "STUDY", value_delimiter = ',', value_parser = study)]
    only: Vec<Study>,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  poet simulate traces --data traces                             every study: minutes, in a release build
  poet simulate traces --data traces --only timeouts --only hours --format json

The folder holds comma-separated files, each with these columns as its header; only those of the studies that are
replayed are needed:

  checks/*.csv   minute,ok,ms
  outages.csv    service,source,start_min,end_min,dur_lo_min,dur_hi_min,censored,check_gap_min,code
  changes/*.csv  minute

docs/traces.md says what stands in them, and what the figures mean. The same folder and the same seeds come to the same
figures. Progress goes to the standard error output.";

fn study(name: &str) -> Result<Study, String> {
    Study::from_name(name).ok_or_else(|| {
        let studies = Study::ALL.map(Study::as_str).join("`, `");
        format!("no study; write one of `{studies}`")
    })
}

pub(crate) fn run(traces: &Traces, format: Format) -> Result<String, Refusal> {
    if format == Format::Html {
        return Err(Refusal::usage("`--format html` is for worlds; write text or json"));
    }
    let Some(data) = &traces.data else {
        return Err(Refusal::usage(format!(
            "which traces? write `--data DIR`; none come along. A folder of traces holds\n{LAYOUT}"
        )));
    };
    let mut options = Options { seeds: traces.seeds, ..Options::new(data) };
    if !traces.only.is_empty() {
        options.only.clone_from(&traces.only);
    }
    let told = |what: &str| {
        // Nobody may be listening.
        let _ = writeln!(io::stderr(), "{what}");
    };
    let report = replay::run(&options, told).map_err(|error| refusal(&error))?;
    Ok(format.of(|_| report.to_string(), || serde_json::json!(report)))
}

fn refusal(error: &replay::Error) -> Refusal {
    let why = error.source().map_or(String::new(), |source| format!(": {source}"));
    let layout = if error.is_missing() { format!("\na folder of traces holds\n{LAYOUT}") } else { String::new() };
    Refusal::nothing(format!("{error}{why}{layout}"))
}
