//! Every fault an MCP server is known to commit, over both transports: each call ends by its deadline, with the right
//! class, and the service is usable afterwards without a line of user code.
//!
//! These tests talk to real sockets and real processes, so they run in real time; [`clock::by`] says how late a call
//! may be on a loaded machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clock;
mod deferral;
mod drill;
mod http_faults;
mod masked;
mod matrix;
mod plan;
mod recovery;
mod resource;
mod server;
mod stdio_faults;
