//! Tries the layer against MCP servers that people run, over every transport each of them has.
//!
//! ```text
//! tests/peers/run matrix [NAME…]      installs them and runs this
//! ```
//!
//! ```text
//! peers     which servers, how each is started, and what to ask of it     a table
//! process   a server that is a process: started, frozen, killed
//! bench     one row under way: a server, a runtime, calls through it
//! cells     what has to hold                                              a table
//! report    what is printed
//! ```

mod bench;
mod cells;
mod peers;
mod process;
mod report;

use bench::{Bench, Places};
use report::Report;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(installed), Some(scripts)) = (args.next(), args.next()) else {
        report::line("usage: peers INSTALLED SCRIPTS [NAME…]");
        return ExitCode::from(2);
    };
    let wanted: Vec<String> = args.collect();
    let places = match Places::new(&installed, &scripts) {
        Ok(places) => places,
        Err(problem) => {
            report::line(&problem);
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    let peers = match peers::all(&places) {
        Ok(peers) => peers,
        Err(problem) => {
            report::line(&problem);
            return ExitCode::from(2);
        }
    };
    for peer in peers {
        if !wanted.is_empty() && !wanted.iter().any(|part| peer.name.contains(part.as_str())) {
            continue;
        }
        let name = peer.name;
        match Bench::start(peer).await {
            Err(problem) => report.add(name, "start", &Err(problem)),
            Ok(mut bench) => {
                for (cell, claim) in cells::ALL {
                    report.add(name, cell, &claim(&mut bench).await);
                }
                report.add(name, "leave", &bench.leave().await);
            }
        }
    }
    report.finish()
}
