//! Which servers there are, how each is started, and what to ask of it.

use crate::bench::Places;
use crate::process::Launch;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// One row: a server, over one of its transports.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) over: Over,
    launch: Launch,
    port: Port,
    /// A call with a known answer, which may be repeated.
    pub(crate) read: Call,
    /// What the answer to it has in it.
    pub(crate) answer: &'static str,
    /// A call that takes long by itself; where no tool does, the server is frozen instead.
    pub(crate) slow: Option<Call>,
    /// A call the tool itself refuses.
    pub(crate) refused: Call,
    /// The tools it has at least.
    pub(crate) tools: usize,
    /// Where it leaves a line for each execution of the slow call.
    pub(crate) trace: Option<std::path::PathBuf>,
}

/// How the server is spoken to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    Stdio,
    Http(&'static str),
    Sse(&'static str),
    WebSocket(&'static str),
}

/// How the server is told its port.
#[derive(Clone, Copy, Debug)]
enum Port {
    None,
    Env,
    LastArgument,
    /// In front of the other arguments.
    Option,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) tool: &'static str,
    pub(crate) args: Value,
}

fn call(tool: &'static str, args: Value) -> Call {
    Call { tool, args }
}

impl Peer {
    /// How to start it, at a port if it is reached at one.
    pub(crate) fn launch(&self, port: u16) -> Launch {
        let mut launch = self.launch.clone();
        match self.port {
            Port::None => {}
            Port::Env => launch = launch.env("PORT", port.to_string()),
            Port::LastArgument => launch.args.push(port.to_string()),
            Port::Option => launch.args.splice(..0, ["--port".to_owned(), port.to_string()]).for_each(drop),
        }
        launch
    }
}

/// Every row.
pub(crate) fn all(places: &Places) -> Result<Vec<Peer>, String> {
    let Places { installed, scripts, scratch } = places;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let node = text(&installed.join("node/node_modules/.bin/node"));
    let script = |name: &str| {
        text(&installed.join(format!("node/node_modules/@modelcontextprotocol/server-{name}/dist/index.js")))
    };
    let python = |name: &str, program: &str| text(&installed.join(name).join("bin").join(program));
    let fixture = text(&scripts.join("python/fixture.py"));

    let file = scratch.join("seven.txt");
    std::fs::write(&file, "seven").map_err(|error| format!("{}: {error}", file.display()))?;
    let repository = text(&repository(scratch)?);
    let everything = |name, over, transport: &'static str, port| Peer {
        name,
        over,
        port,
        launch: Launch::new(&node, &[&script("everything"), transport]),
        read: call("get-sum", json!({ "a": 3, "b": 4 })),
        answer: "7",
        slow: Some(call("trigger-long-running-operation", json!({ "duration": 5, "steps": 5 }))),
        refused: call("get-resource-reference", json!({ "resourceType": "Text", "resourceId": -1 })),
        tools: 13,
        trace: None,
    };
    let proxy = |name, over| {
        let server = script("everything");
        let launch = Launch::new(python("legacy", "mcp-proxy"), &["--", &node, &server, "stdio"]);
        Peer { launch, ..everything(name, over, "", Port::Option) }
    };
    let fixture = |name: &'static str, era: &str, over, transport: &str, port| {
        let trace = scratch.join(format!("{}.trace", name.replace(' ', "-")));
        Peer {
            name,
            over,
            port,
            launch: Launch::new(python(era, "python"), &[&fixture, transport]).env("EXECUTED", text(&trace)),
            read: call("add", json!({ "a": 3, "b": 4 })),
            answer: "7",
            slow: Some(call("slow", json!({ "seconds": 5 }))),
            refused: call("fail", json!({ "reason": "insufficient funds" })),
            tools: 5,
            trace: Some(trace),
        }
    };
    Ok(vec![
        everything("everything stdio", Over::Stdio, "stdio", Port::None),
        everything("everything sse", Over::Sse("/sse"), "sse", Port::Env),
        everything("everything http", Over::Http("/mcp"), "streamableHttp", Port::Env),
        Peer {
            name: "filesystem stdio",
            over: Over::Stdio,
            port: Port::None,
            launch: Launch::new(&node, &[&script("filesystem"), &text(scratch)]),
            read: call("read_text_file", json!({ "path": text(&file) })),
            answer: "seven",
            slow: None,
            refused: call("read_text_file", json!({ "path": text(&scratch.join("no such file")) })),
            tools: 14,
            trace: None,
        },
        Peer {
            name: "memory stdio",
            over: Over::Stdio,
            port: Port::None,
            launch: Launch::new(&node, &[&script("memory")])
                .env("MEMORY_FILE_PATH", text(&scratch.join("memory.jsonl"))),
            read: call("search_nodes", json!({ "query": "seven" })),
            answer: "entities",
            slow: None,
            refused: call("add_observations", json!({ "observations": [{ "entityName": "nobody", "contents": [] }] })),
            tools: 9,
            trace: None,
        },
        Peer {
            name: "time stdio",
            over: Over::Stdio,
            port: Port::None,
            launch: Launch::new(python("modern", "mcp-server-time"), &["--local-timezone", "UTC"]),
            read: call(
                "convert_time",
                json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo" }),
            ),
            answer: "21:00",
            slow: None,
            refused: call("get_current_time", json!({ "timezone": "Nowhere/Land" })),
            tools: 2,
            trace: None,
        },
        Peer {
            name: "git stdio",
            over: Over::Stdio,
            port: Port::None,
            launch: Launch::new(python("modern", "mcp-server-git"), &["--repository", &repository]),
            read: call("git_status", json!({ "repo_path": repository })),
            answer: "nothing to commit",
            slow: None,
            refused: call("git_show", json!({ "repo_path": repository, "revision": "no-such-revision" })),
            tools: 12,
            trace: None,
        },
        fixture("fixture stdio", "modern", Over::Stdio, "stdio", Port::None),
        fixture("fixture http", "modern", Over::Http("/mcp"), "http", Port::LastArgument),
        fixture("fixture 1.x stdio", "legacy", Over::Stdio, "stdio", Port::None),
        fixture("fixture 1.x http", "legacy", Over::Http("/mcp"), "http", Port::LastArgument),
        fixture("fixture 1.x sse", "legacy", Over::Sse("/sse"), "sse", Port::LastArgument),
        fixture("fixture 1.x websocket", "legacy", Over::WebSocket("/ws"), "websocket", Port::LastArgument),
        proxy("proxy http", Over::Http("/mcp")),
        proxy("proxy sse", Over::Sse("/sse")),
    ])
}

/// A repository with one commit, for the server of git.
fn repository(scratch: &Path) -> Result<std::path::PathBuf, String> {
    let place = scratch.join("repository");
    std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let who = ["-c", "user.name=peer", "-c", "user.email=peer@example.org", "-c", "commit.gpgsign=false"];
    let commit = ["commit", "--quiet", "--allow-empty", "--message", "the first"];
    // Never in the repository that the scratch lies in, should this one be gone.
    let ceiling = std::path::absolute(scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    for command in [&["init", "--quiet"][..], &[&who[..], &commit[..]].concat()] {
        let mut git = Command::new("git");
        git.arg("-C").arg(&place).args(command).env("GIT_CEILING_DIRECTORIES", &ceiling).stdin(Stdio::null());
        let status = git.status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("git {}: {status}", command.join(" "))),
            Err(error) => return Err(format!("git {}: {error}", command.join(" "))),
        }
    }
    Ok(place)
}
