//! Starts and ends the processes of the demonstration: the servers that are reached over HTTP, and the runs.

use crate::command::Shift;
use crate::customers::{Finished, Run};
use crate::servers::ledger::{Counts, Ledger};
use crate::servers::services::{self, Service, Transport};
use crate::show::Progress;
use crate::worker;
use anyhow::{Context, bail, ensure};
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long a process may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// The servers that are reached over HTTP. They end with this value, whatever happens to it.
#[derive(Debug)]
pub(crate) struct Fleet {
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    service: &'static Service,
    url: String,
    child: Child,
    /// The server ends when this is closed.
    input: ChildStdin,
}

impl Fleet {
    /// Starts the servers, each with its data in that folder.
    pub(crate) async fn start(folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for service in services::ALL.iter().filter(|service| service.transport == Transport::Http) {
            let server = Server::start(service, folder, seed).await;
            servers.push(server.with_context(|| format!("starting {}", service.name))?);
        }
        Ok(Self { servers })
    }

    /// Lets another process do the run, and watches it.
    pub(crate) async fn run(&self, shift: &Shift, label: &'static str) -> anyhow::Result<Run> {
        let addresses = self.servers.iter().map(|server| (server.service.name.to_owned(), server.url.clone()));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(shift.arguments());
        command.args(addresses.flat_map(|(name, url)| ["--at".to_owned(), format!("{name}={url}")]));
        let began = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("the output of the run")?).lines();
        let mut progress = Progress::new(label, shift.customers);
        let mut customers = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let customer: Finished = serde_json::from_str(&line).with_context(|| format!("reading `{line}`"))?;
            progress.advance(customer.error.is_none());
            customers.push(customer);
        }
        let took = began.elapsed();
        progress.end();
        let status = child.wait().await?;
        ensure!(status.success(), "the process of the {label} ended with {status}");
        ensure!(customers.len() == shift.customers as usize, "the {label} told of {} customers only", customers.len());
        let calls = worker::calls(&shift.folder).await?;
        Ok(Run { customers, calls, took })
    }

    /// Ends the servers and waits until they are gone.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for Server { service, mut child, input, .. } in self.servers {
            drop(input);
            let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
            let status = ended.with_context(|| format!("{} does not end", service.name))??;
            ensure!(status.success(), "{} ended with {status}", service.name);
        }
        Ok(())
    }
}

impl Server {
    async fn start(service: &'static Service, folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments(service, folder, seed)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let input = child.stdin.take().context("its input")?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?).lines();
        let line = tokio::time::timeout(PATIENCE, output.next_line()).await.context("it says nothing")??;
        let Some(url) = line else { bail!("it ended with {}", child.wait().await?) };
        Ok(Self { service, url, child, input })
    }
}

/// The arguments with which this program serves that service: the way it is reached is the service's own.
pub(crate) fn arguments(service: &Service, folder: &Path, seed: u64) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--serve".into(), service.name.into(), "--data".into(), folder.into()];
    arguments.extend(["--seed".into(), seed.to_string().into()]);
    arguments.extend(match service.transport {
        Transport::Stdio => vec!["--stdio".into()],
        Transport::Http => vec!["--port".into(), "0".into()],
    });
    arguments
}

/// What the services have seen, from their own books.
pub(crate) fn counts(folder: &Path) -> anyhow::Result<Vec<(&'static str, Counts)>> {
    let count = |service: &'static Service| Ok((service.name, Ledger::open(folder, service)?.counts()?));
    services::ALL.iter().map(count).collect()
}
