//! The crash drill of the durable queue: processes are killed at random points, and everything is counted afterwards.
//!
//! ```text
//! cargo run --release --example queue_drill -- --jobs 100000 --kills 50 --workers 2 --seed 1
//! ```
//!
//! A producer puts calls off and names each that was acknowledged; workers, each the worker of a runtime on the same
//! database, have them executed by a server, which writes down every execution; this process kills producer and workers
//! with SIGKILL, starts them again, and at the end compares what was promised with what the server counted. Half of the
//! calls may be repeated. The exit code is 1 if a promise was broken.
//!
//! Each part is a process of this same program: [`server`], [`producer`], [`worker`], and [`drill`], which directs. What
//! a user of the framework would write stands in [`domain`], [`producer`] and [`worker`].

#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

mod domain;
mod drill;
mod options;
mod part;
mod producer;
mod server;
mod tally;
mod worker;

use options::Options;
use part::Part;
use std::io::{self, Write};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let kept = match Part::assigned() {
        Some(part) => part.play().await.map(|()| true),
        None => match Options::read(std::env::args().skip(1)) {
            Ok(Some(options)) => run(&options).await,
            Ok(None) => {
                print!("{}", options::HELP);
                Ok(true)
            }
            Err(error) => Err(error),
        },
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "queue_drill: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every promise was kept.
async fn run(options: &Options) -> anyhow::Result<bool> {
    let tally = drill::run(options, |progress| {
        print!("\r{progress}");
        let _ = io::stdout().flush();
    })
    .await?;
    println!("\n\n{tally}");
    Ok(tally.is_kept())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the processes of the drill below run; by itself it does nothing.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_is_played() {
        if let Some(part) = Part::assigned() {
            part.play().await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_lost_and_nothing_runs_twice_that_must_not() {
        let options = Options { jobs: 2000, kills: 4, workers: 2, ..Options::default() };
        let tally = drill::run(&options, |_| {}).await.unwrap();
        assert!(tally.is_kept(), "{tally}");
        assert_eq!(tally.kills, 4, "{tally}");
    }
}
