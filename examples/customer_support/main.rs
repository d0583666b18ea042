//! Customer support over three services that fail: a knowledge base, a help desk and a chat.
//!
//! ```text
//! cargo run --example customer_support
//! ```
//!
//! It starts three MCP servers as processes of their own, which fail in stated ways; runs a program that answers three
//! customers and then a crowd of them; and counts at the servers that no ticket was created twice. The exit code is 1
//! if a promise was broken.
//!
//! [`support`] is what a user of the framework would write, over the rules in [`query`] and what is stored in [`node`].
//! The rest is the world around it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what an example is for")]

mod desks;
mod load;
mod node;
mod query;
mod stage;
mod support;
mod tally;

use anyhow::{Context, bail};
use poet::Runtime;
use poet::mcp::Registry;
use query::CustomerQuery;
use stage::Stage;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{NODE, Services, WORKFLOW, customer_support_integration};
use tally::Tally;

const HELP: &str = "\
Answers customers over three failing MCP servers, and shows that nothing is done twice.

    cargo run --example customer_support -- [--customers N] [--parallel N] [--seed N]

    --customers N   customers of the crowd (200)
    --parallel N    customers at a time (8)
    --seed N        another world with the same shares of faults (7)
";

/// What was asked for on the command line.
#[derive(Debug)]
struct Options {
    customers: usize,
    parallel: usize,
    seed: u64,
    /// Be this server.
    serve: Option<String>,
    /// Be the program that calls the servers, and leave what it was told here.
    work: Option<PathBuf>,
}

impl Options {
    /// `None` if somebody wants help.
    fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut options = Self { customers: 200, parallel: 8, seed: 7, serve: None, work: None };
        while let Some(name) = arguments.next() {
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let value = arguments.next().with_context(|| format!("`{name}` needs a value"))?;
            let number = || value.parse().with_context(|| format!("`{name}` needs a whole number, not `{value}`"));
            match name.as_str() {
                "--customers" => options.customers = number()?,
                "--parallel" => options.parallel = number()?.max(1),
                "--seed" => options.seed = number()? as u64,
                "--serve" => options.serve = Some(value),
                "--work" => options.work = Some(value.into()),
                _ => bail!("`{name}` is not known; `--help` shows what is"),
            }
        }
        Ok(Some(options))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let kept = match Options::read(std::env::args().skip(1)) {
        Ok(None) => {
            print!("{HELP}");
            Ok(true)
        }
        Ok(Some(options)) => play(&options).await,
        Err(error) => Err(error),
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("customer_support: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every promise was kept.
async fn play(options: &Options) -> anyhow::Result<bool> {
    if let Some(name) = &options.serve {
        stage::serve(name, options.seed, |line| println!("{line}")).await?;
        return Ok(true);
    }
    match &options.work {
        Some(summary) => work(options, summary).await.map(|()| true),
        None => demonstrate(options).await,
    }
}

async fn demonstrate(options: &Options) -> anyhow::Result<bool> {
    println!("What goes wrong:\n\n{}\n", desks::STATED);
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let summary = folder.path().join("tally.json");
    let path = summary.to_str().context("the temporary folder's path is no text")?;
    let stage = Stage::set(options.seed).await?;
    let (customers, parallel) = (options.customers.to_string(), options.parallel.to_string());
    stage.work(&["--work", path, "--customers", &customers, "--parallel", &parallel]).await?;
    let books = stage.clear().await?;

    let tally: Tally = serde_json::from_slice(&std::fs::read(&summary)?)?;
    println!("{}", tally.table(&books));
    let broken = tally.broken(books.get("helpscout").context("nothing was heard of helpscout")?);
    for promise in &broken {
        println!("BROKEN: {promise}");
    }
    if broken.is_empty() {
        println!("Every promise was kept: no ticket twice, none unwanted, none unreported, no query lost to a fault.");
    }
    Ok(broken.is_empty())
}

/// The program that calls the services: what they are it reads from `poet.yaml` and the environment.
async fn work(options: &Options, summary: &Path) -> anyhow::Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/customer_support/poet.yaml");
    let runtime = Runtime::builder().config(file).in_memory().seed(options.seed).build()?;
    runtime.clone().install()?;
    discover().await?;

    let mut tally = Tally::default();
    for query in CustomerQuery::scenarios() {
        println!("{}  {}", query.customer_id, query.question);
        let began = Instant::now();
        let handled = customer_support_integration(&query, &Services::all()).await;
        if let Ok(processed) = &handled {
            for step in &processed.steps {
                println!("  {step}");
            }
            println!("  after {} ms, {NODE} stores\n", began.elapsed().as_millis());
            println!("{:#}\n{}\n", processed.node.stored(), processed.node.metadata());
        }
        tally.add(&(query, handled));
    }

    let began = Instant::now();
    let crowd = load::handle(&runtime, &Services::all(), options.customers, options.parallel).await;
    println!("{WORKFLOW} for {} more, in {:.1} s\n", crowd.len(), began.elapsed().as_secs_f64());
    crowd.iter().for_each(|handled| tally.add(handled));
    std::fs::write(summary, serde_json::to_vec(&tally)?).context("writing what callers were told")?;
    Ok(runtime.shutdown(Duration::from_secs(5)).await?)
}

/// Which tools there are: before the first call, of all services at once.
async fn discover() -> anyhow::Result<()> {
    let registry = Registry::discover(Duration::from_secs(5)).await?;
    for listing in registry.services() {
        if let Some(problem) = &listing.problem {
            println!("{:<11} {problem}", listing.service);
        }
        for tool in &listing.tools {
            let twice = if tool.repeatable.holds() { "may be repeated" } else { "never twice" };
            let hash = tool.info.schema_hash();
            println!("{:<11} {:<21} {twice:<16} schema {hash:016x}", listing.service, tool.info.name);
        }
    }
    println!();
    Ok(())
}
