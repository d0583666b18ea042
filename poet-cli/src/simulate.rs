//! Lives a world through in virtual time, through the real runtime, and shows what came of it.

use crate::arguments::Format;
use crate::traces::{self, Traces};
use crate::{Refusal, style};
use clap::{Args, Subcommand};
use poet_simulator::campaign::{Campaign, Progress};
use poet_simulator::judge::judge;
use poet_simulator::policy::POLICIES;
use poet_simulator::show::{Shown, html, json, text};
use poet_simulator::tune::Search;
use poet_simulator::world::{EMBEDDED, Log, World};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Runs that end sooner than this need no progress.
const SOON: Duration = Duration::from_secs(2);
/// How often progress is told: on a terminal, and where every line stays.
const OFTEN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// Judge the learner on recorded traces of real services
    #[command(after_help = traces::EXAMPLES)]
    Traces(Traces),
}

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Simulate {
    #[command(subcommand)]
    what: Option<What>,
    /// A world that is known by this name, or the path of a file
    #[arg(default_value = "reference", value_name = "WORLD")]
    world: String,
    /// The policies it is lived through under, by commas [default: as the world says; see --list]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    policies: Vec<String>,
    /// Either a number of seeds, from 1 on, or a list of them by commas [default: as the world says]
    #[arg(long, value_name = "N|LIST", conflicts_with = "seed")]
    seeds: Option<String>,
    /// The one seed
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// How many days the world lives [default: as the world says]
    #[arg(long, value_name = "DAYS", value_parser = above_zero)]
    days: Option<f64>,
    /// Requests for each second, in the mean [default: as the world says]
    #[arg(long, value_name = "RATE", value_parser = above_zero)]
    rate: Option<f64>,
    /// Write every call, attempt and decision there, a line of JSON each; for one policy, rate and seed
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Search the best static values in hindsight, and print them as they are written in a world's file
    #[arg(long, conflicts_with_all = ["policies", "log"])]
    tune: bool,
    /// Show which worlds and policies there are
    #[arg(long)]
    list: bool,
    /// Runs at once [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  poet simulate --list                                   which worlds and policies there are
  poet simulate small                                    a first look, in less than a minute
  poet simulate reference --policies none,learned        fourteen days under two policies
  poet simulate reference --seeds 5 --format html > r.html
                                                         five seeds, as a page with curves
  poet simulate my_world.toml --days 3 --rate 2          a world of your own: see docs/simulator.md
  poet simulate small --policies learned --seed 7 --log run.jsonl
                                                         every decision; the same bytes for the same seed
  poet simulate reference --tune --days 6                the best static values in hindsight, for the world's file
  poet simulate traces --data DIR                        the learner judged on recorded traces instead of a world

The calls go through the runtime that programs use, with its breaker, cache, queue and learner, in virtual time. What a
policy was worth, and the goals that the world states, are measured on the last part of its life; the part before is for
learning. Progress goes to the standard error output.";

fn above_zero(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

fn seeds(text: &str) -> Result<Vec<u64>, Refusal> {
    let wrong = || Refusal::usage(format!("--seeds {text}: expected a number of seeds, or a list such as 1,2,7"));
    if text.contains(',') {
        return text.split(',').map(|seed| seed.trim().parse().map_err(|_| wrong())).collect();
    }
    match text.parse() {
        Ok(n @ 1..=10_000) => Ok((1..=n).collect()),
        _ => Err(wrong()),
    }
}

pub(crate) fn run(simulate: &Simulate, format: Format) -> Result<String, Refusal> {
    if let Some(What::Traces(traces)) = &simulate.what {
        return traces::run(traces, format);
    }
    if simulate.list {
        return Ok(list());
    }
    let world = World::find(&simulate.world).map_err(|error| Refusal::usage(error.to_string()))?;
    let world = Arc::new(world);
    let days = simulate.days.unwrap_or(world.days);
    let threads = simulate.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let seeds = match (&simulate.seeds, simulate.seed) {
        (Some(text), _) => seeds(text)?,
        (None, Some(seed)) => vec![seed],
        (None, None) => world.seeds.clone(),
    };
    let rates = match simulate.rate {
        Some(rate) => vec![rate],
        None if world.sweep.is_empty() => vec![world.rate],
        None => world.sweep.clone(),
    };
    if simulate.tune {
        return Ok(tune(&world, days, rates, seeds[0], threads));
    }
    let policies = if simulate.policies.is_empty() { world.policies.clone() } else { simulate.policies.clone() };
    let log = match &simulate.log {
        None => Log::default(),
        Some(_) if policies.len() * seeds.len() * rates.len() > 1 => {
            return Err(Refusal::usage(
                "--log writes one run; write one policy, one rate and one seed, such as --policies learned --seed 1",
            ));
        }
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| Refusal::nothing(format!("writing the log to {}: {error}", path.display())))?;
            Log::to(Box::new(BufWriter::new(file)))
        }
    };
    let campaign = Campaign { world: world.clone(), policies, seeds, rates, days, log: log.clone(), threads };
    let teller = Teller::new();
    let outcomes = campaign.run(&|progress| teller.tell(&progress)).map_err(Refusal::usage)?;
    teller.end();
    log.end().map_err(|error| Refusal::nothing(format!("writing the log: {error}")))?;
    let verdicts = judge(&world, &outcomes);
    let shown = Shown { world: &world, days, outcomes: &outcomes, verdicts: &verdicts };
    Ok(match format {
        Format::Text => text::text(&shown),
        Format::Json => format!("{:#}\n", json::json(&shown)),
        Format::Html => html::html(&shown),
    })
}

