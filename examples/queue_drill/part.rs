//! The parts that are processes of their own, and how one is started.

use crate::domain::World;
use crate::{producer, server, worker};
use anyhow::Context;
use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The variable that tells a process which part it plays.
const PART: &str = "QUEUE_DRILL_PART";

/// One part, with all it has to know.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Part {
    /// Executes jobs and writes each execution to a ledger.
    Server { ledger: PathBuf },
    /// Puts so many calls off.
    Producer { world: World, jobs: usize, seed: u64 },
    /// Makes what was put off until it is killed.
    Worker { world: World },
}

impl Part {
    /// The part this process plays; `None` for the one that directs.
    pub(crate) fn assigned() -> Option<Self> {
        serde_json::from_str(&env::var(PART).ok()?).ok()
    }

    pub(crate) async fn play(self) -> anyhow::Result<()> {
        match self {
            Self::Server { ledger } => server::serve(&ledger).await,
            Self::Producer { world, jobs, seed } => producer::produce(&world, jobs, seed).await,
            Self::Worker { world } => worker::work(&world).await,
        }
    }

    /// Starts the process; its output is read by whoever started it. Dropped, it is killed.
    pub(crate) fn start(&self) -> anyhow::Result<Child> {
        let mut command = Command::new(env::current_exe().context("finding this program")?);
        if cfg!(test) {
            // Within a test, this program is a list of tests.
            command.args(["tests::a_part_is_played", "--exact", "--nocapture"]);
        }
        command.env(PART, serde_json::to_string(self)?).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().context("starting a part")
    }
}
