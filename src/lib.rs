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
//! and a budget over all of them. *Enforce* classifies and validates the answer, and asks a fallback where there is none.
//! *Train* writes down what happened.
//!
//! Where somebody said that it may be, a call is moved: answered from the [`Cache`], made together with others, put off
//! until its service is well, or left to a worker ([`defer`]). The [`Disposition`] of a [`Reply`] says which. A call
//! that was put off has no value yet but a [`Ticket`](defer::Ticket).
//!
//! From what was written down, poet learns for each service and operation how often to retry which failure, how long to
//! wait for an attempt, how long an answer stays fresh and how many calls to make as one. It keeps the evidence and the
//! reason of every move in SQLite. The next call uses it, also after a restart.
//!
//! # What is never done
//!
//! What may have been executed is not executed again, unless the author ([`idempotent`](macro@poet)), the
//! configuration or a trusted server said that it may be. The caller gets an error for which
//! [`Error::is_outcome_unknown`] is true instead; a job becomes *uncertain*, and a person decides. [`guide::safety`] has
//! every rule.
//!
//! # Where to read on
//!
//! | | |
//! | --- | --- |
//! | [`macro@poet`] | the attribute, key by key |
//! | [`Runtime`] | assembling, installing and scoping a runtime |
//! | [`mcp::McpResource`] | calling tools of MCP servers |
//! | [`mcp::Registry`] | which tools there are, and calling one by its name alone |
//! | [`http::PoetLayer`], [`http::check`] | calling HTTP APIs by whatever client |
//! | [`plan()`] | declaring steps instead of writing calls |
//! | [`Runtime::queue`], [`Runtime::cache`], [`Runtime::health`] | what was put off, what is kept, how services do |
//! | [`Runtime::register_fallback`] | who answers when a service does not |
//! | [`service`] | a client of your own: [`service::Request`] and [`service::Caller`], or [`Runtime::call`] |
//! | [`config`] | `poet.toml`, `poet.yaml` |
//! | [`guide::learning`] | what is learned, from what, and when it moves |
//! | [`guide::safety`] | when a call is repeated, refused, moved, or given up |
//! | [`guide::queue`] | calls that were put off: their states, and what a person does about them |
//! | [`guide::plans`] | declared steps: order, references, compensation, crashes |
//! | [`guide::http`] | HTTP APIs: what an answer means, what is repeated, how operations are named |
//! | [`guide::mcp`] | MCP servers: what there is to reach and what holds there, discovery, servers for tests |
//! | [`guide::domains`] | a domain of your own: profile, classifier, client, caller |
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `sqlite` | yes | outcomes, jobs and journals of plans on SQLite; without it, they live in memory only |
//! | `http` | yes | what an HTTP answer says about its service, for `domain = "http_api"` |
//! | `reqwest` | with `mcp` | recognises the errors of reqwest |
//! | `tower` | yes | [`http::PoetLayer`], a layer for HTTP clients that are tower services |
//! | `testing` | no | MCP servers for your own tests, which fail as they are told to |
//! | `mcp` | yes | the MCP client layer over stdio and streamable HTTP |

// What is annotated, and what calls are given back.
#[doc(hidden)]
pub use poet_runtime::__private;
#[doc(inline)]
pub use poet_runtime::{
    AsPriority, Class, Classify, Disposition, Error, ExecutionId, Priority, Reply, UnknownPriority, is_pending,
    progress, warnings,
};

#[doc = include_str!("../docs/attribute.md")]
pub use poet_macros::poet;

// The runtime, and how services do in it.
#[doc(inline)]
pub use poet_runtime::{
    Anchor, Builder, Cache, CacheStats, Clock, Condition, Health, Learning, Profile, RecorderHealth, Runtime,
    ServiceHealth, Utility, Wall, calendar, config, defer, service,
};

// Declared steps.
#[doc(inline)]
pub use poet_runtime::plan;

// What was seen and learned, as stores keep it and reports show it.
#[doc(inline)]
pub use poet_runtime::{
    Attempt, Ending, FailureKind, Finished, Record, Shown, TargetId, Withheld, audit, evidence, parameter, report,
    store,
};

// Domains.
pub use poet_domains as domains;
#[cfg(feature = "http")]
pub use poet_domains::http;
#[cfg(feature = "mcp")]
pub use poet_domains::mcp;

/// The guide, chapter by chapter.
pub mod guide {
    #[doc = include_str!("../docs/audit.md")]
    pub mod audit {}
    #[doc = include_str!("../docs/domains.md")]
    pub mod domains {}
    #[cfg(all(feature = "reqwest", feature = "tower"))]
    #[doc = include_str!("../docs/http.md")]
    pub mod http {}
    #[doc = include_str!("../docs/learning.md")]
    pub mod learning {}
    #[cfg(feature = "mcp")]
    #[doc = include_str!("../docs/mcp.md")]
    pub mod mcp {}
    #[doc = include_str!("../docs/plans.md")]
    pub mod plans {}
    #[doc = include_str!("../docs/queue.md")]
    pub mod queue {}
    #[doc = include_str!("../docs/safety.md")]
    pub mod safety {}
}

/// The examples of the first page that a reader sees are compiled like any other.
#[cfg(all(doctest, feature = "mcp"))]
#[doc = include_str!("../README.md")]
mod readme {}
