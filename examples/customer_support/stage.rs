//! The processes of the example: three servers, and the program that calls them.

use crate::desks::{self, Books, Desk};
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a process may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// The servers. They end with this value.
#[derive(Debug)]
pub(crate) struct Stage(Vec<Part>);

#[derive(Debug)]
struct Part {
    name: &'static str,
    url: String,
    child: Child,
    /// The server tells what it counted and ends when this is closed.
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Stage {
    pub(crate) async fn set(seed: u64) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        for name in desks::ALL {
            parts.push(Part::start(name, seed).await.with_context(|| format!("starting {name}"))?);
        }
        Ok(Self(parts))
    }

    /// Runs this program in another role, with the services in its environment as an administrator would put them.
    pub(crate) async fn work(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
        for part in &self.0 {
            command.env(format!("{}_MCP_URL", part.name.to_uppercase()), &part.url);
        }
        for token in ["NOTION_AUTH_TOKEN", "HELPSCOUT_AUTH_TOKEN", "SLACK_BOT_TOKEN"] {
            command.env(token, "a-token-of-the-example");
        }
        let status = command.status().await?;
        ensure!(status.success(), "the program that calls the services ended with {status}");
        Ok(())
    }

    /// Ends the servers, and has what they counted.
    pub(crate) async fn clear(self) -> anyhow::Result<BTreeMap<String, Books>> {
        let mut books = BTreeMap::new();
        for Part { name, mut child, input, mut output, .. } in self.0 {
            drop(input);
            let line = tokio::time::timeout(PATIENCE, output.next_line()).await.context("waiting for a server")??;
            let line = line.with_context(|| format!("{name} tells nothing of what it counted"))?;
            books.insert(name.to_owned(), serde_json::from_str(&line)?);
            let status = tokio::time::timeout(PATIENCE, child.wait()).await.context("waiting for a server")??;
            ensure!(status.success(), "{name} ended with {status}");
        }
        Ok(books)
    }
}

impl Part {
    async fn start(name: &'static str, seed: u64) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", name, "--seed", &seed.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take().context("its input")?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?).lines();
        let line = tokio::time::timeout(PATIENCE, output.next_line()).await.context("it says nothing")??;
        let Some(url) = line else { bail!("it ended with {}", child.wait().await?) };
        Ok(Self { name, url, child, input, output })
    }
}

/// One of the servers, until its input ends: a server never outlives whoever started it.
pub(crate) async fn serve(name: &str, seed: u64, mut say: impl FnMut(&str)) -> anyhow::Result<()> {
    let desk = Desk::open(name, seed).await;
    let desk = desk.with_context(|| format!("there is no service `{name}`; there are {}", desks::ALL.join(", ")))??;
    say(&desk.server.url());
    std::io::stdout().flush()?;
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    say(&serde_json::to_string(&desk.books())?);
    Ok(())
}
