//! What may be written on the command line.

use anyhow::{Context, bail};
use std::time::Duration;

pub(crate) const HELP: &str = "\
Kills the processes of a durable queue at random points, and counts what came of every job.

Usage: queue_drill [--jobs N] [--kills N] [--workers N] [--seed N] [--lease MILLISECONDS]

  --jobs N     jobs that are acknowledged before it ends [default: 100000]
  --kills N    processes that are killed with SIGKILL [default: 50]
  --workers N  worker processes on one file [default: 2]
  --seed N     what decides when and who [default: 1]
  --lease MS   how long a job is taken to be under way without a sign of its worker [default: 1000]

Exit codes: 0 every promise was kept, 1 one was broken, 2 it could not be found out.
";

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) jobs: usize,
    pub(crate) kills: usize,
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    pub(crate) lease: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { jobs: 100_000, kills: 50, workers: 2, seed: 1, lease: Duration::from_secs(1) }
    }
}

impl Options {
    /// `None` where help is asked for.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            let mut number = || -> anyhow::Result<u64> {
                let written = words.next().with_context(|| format!("`{word}` needs a number"))?;
                written.parse().with_context(|| format!("`{word} {written}`: not a number"))
            };
            match word.as_str() {
                "--jobs" => options.jobs = usize::try_from(number()?)?,
                "--kills" => options.kills = usize::try_from(number()?)?,
                "--workers" => options.workers = usize::try_from(number()?)?.max(1),
                "--seed" => options.seed = number()?,
                "--lease" => options.lease = Duration::from_millis(number()?),
                "--help" | "-h" => return Ok(None),
                _ => bail!("`{word}` is not known; `--help` says what is"),
            }
        }
        Ok(Some(options))
    }
}
