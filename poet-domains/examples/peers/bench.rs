//! One row under way: a server, a runtime, and calls through every stage of it.

use crate::peers::{Call, Over, Peer};
use crate::process::{self, Launch, Served, Signal};
use poet_domains::mcp::{McpRequest, McpResource};
use poet_runtime::config::{Config, ServiceConfig, Transport};
use poet_runtime::{Error, Reply, Runtime};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name every server is configured under.
const SERVICE: &str = "peer";

/// Where things are.
#[derive(Debug)]
pub(crate) struct Places {
    /// What was installed.
    pub(crate) installed: PathBuf,
    /// The scripts of ours.
    pub(crate) scripts: PathBuf,
    /// A folder for what servers write, made anew.
    pub(crate) scratch: PathBuf,
}

impl Places {
    pub(crate) fn new(installed: &str, scripts: &str) -> Result<Self, String> {
        let found = |place: &str| Path::new(place).canonicalize().map_err(|error| format!("{place}: {error}"));
        let installed = found(installed)?;
        let scratch = installed.join("scratch");
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        Ok(Self { installed, scripts: found(scripts)?, scratch })
    }
}

/// What a call asks for beside what it calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) idempotent: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<u8>,
    pub(crate) deadline: Duration,
}

impl Wish {
    /// A call that must not run twice.
    pub(crate) const ONCE: Self =
        Self { idempotent: false, timeout: None, retries: None, deadline: Duration::from_secs(20) };
    /// A call that may be repeated.
    pub(crate) const REPEATABLE: Self = Self { idempotent: true, ..Self::ONCE };
}

/// A server and the runtime that calls it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) peer: Peer,
    runtime: Runtime,
    served: Option<Served>,
    port: u16,
    /// How long the first connection took.
    pub(crate) connect: Duration,
}

impl Bench {
    pub(crate) async fn start(peer: Peer) -> Result<Self, String> {
        let port = process::free_port()?;
        let launch = peer.launch(port);
        let served = if let Over::Stdio = peer.over { None } else { Some(launch.serve(port).await?) };
        let at = |transport, scheme: &str, path: &str| {
            let url = format!("{scheme}://127.0.0.1:{port}{path}");
            ServiceConfig { transport, ..ServiceConfig::http(SERVICE, url) }
        };
        let service = match peer.over {
            Over::Stdio => stdio(&launch),
            Over::Http(path) => at(Transport::Http, "http", path),
            Over::Sse(path) => at(Transport::Sse, "http", path),
            Over::WebSocket(path) => at(Transport::WebSocket, "ws", path),
        };
        // Each row fails more often than a healthy service does, and a circuit that opened would answer for it.
        let service = service.pin("breaker.failure_threshold", 50);
        let runtime = Runtime::builder()
            .configuration(Config::default().service(service))
            .in_memory()
            .seed(7)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { peer, runtime, served, port, connect: Duration::ZERO })
    }

    pub(crate) fn is_stdio(&self) -> bool {
        matches!(self.peer.over, Over::Stdio)
    }

    /// The names of the server's tools.
    pub(crate) async fn tools(&self) -> Result<Vec<String>, String> {
        let listed = self.runtime.scope(McpResource::new(SERVICE).list_tools()).await;
        let tools = listed.map_err(|error| format!("{error:?}"))?;
        Ok(tools.into_iter().map(|tool| tool.name).collect())
    }

    /// Makes a call.
    pub(crate) fn call(&self, call: &Call, wish: Wish) -> impl Future<Output = Result<Reply, Error>> + Send + 'static {
        let (runtime, call) = (self.runtime.clone(), call.clone());
        async move { runtime.scope(described(&McpResource::new(SERVICE), call, wish).call()).await }
    }

    /// The server's process, as signals are sent to it.
    ///
    /// Over stdio it is the one child of ours there is, once a replaced one has left.
    async fn process(&self) -> Result<String, String> {
        if let Some(served) = &self.served {
            return served.group();
        }
        let began = Instant::now();
        loop {
            match process::children().as_slice() {
                [child] => return Ok(child.clone()),
                children if began.elapsed() > Duration::from_secs(10) => {
                    return Err(format!("one child is the server, found {children:?}"));
                }
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// Freezes the server; what is returned thaws it.
    pub(crate) async fn freeze(&self) -> Result<Frozen, String> {
        let process = self.process().await?;
        process::freeze(&process).await?;
        Ok(Frozen(process))
    }

    /// Kills the server, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        match self.served.take() {
            Some(served) => served.kill().await,
            None => {
                let child = self.process().await?;
                process::send(Signal::Kill, &child)?;
                gone(&[child]).await
            }
        }
    }

    /// Ends the row: lets go of everything, and waits until nothing of it is left.
    pub(crate) async fn leave(self) -> Result<String, String> {
        let Self { runtime, served, .. } = self;
        let began = Instant::now();
        runtime.shutdown(Duration::from_secs(5)).await.map_err(|error| error.to_string())?;
        drop(runtime);
        if let Some(served) = served {
            served.kill().await?;
        }
        gone(&process::children()).await?;
        Ok(format!("{} ms", began.elapsed().as_millis()))
    }

    /// Makes a call and kills the server a while later; says how long after its death the call ended.
    pub(crate) async fn while_killed(
        &mut self,
        call: &Call,
        wish: Wish,
        later: Duration,
    ) -> Result<(Result<Reply, Error>, Duration), String> {
        self.while_struck(call, wish, later, false).await
    }

    /// The same, and starts the server again before the call has ended.
    pub(crate) async fn while_restarted(
        &mut self,
        call: &Call,
        wish: Wish,
        later: Duration,
    ) -> Result<(Result<Reply, Error>, Duration), String> {
        self.while_struck(call, wish, later, true).await
    }

    async fn while_struck(
        &mut self,
        call: &Call,
        wish: Wish,
        later: Duration,
        comes_back: bool,
    ) -> Result<(Result<Reply, Error>, Duration), String> {
        let under_way = tokio::spawn(self.call(call, wish));
        tokio::time::sleep(later).await;
        self.kill().await?;
        let died = Instant::now();
        if comes_back {
            self.revive().await?;
        }
        let result = under_way.await.map_err(|error| error.to_string())?;
        Ok((result, died.elapsed()))
    }

    /// Starts the server again, where that is not the layer's own business.
    pub(crate) async fn revive(&mut self) -> Result<(), String> {
        if !self.is_stdio() {
            self.served = Some(self.peer.launch(self.port).serve(self.port).await?);
        }
        Ok(())
    }
}

fn described(resource: &McpResource, call: Call, wish: Wish) -> McpRequest {
    let mut request = resource.tool(call.tool).args(call.args).deadline(wish.deadline);
    if wish.idempotent {
        request = request.idempotent();
    }
    if let Some(timeout) = wish.timeout {
        request = request.timeout(timeout);
    }
    if let Some(retries) = wish.retries {
        request = request.retries(retries);
    }
    request
}

/// A frozen server, which goes on when this is dropped.
#[derive(Debug)]
pub(crate) struct Frozen(String);

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = process::send(Signal::Continue, &self.0);
    }
}

fn stdio(launch: &Launch) -> ServiceConfig {
    let service =
        launch.args.iter().fold(ServiceConfig::stdio(SERVICE, &launch.program), |service, arg| service.arg(arg));
    launch.env.iter().fold(service, |service, (name, value)| service.env(name, value))
}

/// Waits until processes have ended.
async fn gone(processes: &[String]) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let left: Vec<_> = process::children().into_iter().filter(|child| processes.contains(child)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(10) {
            return Err(format!("after 10 s these are still there: {left:?}"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
