//! What may be typed after `poet`.

use clap::{Parser, Subcommand, ValueEnum};
use poet_runtime::FailureKind;
use poet_runtime::report::Scope;
use std::path::PathBuf;

/// Shows what a program's services do, what was learned about them, and why.
#[derive(Debug, Parser)]
#[command(
    name = "poet",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  poet report --db poet.db                     how every service does, and who decided its limits
  poet report --service salesforce_crm         the same for one service
  poet params list                             every learned value, with the reason
  poet params show salesforce_crm update_contact retry.max_retries --after transient
                                               one value: its evidence and every move it made
  poet params history --format json            every move of every value, for a machine

Exit codes: 0 an answer, 1 nothing found or no poet database, 2 a command that cannot be understood.
Colour is used on a terminal only, and never where NO_COLOR is set."
)]
pub(crate) struct Arguments {
    /// The database of the program [default: $POET_DB, then `path` under `[store]` in the configuration]
    #[arg(long, global = true, value_name = "PATH", display_order = 100)]
    pub(crate) db: Option<PathBuf>,

    /// The configuration of the program [default: $POET_CONFIG, then ./poet.toml]
    #[arg(long, global = true, value_name = "PATH", display_order = 101)]
    pub(crate) config: Option<PathBuf>,

    /// For a person or for a machine
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT", display_order = 102)]
    pub(crate) format: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Within a hundred columns
    Text,
    /// Stable names, rates as fractions, times in seconds
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How services do, why calls waited, and who decided it
    #[command(after_help = "\
Examples:
  poet report --limit 50                       with the newest 50 calls
  poet report --service billing --format json | jq '.targets[].success_rate'

Success is the share of calls that the service answered successfully; refusals and fallbacks count against it, calls
that were dropped by their caller or joined to another do not count.")]
    Report {
        /// Only this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
        /// The newest calls to be listed
        #[arg(long, default_value_t = Scope::default().executions, value_name = "N")]
        limit: usize,
    },
    /// What was learned: values, reasons, moves
    #[command(subcommand)]
    Params(Params),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Params {
    /// Every value, who decided it, and why
    List {
        /// Only this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
    },
    /// One value: its evidence, its bounds, and every move it made
    #[command(after_help = "\
Examples:
  poet params show salesforce_crm update_contact timeout.attempt
  poet params show salesforce_crm update_contact retry.max_retries --after timeout")]
    Show {
        /// The service it was learned about
        service: String,
        /// The operation (tool, function) it was learned about
        operation: String,
        /// Its name, as in `poet params list`
        name: String,
        /// The kind of failure it applies after: transient, connect, lost, timeout, throttled, invalid
        #[arg(long, value_name = "KIND", value_parser = failure_kind)]
        after: Option<FailureKind>,
    },
    /// Every move of every value, oldest first
    History {
        /// Only this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
    },
}

impl Params {
    /// What has to be read to answer it.
    pub(crate) fn scope(&self) -> Scope {
        let service = match self {
            Self::List { service } | Self::History { service } => service.clone(),
            Self::Show { service, .. } => Some(service.clone()),
        };
        Scope { service, executions: 0 }
    }
}

fn failure_kind(name: &str) -> Result<FailureKind, String> {
    FailureKind::from_name(name).ok_or_else(|| {
        let kinds = FailureKind::ALL.map(FailureKind::as_str).join("`, `");
        format!("no kind of failure; write one of `{kinds}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
