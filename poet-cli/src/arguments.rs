//! What may be typed after `poet`.

use crate::audit::{self, Audit};
use crate::call::{self, Call};
use crate::check::{self, Check};
use crate::simulate::{self, Simulate};
use crate::tools::{self, Tools};
use clap::{Args, Parser, Subcommand, ValueEnum};
use poet_runtime::FailureKind;
use poet_runtime::config::{Config, ConfigError};
use poet_runtime::defer::State;
use poet_runtime::report::Scope;
use std::path::PathBuf;

/// Shows what a program's services do, what was learned about them, and why; holds values, settles calls that were put
/// off, checks a configuration, and lists and calls tools.
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
  poet params pin salesforce_crm update_contact timeout.attempt 3s
                                               hold a value; see also approve, unpin, rollback, reset
  poet queue list --state uncertain            calls that were put off, and that a person has to look at
  poet audit --service salesforce_crm --since 24h
                                               who asked for what, and who decided what about it
  poet queue run                               make those that are due, with the services of the configuration
  poet simulate small                          what the runtime does in a world that fails as stated
  poet check --connect                         what is wrong with the configuration, and who can be reached
  poet tools salesforce_crm                    the tools of a service, and which of them may be called twice
  poet call salesforce_crm get_contact id=7    one call, through every stage of the runtime

Exit codes: 0 an answer, 1 nothing found, not possible, or no poet database, 2 a command that cannot be understood; `poet
call` has more.
Colour is used on a terminal only, and never where NO_COLOR is set."
)]
pub(crate) struct Arguments {
    /// The database of the program [default: $POET_DB, then `path` under `[store]` in the configuration]
    #[arg(long, global = true, value_name = "PATH", display_order = 100)]
    pub(crate) db: Option<PathBuf>,

    /// The configuration of the program [default: $POET_CONFIG, then ./poet.toml or ./poet.yaml]
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
    /// A page with curves, of `simulate` only
    Html,
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
    /// What was learned: values, reasons, moves; and what a person decides about them
    #[command(subcommand)]
    Params(Params),
    /// Calls that were put off: what became of them, and what shall
    #[command(subcommand)]
    Queue(Queue),
    /// Who asked for what, whether it was allowed, and who decided what about it
    #[command(after_help = audit::EXAMPLES)]
    Audit(Audit),
    /// Live a world through in virtual time: what policies are worth, and what is learned
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(Simulate),
    /// What is wrong with a configuration, or what it means
    #[command(after_help = check::EXAMPLES)]
    Check(Check),
    /// The tools of MCP servers
    #[command(after_help = tools::EXAMPLES)]
    Tools(Tools),
    /// Call one tool, as a program would
    #[command(after_help = call::EXAMPLES)]
    Call(Call),
}

