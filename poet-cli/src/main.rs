//! The `poet` command: what the services of a program do, what was learned about them, and why.
//!
//! Reports only read: the database is opened read-only, beside the program that writes it. Only what a person decides
//! about a value or a job of the queue is written, and what comes of the calls that are made.
//!
//! Exit codes: 0 for an answer, 1 where there is nothing to answer from or about, or what is asked for is not possible,
//! 2 for a command that cannot be understood; `poet call` has more.

mod arguments;
mod audit;
mod call;
mod check;
mod database;
mod decide;
mod lines;
mod params;
mod queue;
mod resolved;
mod schema;
mod services;
mod simulate;
mod tools;
mod traces;
mod work;

use arguments::{Arguments, Command, Format};
use clap::Parser;
use poet_runtime::report::text::Style;
use poet_runtime::report::{Report, Scope, json, text};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(answer) => {
            complain(&answer.aside);
            print(&answer.text, answer.code)
        }
        Err(refusal) => {
            complain(&refusal.message);
            ExitCode::from(refusal.code)
        }
    }
}

fn complain(message: &str) {
    if !message.is_empty() {
        // Nobody may be listening there either; the exit code still says it.
        let _ = writeln!(io::stderr(), "poet: {message}");
    }
}

fn run(arguments: &Arguments) -> Result<Answer, Refusal> {
    if arguments.format == Format::Html && !matches!(arguments.command, Command::Simulate(_)) {
        return Err(Refusal::usage("`--format html` is for `poet simulate`; write text or json"));
    }
    let path = || database::path(arguments, std::env::var_os("POET_DB"));
    match &arguments.command {
        Command::Report { service, limit } => {
            let scope = Scope { service: service.clone(), executions: *limit };
            let report = database::gather(&path()?, &scope)?;
            non_empty(&report, service.as_deref())?;
            Ok(arguments.format.of(|style| text::report(&report, style), || json::report(&report)).into())
        }
        Command::Params(command) => params::run(command, arguments, &path()?).map(Answer::from),
        Command::Audit(command) => audit::run(command, arguments, &path()?),
        Command::Queue(command) => queue::run(command, arguments, &path()?).map(Answer::from),
        Command::Simulate(simulate) => simulate::run(simulate, arguments.format).map(Answer::from),
        Command::Check(command) => check::run(command, arguments),
        Command::Tools(command) => tools::run(command, arguments),
        Command::Call(command) => call::run(command, arguments),
    }
}

/// What is answered, what is said beside it, and the exit code.
#[derive(Debug, Default)]
struct Answer {
    text: String,
    aside: String,
    code: u8,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// Why there is no answer.
#[derive(Debug)]
struct Refusal {
    message: String,
    code: u8,
}

impl Refusal {
    fn nothing(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

fn non_empty(report: &Report, service: Option<&str>) -> Result<(), Refusal> {
    if !report.is_empty() {
        return Ok(());
    }
    Err(Refusal::nothing(match service {
        Some(service) => format!("nothing is known about service `{service}` in {}", report.store),
        None => format!("nothing is recorded yet in {}", report.store),
    }))
}

impl Format {
    fn of(self, text: impl FnOnce(Style) -> String, json: impl FnOnce() -> serde_json::Value) -> String {
        match self {
            Self::Text => text(style()),
            Self::Json | Self::Html => format!("{:#}\n", json()),
        }
    }
}

fn style() -> Style {
    // https://no-color.org: set to anything but nothing.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !no_color { Style::Terminal } else { Style::Plain }
}

fn print(answer: &str, code: u8) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(answer.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads us has seen enough, as `head` has.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "poet: writing the answer: {error}");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::from(code),
    }
}
