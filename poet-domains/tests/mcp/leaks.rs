//! A thousand connections that were used, abandoned in the middle of a call and lost leave nothing behind: no process,
//! no socket, no task.
//!
//! What is counted belongs to the whole process, so the drill has one to itself: this test program, started again.

use crate::server::{Action, Asked, Server};
use crate::streams::Play;
use crate::{sse_faults, websocket_faults};
use poet_domains::mcp::{Limits, Session, Target};
use serde_json::Map;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

const ALONE: &str = "POET_TEST_LEAKS";
/// For each of four transports.
const ROUNDS: usize = 250;

/// A server in a few lines of shell, because a thousand of it are started: it says its process, or nothing.
const CHILD: &str = r#"
while read -r line; do
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    case $line in
    *\"server/discover\"*) answer='"error":{"code":-32601,"message":"no"}' ;;
    *\"initialize\"*) answer='"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *\"tools/list\"*) answer='"result":{"tools":[{"name":"write","inputSchema":{"type":"object"}}]}' ;;
    *\"write\"*) answer='"result":{"content":[{"type":"text","text":"'$$'"}]}' ;;
    *) continue ;;
    esac
    echo "{\"jsonrpc\":\"2.0\",\"id\":$id,$answer}"
done
"#;

/// What a process can leave behind.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Left {
    children: usize,
    files: usize,
    tasks: usize,
}

impl Left {
    fn now() -> Self {
        let me = std::process::id().to_string();
        let is_mine = |process: String| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(1)) == Some(&*me)
        };
        let processes =
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Self {
            // Those that have ended and that nobody waited for are counted too.
            children: processes.filter(|process| is_mine(process.clone())).count(),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
        }
    }

    /// What there is once it is no more than before; what there still is after a while.
    async fn settled(before: Self) -> Self {
        let began = Instant::now();
        loop {
            let now = Self::now();
            let is_settled = now.children <= before.children && now.files <= before.files && now.tasks <= before.tasks;
            if is_settled || began.elapsed() > Duration::from_secs(20) {
                return now;
            }
            // The end of processes and of connections is told to nobody here.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[test]
fn a_thousand_connections_leave_no_process_no_socket_and_no_task() {
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args(["--exact", "leaks::drill", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Not a test of its own: what the test above starts.
#[tokio::test]
async fn drill() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let http = Server::start(|asked| if asked.before.is_multiple_of(2) { asked.done() } else { hold(asked) }).await;
    let every_other = |before: usize| if before.is_multiple_of(2) { Play::Answer } else { Play::Silence };
    let sse = sse_faults::Server::start(every_other).await;
    let websocket = websocket_faults::Server::start(every_other).await;
    let targets = [Target::stdio("sh", ["-c", CHILD]), Target::http(http.url()), sse.target(), websocket.target()];
    let at_rest = Left::now();
    // Once before it is counted, so that what is made once and kept is there.
    for target in &targets {
        round(target, 0).await;
    }
    let before = Left::settled(Left { children: 0, ..at_rest }).await;
    for number in 0..ROUNDS {
        for target in &targets {
            round(target, number).await;
        }
    }
    assert_eq!(Left::settled(before).await, before);
}

fn hold(_: &Asked) -> Action {
    Action::Hold(Vec::new())
}

/// Connects, calls, abandons a call, and ends in one of four ways.
async fn round(target: &Target, number: usize) {
    let session = Session::new(target.clone(), Limits::default());
    let until = Instant::now() + Duration::from_secs(20);
    let answer = session.call("write", &Map::new(), until, None).await.unwrap();
    let nobody_answers = if let Target::Stdio { .. } = target { "hang" } else { "write" };
    let arguments = Map::new();
    let abandoned = session.call(nobody_answers, &arguments, until, None);
    assert!(tokio::time::timeout(Duration::from_millis(1), abandoned).await.is_err());
    match number % 4 {
        0 => session.close(),
        1 => drop(session),
        // The server is killed, where it is ours to kill, and is noticed to be gone by the next call or by nobody.
        way => {
            if let Target::Stdio { .. } = target {
                let killed = std::process::Command::new("kill").args(["-KILL", &answer.text]).status().unwrap();
                assert!(killed.success());
            }
            if way == 2 {
                let _ = session.list_tools(until).await;
            }
        }
    }
}
