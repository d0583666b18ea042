//! What poet adds to a bare call of a tool on the loopback device, and whether calls at once wait for each other.
//!
//! `cargo bench --bench loopback -- [--calls N]`
//!
//! The bare call is `call_tool` of the SDK that poet's own layer is built on. Both clients live on one thread and call
//! the same server in turns, so that whatever slows the machine down slows both; who goes first alternates too. Their
//! connections are apart.

use poet::Runtime;
use poet::config::{Config, ServiceConfig, ToolConfig};
use poet::mcp::McpResource;
use poet_benches::echo::{self, ECHO, SLOW};
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls of each kind in a full run.
const CALLS: usize = 10_000;
/// Calls before the first one counts.
const WARM_UP: usize = 500;
/// Calls at once.
const PARALLEL: usize = 64;
/// The argument with which this program is the server.
const SERVE: &str = "serve";

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Bare = RunningService<RoleClient, ()>;

fn main() -> Result<()> {
    let mut calls = CALLS;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            SERVE => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                return Ok(runtime.block_on(echo::over_stdio())?);
            }
            "--calls" => calls = arguments.next().ok_or("--calls needs a number")?.parse()?,
            // Cargo adds it to every benchmark.
            "--bench" => {}
            unknown => return Err(format!("unknown option {unknown}").into()),
        }
    }
    // The SDK's own HTTP client needs one, though nothing here is encrypted.
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a provider of cryptography was there")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(calls))
}

async fn measure(calls: usize) -> Result<()> {
    let this = std::env::current_exe()?.to_str().ok_or("the path of this program is no text")?.to_owned();
    let events = echo::over_http(false)?;
    let json = echo::over_http(true)?;
    let tool = || ToolConfig::default().idempotent();
    let config = [
        ServiceConfig::http("events", &events),
        ServiceConfig::http("json", &json),
        ServiceConfig::stdio("stdio", &this).arg(SERVE),
    ]
    .into_iter()
    .map(|service| service.tool(ECHO, tool()).tool(SLOW, tool()))
    .fold(Config::default(), Config::service);
    Runtime::builder().configuration(config).in_memory().build()?.install()?;

    let mut child = tokio::process::Command::new(&this);
    child.arg(SERVE);
    let pairs = [
        ("HTTP, events", bare(http(events)?).await?, McpResource::new("events")),
        ("HTTP, JSON", bare(http(json)?).await?, McpResource::new("json")),
        ("stdio", bare(TokioChildProcess::new(child)?).await?, McpResource::new("stdio")),
    ];
    println!("\n{:<34} {:>17} {:>17} {:>17}", format!("{calls} calls, us"), "bare", "poet", "added");
    for (name, bare, poet) in &pairs {
        let [bare_took, poet_took] = alternate(calls, bare, poet).await?;
        for (figure, bare, poet) in [("median", bare_took[0], poet_took[0]), ("p99", bare_took[1], poet_took[1])] {
            println!("{:<34} {bare:>17.1} {poet:>17.1} {:>17.1}", format!("{name}: {figure}"), poet - bare);
        }
    }
    println!(
        "\n{:<34} {:>17} {:>17}",
        format!("{PARALLEL} calls at once of {:?}, in ms", echo::SLOWLY),
        "bare",
        "poet"
    );
    for (name, bare, poet) in pairs {
        let bare = Arc::new(bare);
        let bare = at_once(|n| {
            let bare = bare.clone();
            async move { bare.call_tool(call(SLOW, n)).await.is_ok() }
        });
        let bare = bare.await?;
        let poet = at_once(|n| {
            let poet = poet.clone();
            async move { poet.call_tool(SLOW, arguments(n)).await.is_ok() }
        });
        let poet = poet.await?;
        println!("{name:<34} {:>17.1} {:>17.1}", bare.as_secs_f64() * 1e3, poet.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// The SDK's own transport, with a client that keeps its connections, as poet's does; the SDK's default connects anew
/// for every call.
fn http(url: String) -> Result<StreamableHttpClientTransport<reqwest::Client>> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    Ok(StreamableHttpClientTransport::with_client(client, StreamableHttpClientTransportConfig::with_uri(url)))
}

/// A client as the SDK's users make it, which speaks the newest revision as poet does.
async fn bare<T, E, A>(transport: T) -> Result<Bare>
where
    T: rmcp::transport::IntoTransport<RoleClient, E, A>,
    E: Error + Send + Sync + 'static,
{
    let newest = vec![ProtocolVersion::LATEST];
    let mode = ClientLifecycleMode::Auto { preferred_versions: newest, legacy_version: None };
    Ok(().serve_with_lifecycle(transport, mode).await?)
}

fn arguments(n: usize) -> Value {
    json!({ "id": n, "name": "Ada Lovelace", "tags": ["first", "programmer"] })
}

fn call(tool: &'static str, n: usize) -> CallToolRequestParams {
    let arguments = match arguments(n) {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    CallToolRequestParams::new(tool).with_arguments(arguments)
}

/// Calls the echo once, bare (turn 0) or through poet (turn 1).
async fn once(turn: usize, n: usize, bare: &Bare, poet: &McpResource) -> Result<()> {
    let id = match turn {
        0 => bare.call_tool(call(ECHO, n)).await?.structured_content.and_then(|value| value["id"].as_u64()),
        _ => poet.call_tool(ECHO, arguments(n)).await?.value()["id"].as_u64(),
    };
    if id == Some(n as u64) { Ok(()) } else { Err("that is no echo".into()) }
}

/// Calls the echo in turns; median and 99th percentile of each, in microseconds.
async fn alternate(calls: usize, bare: &Bare, poet: &McpResource) -> Result<[[f64; 2]; 2]> {
    let mut took = [Vec::with_capacity(calls), Vec::with_capacity(calls)];
    for n in 0..WARM_UP + calls {
        for turn in [n % 2, 1 - n % 2] {
            let began = Instant::now();
            once(turn, n, bare, poet).await?;
            let elapsed = began.elapsed();
            if n >= WARM_UP {
                took[turn].push(elapsed.as_nanos() as f64 / 1e3);
            }
        }
    }
    Ok(took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        [50, 99].map(|percent| took[took.len() * percent / 100])
    }))
}

/// Makes calls at once; how long until the last of them has ended.
async fn at_once<F>(call: impl Fn(usize) -> F) -> Result<Duration>
where
    F: Future<Output = bool> + Send + 'static,
{
    let began = Instant::now();
    let calls: Vec<_> = (0..PARALLEL).map(|n| tokio::spawn(call(n))).collect();
    for call in calls {
        if !call.await? {
            return Err("a call that was made at once with others failed".into());
        }
    }
    Ok(began.elapsed())
}
