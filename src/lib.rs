//! Makes calls to unreliable outside services reliable by learning, with one attribute on an ordinary function.
//!
//! ```
//! use poet::{Error, poet};
//!
//! #[poet(service = "rates", idempotent, deadline = "2s")]
//! async fn exchange_rate(pair: &str) -> Result<f64, Error> {
//!     // Whatever client you use. It is timed, tried again, and learned from.
//!     Ok(if pair == "EUR/USD" { 1.08 } else { 1.0 })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A program of yours needs no runtime of its own making: the first call makes one from `poet.toml`. A test does.
//! let runtime = poet::Runtime::builder().in_memory().build()?;
//! let rate = runtime.scope(exchange_rate("EUR/USD")).await?;
//! assert_eq!(rate, 1.08);
//! # Ok(())
//! # }
//! ```
//!
//! # What happens to a call
//!
//! It passes four stages. *Perceive* finds the values in force and makes limits of them: there is always a deadline.
//! *Operate* makes the attempts: with a limit each, a circuit breaker before them, waits with full jitter between them,
//! and a budget over all of them. *Enforce* classifies and validates the answer. *Train* writes down what happened.
//!
//! From what was written down, poet learns how often to retry which failure and how long to wait for an attempt, for
//! each service and operation, and keeps the evidence and the reason of every move in SQLite. The next call uses it,
//! also after a restart.
//!
//! # What is never done
//!
//! What may have been executed is not executed again, unless the author ([`idempotent`](macro@poet)), the
//! configuration or a trusted server said that it may be. The caller gets an error for which
//! [`Error::is_outcome_unknown`] is true instead. [`guide::safety`] has every rule.
//!
//! # Where to read on
//!
//! | | |
//! | --- | --- |
//! | [`macro@poet`] | the attribute, key by key |
//! | [`Runtime`] | assembling, installing and scoping a runtime |
//! | [`mcp::McpResource`] | calling tools of MCP servers |
//! | [`config`] | `poet.toml` |
//! | [`guide::learning`] | what is learned, from what, and when it moves |
//! | [`guide::safety`] | when a call is repeated, refused, or given up |
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `sqlite` | yes | the outcome store on SQLite; without it, outcomes live in memory only |
//! | `mcp` | yes | the MCP client layer over stdio and streamable HTTP |

pub use poet_domains as domains;
#[cfg(feature = "mcp")]
pub use poet_domains::mcp;
#[doc = include_str!("../docs/attribute.md")]
pub use poet_macros::poet;
#[doc(hidden)]
pub use poet_runtime::__private;
#[doc(inline)]
pub use poet_runtime::{
    Builder, Class, Classify, Clock, Disposition, Ending, Error, ExecutionId, FailureKind, Learning, Priority, Profile,
    Reply, Runtime, Utility, Wall, Withheld, config, evidence, parameter, report, service, store, warnings,
};

/// The guide, chapter by chapter.
pub mod guide {
    #[doc = include_str!("../docs/learning.md")]
    pub mod learning {}
    #[doc = include_str!("../docs/safety.md")]
    pub mod safety {}
}
