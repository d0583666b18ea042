//! The main job, from end to end: customers are kept in step over four services that fail, and the second run is
//! better than the first because of what the first one learned.
//!
//! ```text
//! cargo run --release --example customer_sync
//! ```
//!
//! It starts four real MCP servers (two over HTTP, two as child processes of their client), each with its own data and
//! its own stated faults; runs a process that calls one annotated function per customer; ends that process; starts it
//! again on the same database; and prints what was different, with the parameters that made it so, and which calls were
//! answered from memory, made as one, put off, or acknowledged and made later, each with its reason.
//!
//! [`worker`] is what a user of the framework would write. The rest is the world around it.

#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

mod command;
mod customers;
mod fleet;
mod servers;
mod show;
mod statistics;
mod worker;

use anyhow::Context;
use command::{Command, Demonstration, Posting};
use fleet::Fleet;
use servers::station::Station;
use statistics::Summary;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Command::read(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", command::HELP);
            Ok(())
        }
        Ok(Command::Serve(posting)) => serve(posting).await,
        Ok(Command::Work(shift)) => worker::work(&shift, show::report_line).await,
        Ok(Command::Demonstrate(demonstration)) => demonstrate(&demonstration).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Both runs, and what came of them.
async fn demonstrate(demonstration: &Demonstration) -> anyhow::Result<()> {
    let folder = demonstration.folder()?;
    println!("{}", show::introduction(demonstration, folder.path()));

    let fleet = Fleet::start(folder.path(), demonstration.seed).await?;
    let first = fleet.run(&demonstration.shift(folder.path(), 0), "first run").await?;
    // Other customers, so that nothing is easy only because it has been done before; the same servers and shares.
    let second = fleet.run(&demonstration.shift(folder.path(), 1), "second run").await?;
    fleet.stop().await?;

    let (first, second) = (Summary::of(&first), Summary::of(&second));
    println!("{}", show::comparison(&first, &second));
    for (label, summary) in [("first run", &first), ("second run", &second)] {
        println!("{}", show::moves(label, &summary.moves));
    }
    println!("{}", show::servers(&fleet::counts(folder.path())?));
    learned(folder.path()).await?;
    if let Some(kept) = folder.keep(demonstration) {
        println!("The databases are in {}.", kept.display());
    }
    Ok(())
}

/// What the database holds after both processes have ended.
async fn learned(folder: &Path) -> anyhow::Result<()> {
    println!("{}", worker::learned(folder).await?);
    Ok(())
}

/// One of the four servers, until its client goes away or, over HTTP, until the input ends.
async fn serve(posting: Posting) -> anyhow::Result<()> {
    let station = Station::open(posting.service, &posting.folder, posting.pattern)?;
    let Some(port) = posting.port else { return station.serve_stdio().await };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("listening on port {port}"))?;
    println!("http://{}/mcp", listener.local_addr()?);
    std::io::stdout().flush()?;
    let (mut input, mut nowhere) = (tokio::io::stdin(), tokio::io::sink());
    tokio::select! {
        served = station.serve_http(listener) => served?,
        // Whoever started this server holds the other end: a server never outlives the run it was started for.
        _ = tokio::io::copy(&mut input, &mut nowhere) => {}
    }
    Ok(())
}