impl Arguments {
    /// The configuration that is meant.
    pub(crate) fn read_config(&self) -> Result<Config, ConfigError> {
        self.config.as_ref().map_or_else(Config::discover, Config::load)
    }
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
A job is `pending` until it is due, `leased` while a worker makes the call, then `done`, `failed` (the service refused
for good) or `dead` (expired, cancelled, or out of attempts). It is `uncertain` where nobody knows whether a call that
must not be made twice was executed (the process ended in the middle of it, or no answer came): then look at the service
whether it was executed, and say so with `resolve`.

In a list, a pending job is due `in` so long, or has been `since` so long; a leased one is under way `for` so long; any
other ended so long `ago`. `show` has the moments, in UTC.")]
pub(crate) enum Queue {
    /// The newest jobs, newest first
    #[command(after_help = "\
Examples:
  poet queue list
  poet queue list --state uncertain
  poet queue list --service billing --limit 20 --format json | jq '.jobs[].id'")]
    List {
        /// Only in this state: pending, leased, done, failed, dead, uncertain
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<State>,
        /// Only of this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Make the calls that are due, until none is
    #[command(after_help = "\
Examples:
  poet queue run --config poet.toml            with the services of that configuration

It makes the calls as the program would: with the limits that were learned, and with what came of them written down.
Jobs of services that are not in the configuration stay where they are. Several may run beside each other.")]
    Run,
    /// One job, with its result
    #[command(after_help = "\
Examples:
  poet queue show 019f3c2a-7b1e                the beginning of its number will do
  poet queue show 019f3c2a-7b1e --arguments    with what the call is made with, which may hold secrets")]
    Show {
        /// Its number, or the beginning of it
        id: String,
        /// Also what the call is made with
        #[arg(long)]
        arguments: bool,
    },
    /// Give up a job that is pending
    #[command(after_help = "\
Examples:
  poet queue cancel 019f3c2a-7b1e --note 'the order was withdrawn'")]
    Cancel {
        /// Its number, or the beginning of it
        id: String,
        /// Why, for whoever looks at it later
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Make a job that failed or was given up again, now
    #[command(after_help = "\
Examples:
  poet queue retry 019f3c2a-7b1e --note 'the address is corrected'

A job that is uncertain is not retried, because it may have been executed: see `poet queue resolve --help`.")]
    Retry {
        /// Its number, or the beginning of it
        id: String,
        /// Why, for whoever looks at it later
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Say what became of a job that is uncertain
    #[command(after_help = "\
Examples:
  poet queue list --state uncertain
  poet queue show 019f3c2a-7b1e --arguments                      what was to be done; look whether it was
  poet queue resolve 019f3c2a-7b1e --done --note 'found in CRM'  it was executed
  poet queue resolve 019f3c2a-7b1e --failed                      it was not, and shall not be
  poet queue resolve 019f3c2a-7b1e --again                       it was not, and shall be")]
    Resolve {
        /// Its number, or the beginning of it
        id: String,
        #[command(flatten)]
        decision: Decision,
        /// What was found, for whoever looks at it later
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Decision {
    /// It was executed
    #[arg(long)]
    pub(crate) done: bool,
    /// It was not executed, and shall not be
    #[arg(long)]
    pub(crate) failed: bool,
    /// It was not executed, and shall be
    #[arg(long)]
    pub(crate) again: bool,
}

fn state(name: &str) -> Result<State, String> {
    State::from_name(name).ok_or_else(|| {
        let states = State::ALL.map(State::as_str).join("`, `");
        format!("no state of a job; write one of `{states}`")
    })
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
What a person decides (approve, pin, unpin, rollback, reset) is one stored move with its reason, as a learned one is. It
is printed as old -> new, and processes that share the database take it up within a minute, without a restart. If the
value moved meanwhile nothing is changed, and it is said what it is now.

A number in the attribute or on the call, and a pin in the configuration, go before whatever is stored. With learning
`off` or in `shadow` nothing that is stored is in force, pins included.")]
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
    Show(Which),
    /// Every move of every value, oldest first
    History {
        /// Only this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
    },
    /// Put a value that waits for approval in force
    #[command(after_help = "\
Examples:
  poet params list                             what is `proposed` waits, where learning is in `review`
  poet params approve salesforce_crm update_contact timeout.attempt

It is on trial, as a value that was learned without review is: should calls be worth less with it, it goes back by
itself. What is not wanted is dropped with `poet params rollback`.")]
    Approve(Order),
    /// Hold a value: learning does not move it
    #[command(after_help = "\
Examples:
  poet params pin salesforce_crm update_contact timeout.attempt 3s
  poet params pin salesforce_crm update_contact retry.max_retries 0 --after timeout --note 'ticket 4711'

A value is written as in the configuration: a count, seconds, or a duration such as 250ms, 3s or 5m. What is kept for
each kind of failure apart is pinned for each apart. It holds until `poet params unpin`, also after a restart.")]
    Pin {
        #[command(flatten)]
        order: Order,
        /// The value, within the bounds that `poet params show` names
        #[arg(value_name = "VALUE", allow_negative_numbers = true)]
        value: String,
    },
    /// Let learning move a pinned value again, from where it is
    #[command(after_help = "\
Examples:
  poet params unpin salesforce_crm update_contact timeout.attempt

What is pinned in poet.toml is unpinned there.")]
    Unpin(Order),
    /// Go back to the last good value, and stay there for 24 hours
    #[command(after_help = "\
Examples:
  poet params rollback salesforce_crm update_contact retry.max_retries --after transient

The last good value is what was in force before the trial of the present one; where none is noted, the value before the
last move, a pin included. A value that waits for approval is dropped. For 24 hours nothing of its family (what stands
before the dot of its name) moves at that service and operation, as after a roll-back by itself.")]
    Rollback(Order),
    /// Forget what was learned for a value: profile and configuration decide
    #[command(after_help = "\
Examples:
  poet params reset salesforce_crm update_contact retry.max_retries --after timeout

A pin is forgotten as well. The evidence stays: for 24 hours nothing of its family (what stands before the dot of its
name) moves at that service and operation, and after them it is learned again, from what calls say until then as well.
This is how retries that were learned to be none are tried again.")]
    Reset(Order),
}

/// Which parameter of which service and operation.
#[derive(Clone, Debug, Args)]
pub(crate) struct Which {
    /// The service it was learned about
    pub(crate) service: String,
    /// The operation (tool, function) it was learned about
    pub(crate) operation: String,
    /// Its name, as in `poet params list`
    pub(crate) name: String,
    /// The kind of failure it applies after: transient, connect, lost, timeout, throttled, invalid
    #[arg(long, value_name = "KIND", value_parser = failure_kind)]
    pub(crate) after: Option<FailureKind>,
}

/// What a person decides about, and why.
#[derive(Clone, Debug, Args)]
pub(crate) struct Order {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

impl Params {
    /// What has to be read to answer it.
    pub(crate) fn scope(&self) -> Scope {
        let service = match self {
            Self::List { service } | Self::History { service } => service.clone(),
            Self::Show(which) => Some(which.service.clone()),
            Self::Approve(order)
            | Self::Pin { order, .. }
            | Self::Unpin(order)
            | Self::Rollback(order)
            | Self::Reset(order) => Some(order.which.service.clone()),
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
