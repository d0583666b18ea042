//! The four services of the scenario: real MCP servers, each with its own data in SQLite and its own stated faults.
//!
//! [`services`] is the table of what they are, [`station`] serves one of them over stdio or streamable HTTP, and
//! [`ledger`] keeps what it was asked and what it executed, so that a repeated execution can be counted afterwards.

pub(crate) mod ledger;
pub(crate) mod services;
pub(crate) mod station;