fn tune(world: &Arc<World>, days: f64, rates: Vec<f64>, seed: u64, threads: usize) -> String {
    let at = rates.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let search = Search { world: world.clone(), days, rates, seed, rounds: 2, threads };
    let began = Instant::now();
    let found = search.run(&|share, what| {
        let _ = writeln!(io::stderr(), "{:3.0} % {what}, {} left", 100.0 * share, left(began.elapsed(), share));
    });
    format!(
        "# {} days at {at} requests/s, seed {seed}, {} runs: a request was worth {:.4}\n{}",
        days,
        found.runs,
        found.utility,
        found.as_toml()
    )
}

fn list() -> String {
    let style = style();
    let mut text = format!("{}\n", style.heading("Worlds"));
    for (name, _) in EMBEDDED {
        let about = World::find(name).map(|world| world.about).unwrap_or_default();
        text.push_str(&format!("  {name:20} {about}\n"));
    }
    text.push_str(&format!("\n{}\n", style.heading("Policies")));
    for (name, about, _) in POLICIES {
        text.push_str(&format!("  {name:20} {about}\n"));
    }
    text
}

/// Tells on the standard error output how far the runs are.
struct Teller {
    began: Instant,
    told: Mutex<Option<Instant>>,
    terminal: bool,
}

impl Teller {
    fn new() -> Self {
        Self { began: Instant::now(), told: Mutex::new(None), terminal: io::stderr().is_terminal() }
    }

    fn tell(&self, progress: &Progress) {
        let now = Instant::now();
        let elapsed = now - self.began;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = if self.terminal { OFTEN } else { SELDOM };
        if elapsed < SOON || told.is_some_and(|told| now - told < pause) {
            return;
        }
        *told = Some(now);
        let Progress { share, policy, seed, day } = progress;
        let line =
            format!("{:3.0} %  {policy}, seed {seed}, day {day:.1}; {} left", 100.0 * share, left(elapsed, *share));
        let mut out = io::stderr().lock();
        // A terminal that cannot be written to is no reason to stop.
        let _ = if self.terminal { write!(out, "\r{line:<72}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    fn end(&self) {
        if self.terminal && self.began.elapsed() >= SOON {
            let _ = write!(io::stderr(), "\r{:<72}\r", "");
        }
    }
}

/// How long it goes on if the rest takes as long as what is done.
fn left(elapsed: Duration, share: f64) -> String {
    let seconds = elapsed.mul_f64((1.0 - share) / share.max(1e-6)).as_secs();
    if seconds < 90 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}
