//! Starts an MCP server as a child process, and keeps what it says on its standard error.
//!
//! An unread pipe fills and stops the server, so it is always drained; the last lines are kept, because they are
//! usually the reason why the child is gone.

use crate::mcp::fault::{Fault, McpError};
use rmcp::transport::TokioChildProcess;
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// What a child inherits of our environment, as in the other SDKs: enough to run, none of our secrets.
const INHERITED: &[&str] = &[
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    // Windows.
    "APPDATA",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROCESSOR_ARCHITECTURE",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
];

/// Starts the child, and the task that drains its standard error.
pub(super) fn start(
    command: &str,
    args: &[String],
    env: &BTreeMap<String, String>,
) -> Result<(TokioChildProcess, LastWords), McpError> {
    let mut child = Command::new(command);
    child.args(args).env_clear().kill_on_drop(true);
    child.envs(INHERITED.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))));
    child.envs(env);
    let spawned = TokioChildProcess::builder(child).stderr(Stdio::piped()).spawn();
    let (transport, stderr) = spawned.map_err(|error| {
        let fault = match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::InvalidInput => Fault::Start,
            _ => Fault::Connect,
        };
        McpError::caused_by(fault, format!("starting `{command}`: {error}"), error)
    })?;
    let words = LastWords::new(env);
    if let Some(stderr) = stderr {
        tokio::spawn(drain(stderr, words.clone()));
    }
    Ok((transport, words))
}

async fn drain(mut stderr: ChildStderr, words: LastWords) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        words.append(&buffer[..read]);
    }
    words.ended.send_replace(true);
}

/// The end of what a child wrote to its standard error.
#[derive(Clone, Debug)]
pub(super) struct LastWords {
    kept: Arc<Mutex<VecDeque<u8>>>,
    ended: watch::Sender<bool>,
    secrets: Arc<[String]>,
}

impl LastWords {
    const BYTES: usize = 4096;
    const LINES: usize = 5;

    fn new(env: &BTreeMap<String, String>) -> Self {
        // Short values (`1`, `true`, `info`) are no secrets, and replacing them would garble the text.
        let secrets = env.values().filter(|value| value.len() >= 8).cloned().collect();
        Self { kept: Arc::default(), ended: watch::Sender::new(false), secrets }
    }

    fn append(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let surplus = kept.len().saturating_sub(Self::BYTES);
        kept.drain(..surplus);
    }

    /// The last lines of a child that seems to be gone: its output may end a moment before its words are read.
    pub(super) async fn of_the_dead(&self) -> Option<String> {
        const MOMENT: Duration = Duration::from_millis(20);
        let _ = timeout(MOMENT, self.ended.subscribe().wait_for(|&ended| ended)).await;
        self.get()
    }

    /// The last lines, without the values the child was given in its environment; `None` if it said nothing.
    fn get(&self) -> Option<String> {
        let bytes: Vec<u8> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().copied().collect()
        };
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for secret in self.secrets.iter() {
            text = text.replace(secret.as_str(), "…");
        }
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(Self::LINES)..].join(" | ");
        (!last.is_empty()).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_no_secret_of_the_environment() {
        let env = BTreeMap::from([("TOKEN".to_owned(), "hunter2hunter2".to_owned()), ("LEVEL".into(), "1".into())]);
        let words = LastWords::new(&env);
        assert_eq!(words.get(), None);
        for line in 0..2000 {
            words.append(format!("line {line}\n").as_bytes());
        }
        words.append(b"login with hunter2hunter2 failed, level 1\n\n");
        assert_eq!(
            words.get().as_deref(),
            Some("line 1996 | line 1997 | line 1998 | line 1999 | login with … failed, level 1")
        );
        assert!(words.kept.lock().unwrap().len() <= LastWords::BYTES);
    }
}
