//! Judges the learner on recorded traces of real services.
//!
//! Every decision that is judged is made by the runtime's own functions, on evidence counted as the recorder counts it,
//! walking forward: what is measured lies after what was learned from. The traces are a folder of
//! comma-separated files that is no part of this repository; `docs/traces.md` says what is in it and what the figures
//! mean.

mod bench;
mod calls;
mod degradation;
mod error;
mod freshness;
mod hours;
mod probing;
mod report;
mod timeouts;
mod traces;

pub use error::Error;
pub use report::{Figure, Report};

use std::path::PathBuf;

/// What is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Study {
    /// What outages cost in probes and in calls refused too long, on `outages.csv`.
    Probing,
    /// What limits of an attempt cost, on `checks/*.csv`.
    Timeouts,
    /// How much of what the cache gives is out of date, on `changes/*.csv`.
    Freshness,
    /// How well failures are predicted by the hour of the day, on `checks/*.csv`.
    Hours,
    /// How well failures of the next check are foretold, on `checks/*.csv`.
    Degradation,
    /// What calls come to that are made all the while, on `checks/*.csv`.
    Calls,
}

impl Study {
    /// Every study, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::Probing, Self::Timeouts, Self::Freshness, Self::Hours, Self::Degradation, Self::Calls];

    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probing => "probing",
            Self::Timeouts => "timeouts",
            Self::Freshness => "freshness",
            Self::Hours => "hours",
            Self::Degradation => "degradation",
            Self::Calls => "calls",
        }
    }

    /// What of the folder it replays.
    const fn source(self) -> &'static str {
        match self {
            Self::Probing => "outages.csv",
            Self::Timeouts | Self::Hours | Self::Degradation | Self::Calls => "checks",
            Self::Freshness => "changes",
        }
    }

    /// The study of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|study| study.as_str() == name)
    }
}

/// What a folder of traces holds, a line for each kind of file.
pub const LAYOUT: &str = "\
checks/*.csv   minute,ok,ms   one file a service, one row a check; for timeouts, hours, degradation, calls
outages.csv    service,source,start_min,end_min,dur_lo_min,dur_hi_min,censored,check_gap_min,code
               one row an outage; for probing
changes/*.csv  minute         one file a resource, one row a change; for freshness";

/// What to replay, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of traces.
    pub data: PathBuf,
    /// How many seeds: traces leave some things open (how long an outage was, when requests come), which are drawn.
    pub seeds: u64,
    /// What is replayed.
    pub only: Vec<Study>,
}

impl Options {
    /// Everything, with three seeds.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), seeds: 3, only: Study::ALL.to_vec() }
    }
}

/// Replays the traces of a folder. `progress` is told what is being done, now and then.
///
/// # Errors
///
/// Where a file that a study needs is missing or holds what it may not.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> Result<Report, Error> {
    // All of it first: what is missing shall not be said after minutes of replaying the rest.
    for study in &options.only {
        let path = options.data.join(study.source());
        std::fs::metadata(&path).map_err(|error| Error::read(&path, error))?;
    }
    let mut report = Report::default();
    for study in Study::ALL.into_iter().filter(|study| options.only.contains(study)) {
        let mut tell = |what: &str| progress(&format!("{}: {what}", study.as_str()));
        report.figures.extend(match study {
            Study::Probing => probing::figures(options, &mut tell)?,
            Study::Timeouts => timeouts::figures(options, &mut tell)?,
            Study::Freshness => freshness::figures(options, &mut tell)?,
            Study::Hours => hours::figures(options, &mut tell)?,
            Study::Degradation => degradation::figures(options, &mut tell)?,
            Study::Calls => calls::figures(options, &mut tell)?,
        });
    }
    Ok(report)
}

/// Where studies tell how far they are.
type Tell<'a> = &'a mut dyn FnMut(&str);
