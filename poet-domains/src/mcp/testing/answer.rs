//! What becomes of one call of a tool, and how that is decided: by a list, or by chance that is always the same.

use poet_runtime::service::fraction;
use serde_json::{Map, Value};
use std::time::Duration;

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// Executed and answered.
    Done,
    /// Executed, and answered with this value.
    Value(Value),
    /// Not executed, and answered with an error of the tool (`isError`).
    ToolError(String),
    /// Not executed, and answered with an error of the protocol.
    RpcError {
        /// Its code, such as `-32603`.
        code: i32,
        /// Its message.
        message: String,
    },
    /// Not executed, and answered with a status in place of a message.
    Status {
        /// The status, such as 503.
        status: u16,
        /// What stands in `Retry-After`, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// Not executed, and never answered.
    Hang,
    /// Not executed; the connection is closed.
    Refused,
    /// Executed; the connection is closed before the answer.
    Lost,
    /// Executed, and answered with what is no message.
    Garbage,
    /// The same, after that many reports of progress, each that long after the one before. What is executed is executed
    /// at once.
    Progress {
        /// How many reports.
        reports: u32,
        /// How long each takes.
        every: Duration,
        /// What is answered then. Nothing but a message, or the end of the connection, can follow a report.
        then: Box<Answer>,
    },
    /// A task, which is done after that time and then ended so; what is executed is executed at once. `Refused` means that
    /// it was cancelled, and `Hang` that it never ends. Only of revision 2026-07-28.
    Task {
        /// How long it takes.
        takes: Duration,
        /// Whether a client that takes no tasks is refused; else it gets the answer after that time.
        required: bool,
        /// How it ends.
        then: Box<Answer>,
    },
    /// The same, sent after that time. What is executed is executed at once, whether or not somebody still waits then.
    After(Duration, Box<Answer>),
}

impl Answer {
    /// An error of the tool, with this text.
    pub fn tool_error(text: impl Into<String>) -> Self {
        Self::ToolError(text.into())
    }

    /// An error of the protocol.
    pub fn rpc_error(code: i32, message: impl Into<String>) -> Self {
        Self::RpcError { code, message: message.into() }
    }

    /// A status such as 503.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }

    /// 429, with the time that is to be waited.
    #[must_use]
    pub const fn throttled(retry_after: Duration) -> Self {
        Self::Status { status: 429, retry_after: Some(retry_after) }
    }

    /// The same, after that time.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self::After(wait, Box::new(self))
    }

    /// The same, after that many reports of progress, each that long after the one before.
    #[must_use]
    pub fn after_reports(self, reports: u32, every: Duration) -> Self {
        Self::Progress { reports, every, then: Box::new(self) }
    }

    /// The same by a task that takes that long, for clients that take tasks; for others after that time.
    #[must_use]
    pub fn as_task(self, takes: Duration) -> Self {
        Self::Task { takes, required: false, then: Box::new(self) }
    }

    /// The same by a task that takes that long; clients that take no tasks are refused.
    #[must_use]
    pub fn only_as_task(self, takes: Duration) -> Self {
        Self::Task { takes, required: true, then: Box::new(self) }
    }

    /// Whether the tool does what it was called for.
    #[must_use]
    pub fn executes(&self) -> bool {
        match self {
            Self::Done | Self::Value(_) | Self::Lost | Self::Garbage => true,
            Self::ToolError(_) | Self::RpcError { .. } | Self::Status { .. } | Self::Hang | Self::Refused => false,
            Self::Progress { then, .. } | Self::Task { then, .. } | Self::After(_, then) => then.executes(),
        }
    }
}

/// A call as it arrived at its tool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// Which call of the tool it is; 1 for the first.
    pub number: u64,
    /// Which call with these arguments it is; 1 for the first.
    pub attempt: u64,
    /// Its arguments.
    pub arguments: Map<String, Value>,
}

/// Shares of calls that go wrong, drawn for each call; the same seed draws the same, call by call.
///
/// # Examples
///
/// ```
/// use poet_domains::mcp::testing::{Answer, Faults};
///
/// let faults = Faults::seeded(7).share(0.2, Answer::status(503)).share(0.1, Answer::Lost);
/// let drawn: Vec<Answer> = (1..=1000).map(|number| faults.answer(number)).collect();
/// let lost = drawn.iter().filter(|answer| **answer == Answer::Lost).count();
/// assert!((60..140).contains(&lost), "{lost} of 1000");
/// assert_eq!(faults.answer(17), drawn[16]);
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    seed: u64,
    shares: Vec<(f64, Answer)>,
}

impl Faults {
    /// Starts with no faults.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed, shares: Vec::new() }
    }

    /// Lets this become of that share of the calls, between 0 and 1. Shares add up; what exceeds 1 is never drawn.
    #[must_use]
    pub fn share(mut self, share: f64, answer: Answer) -> Self {
        self.shares.push((share, answer));
        self
    }

    /// What becomes of the call with this number.
    #[must_use]
    pub fn answer(&self, number: u64) -> Answer {
        let mut drawn = unit(self.seed, number);
        for (share, answer) in &self.shares {
            if drawn < *share {
                return answer.clone();
            }
            drawn -= share.max(0.0);
        }
        Answer::Done
    }
}

/// A number between 0 and 1.
fn unit(seed: u64, number: u64) -> f64 {
    // Seeds that follow each other are no streams that do.
    fraction(seed.wrapping_mul(0xd134_2543_de82_ef95), number.wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_another_seed_draws_others() {
        let of = |seed| Faults::seeded(seed).share(0.3, Answer::Lost).share(0.3, Answer::Hang);
        let drawn = |seed: u64| (1..=10_000).map(|number| of(seed).answer(number)).collect::<Vec<_>>();
        let (one, other) = (drawn(1), drawn(2));
        let count = |answer: &Answer| one.iter().filter(|drawn| *drawn == answer).count();
        // Six deviations of a binomial with 10,000 draws at 0.3 are 275.
        for (answer, expected) in [(Answer::Lost, 3_000), (Answer::Hang, 3_000), (Answer::Done, 4_000)] {
            assert!(count(&answer).abs_diff(expected) < 300, "{answer:?}: {}", count(&answer));
        }
        assert_ne!(one, other);
    }

    #[test]
    fn a_delay_changes_nothing_about_what_is_executed() {
        let second = Duration::from_secs(1);
        assert!(Answer::Lost.after(second).executes());
        assert!(!Answer::Hang.after(second).executes());
        assert!(Answer::Done.after_reports(3, second).executes());
    }
}
