//! A server that is a process of this machine: started at a port, frozen, killed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How to start a server.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl Launch {
    pub(crate) fn new(program: impl Into<String>, args: &[&str]) -> Self {
        let mut env = Vec::new();
        // A stdio server inherits nothing that it is not given.
        for name in ["DO_NOT_TRACK", "OTEL_SDK_DISABLED", "FASTMCP_CHECK_FOR_UPDATES", "FASTMCP_SHOW_SERVER_BANNER"] {
            env.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
        }
        Self { program: program.into(), args: args.iter().map(|&arg| arg.to_owned()).collect(), env }
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it, in a process group of its own, and waits until its port takes connections.
    pub(crate) async fn serve(&self, port: u16) -> Result<Served, String> {
        let child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("starting {}: {error}", self.program))?;
        let mut served = Served { child };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let began = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if let Ok(Some(status)) = served.child.try_wait() {
                return Err(format!("{} ended with {status} before it listened on port {port}", self.program));
            }
            if began.elapsed() > Duration::from_secs(30) {
                return Err(format!("{} does not listen on port {port} after 30 s", self.program));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(served)
    }
}

/// A server that is reached at a port. Dropping it kills it, with what it started.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
}

impl Served {
    /// Its process group, as [`send`] takes it.
    pub(crate) fn group(&self) -> Result<String, String> {
        let group = self.child.id().ok_or("the server has ended by itself")?;
        Ok(format!("-{group}"))
    }

    /// Kills it and waits until it is gone, and its port free.
    pub(crate) async fn kill(mut self) -> Result<(), String> {
        send(Signal::Kill, &self.group()?)?;
        self.child.wait().await.map_err(|error| format!("waiting for the server's end: {error}"))?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Its process is killed by tokio; what it started is not.
        let _ = self.group().and_then(|group| send(Signal::Kill, &group));
    }
}

/// What a process can be told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Ends it at once.
    Kill,
    /// Freezes it.
    Stop,
    /// Lets it go on.
    Continue,
}

/// Freezes a process, or a group if the number is negative, and waits until it has stopped.
///
/// A signal is sent at once and taken note of later; a server of several threads may still answer meanwhile.
pub(crate) async fn freeze(process: &str) -> Result<(), String> {
    send(Signal::Stop, process)?;
    let process = process.trim_start_matches('-');
    let began = Instant::now();
    while !is_frozen(process) {
        if began.elapsed() > Duration::from_secs(5) {
            return Err(format!("process {process} does not stop"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Whether every thread of a process has stopped.
fn is_frozen(process: &str) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.flatten().all(|thread| stat(&thread.path())[0].starts_with('T'))
}

/// Sends a signal to a process, or to a group if the number is negative.
pub(crate) fn send(signal: Signal, process: &str) -> Result<(), String> {
    let name = match signal {
        Signal::Kill => "-KILL",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
    };
    let status = std::process::Command::new("kill").args([name, "--", process]).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("kill {name} {process}: {status}")),
        Err(error) => Err(format!("kill {name} {process}: {error}")),
    }
}

/// The processes that this one has started and that have not ended.
pub(crate) fn children() -> Vec<String> {
    let me = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|process| stat(&Path::new("/proc").join(process)).get(1) == Some(&me) && is_running(process))
        .collect()
}

/// What the children are doing: their state, the processor time they took, and what they wait for in the kernel.
pub(crate) fn described() -> String {
    let described = children().into_iter().map(|child| {
        let place = Path::new("/proc").join(&child);
        let fields = stat(&place);
        let field = |at: usize| fields.get(at).map_or("?", String::as_str);
        let waits_in = std::fs::read_to_string(place.join("wchan")).unwrap_or_default();
        format!("process {child}: {}, {} + {} ticks, in {waits_in}", field(0), field(11), field(12))
    });
    let described: Vec<_> = described.collect();
    if described.is_empty() { "no process".to_owned() } else { described.join(", ") }
}

/// Whether anything of a process is left that could read: its first thread may be gone before the others.
fn is_running(process: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads.into_iter().any(|thread| {
        let state = &stat(&thread.path())[0];
        !state.is_empty() && !state.starts_with(['Z', 'X'])
    })
}

/// What the kernel says of a process or a thread behind its name, which may contain anything: the state, the parent, and
/// more. One empty field where it is gone.
fn stat(place: &Path) -> Vec<String> {
    let stat = std::fs::read_to_string(place.join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().unwrap_or_default().split(' ').map(str::to_owned).collect()
}

/// A port nobody uses.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free port: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}
