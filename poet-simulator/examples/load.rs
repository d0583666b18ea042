//! Sends one operation so many calls in so many days of virtual time, through the runtime that users call, and prints
//! what a call costs.
//!
//! Calls come at random (Poisson), and each is answered after a lognormal time; one in a hundred fails and is retried.
//!
//! ```text
//! cargo run --release -p poet-simulator --example load -- --days 7 --calls 10000000
//! ```
//!
//! `--cache ITEMS` makes it a cacheable read of that many items, `--queue` leaves every call to the queue and its
//! worker, and `--floor` leaves the runtime out: what is left is tokio's timers and tasks, below which nothing goes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what an example is for")]

use poet_runtime::config::{Config, QueueConfig, ServiceConfig, ToolConfig};
use poet_runtime::service::{AttemptContext, Caller, Failure, Fetched, Request};
use poet_runtime::store::BoxFuture;
use poet_runtime::{Class, Clock, Error, Priority, Profile, Runtime, Wall};
use poet_simulator::SplitMix64;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Midnight of a Monday.
const MONDAY: Wall = Wall::from_millis(1_699_833_600_000);
/// The median time of an answer in seconds, and the spread of its logarithm.
const MEDIAN: f64 = 0.35;
const SPREAD: f64 = 0.5;
/// The share of attempts that fail.
const FAILS: f64 = 0.01;

struct Options {
    days: f64,
    calls: u64,
    seed: u64,
    /// How many items are read, where it is a cacheable read.
    cache: Option<u64>,
    queue: bool,
    floor: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { days: 1.0, calls: 1_000_000, seed: 1, cache: None, queue: false, floor: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || -> Result<f64, String> {
            let text = arguments.next().ok_or_else(|| format!("`{name}` needs a number"))?;
            let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
            number.ok_or_else(|| format!("`{name}` needs a number above 0, not `{text}`"))
        };
        match name.as_str() {
            "--days" => options.days = number()?,
            "--calls" => options.calls = number()? as u64,
            "--seed" => options.seed = number()? as u64,
            "--cache" => options.cache = Some(number()? as u64),
            "--queue" => options.queue = true,
            "--floor" => options.floor = true,
            _ => {
                let known = "--days N, --calls N, --seed N, --cache ITEMS, --queue, --floor";
                return Err(format!("`{name}` is not known; write {known}"));
            }
        }
    }
    Ok(options)
}

/// A service that takes its time and sometimes fails.
#[derive(Debug)]
struct Service {
    seed: u64,
    attempts: AtomicU64,
}

impl Service {
    async fn ask(&self) -> Result<Fetched, Failure> {
        let mut chance = SplitMix64::of(self.seed, 1, self.attempts.fetch_add(1, Ordering::Relaxed));
        let fails = chance.unit() < FAILS;
        tokio::time::sleep(Duration::from_secs_f64(MEDIAN * (SPREAD * chance.normal()).exp())).await;
        if fails { Err(Failure::new(Class::Transient, "503 service unavailable")) } else { Ok(Value::Null.into()) }
    }
}

impl Caller for Service {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(self.ask())
    }
}

/// Where the worker of the queue finds the service by its name.
static SERVICE: OnceLock<Arc<Service>> = OnceLock::new();
static PROFILE: Profile = Profile { caller: Some(find), ..Profile::named("load") };

fn find(_: &Runtime, service: &str) -> Result<Arc<dyn Caller>, Error> {
    match SERVICE.get() {
        Some(found) => Ok(found.clone()),
        None => Err(Error::configuration(format!("no service {service}"))),
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("load: {problem}");
            return ExitCode::from(2);
        }
    };
    let service = SERVICE.get_or_init(|| Arc::new(Service { seed: options.seed, attempts: AtomicU64::new(0) }));
    let began = Instant::now();
    let time = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let time = time.expect("a runtime needs no more than a thread");
    let ends = time.block_on(live(&options, service));
    let took = began.elapsed().as_secs_f64();
    println!("{} calls in {} virtual days: {took:.2} s", options.calls, options.days);
    println!("  {:.2} us a call, {:.2} s a virtual day", 1e6 * took / options.calls as f64, took / options.days);
    println!("  {} attempts, {} calls failed", service.attempts.load(Ordering::Relaxed), ends.failed);
    if let Some(values) = ends.values {
        println!(
            "  learned: attempt {:?}, retries {:?}, ttl {:?}",
            values.attempt_timeout, values.max_retries, values.cache_ttl
        );
    }
    match peak() {
        Some(peak) => println!("  {peak} at most in memory"),
        None => println!("  the most in memory is not known here"),
    }
    ExitCode::SUCCESS
}

struct Ends {
    failed: u64,
    values: Option<poet_runtime::parameter::Values>,
}

async fn live(options: &Options, service: &Arc<Service>) -> Ends {
    let runtime = Runtime::builder()
        .configuration(config(options))
        .in_memory()
        .profile(&PROFILE)
        .clock(Clock::virtual_from(MONDAY))
        .seed(options.seed)
        .build()
        .expect("the configuration is correct");
    let rate = options.calls as f64 / (86_400.0 * options.days);
    let mut chance = SplitMix64::of(options.seed, 2, 0);
    let mut under_way = JoinSet::new();
    let mut failed = 0;
    let began = tokio::time::Instant::now();
    let mut second = 0.0;
    for _ in 0..options.calls {
        second += -(1.0 - chance.unit()).ln() / rate;
        tokio::time::sleep_until(began + Duration::from_secs_f64(second)).await;
        let item = options.cache.map(|items| chance.next_u64() % items);
        let (runtime, service, floor) = (runtime.clone(), service.clone(), options.floor);
        under_way.spawn(async move {
            if floor {
                return service.ask().await.is_ok();
            }
            runtime.request(request(item), service as Arc<dyn Caller>).await.is_ok()
        });
        while let Some(ended) = under_way.try_join_next() {
            failed += u64::from(!ended.unwrap_or(false));
        }
    }
    while let Some(ended) = under_way.join_next().await {
        failed += u64::from(!ended.unwrap_or(false));
    }
    Ends { failed, values: runtime.values("service", "operation") }
}

fn config(options: &Options) -> Config {
    let mut tool = ToolConfig::default().idempotent();
    if options.cache.is_some() {
        tool = ToolConfig::default().read_only().cacheable();
    }
    if options.queue {
        tool = tool.queued(Priority::Critical);
    }
    let queue = QueueConfig { concurrency: 256, ..QueueConfig::default() };
    Config { queue, ..Config::default() }.service(ServiceConfig::named("service").tool("operation", tool))
}

fn request(item: Option<u64>) -> Request {
    let mut arguments = serde_json::Map::new();
    arguments.insert("id".to_owned(), json!(item.unwrap_or(0)));
    Request { arguments, repeatable: true, read_only: item.is_some(), ..Request::new("service", "operation", &PROFILE) }
}

/// The most memory that the process ever had, as Linux tells it.
fn peak() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().to_owned())
}
