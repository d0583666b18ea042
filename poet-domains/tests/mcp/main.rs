//! Every fault an MCP server is known to commit, over every transport: each call ends by its deadline, with the right
//! class, and the service is usable afterwards without a line of user code.
//!
//! These tests talk to real sockets and real processes, so they run in real time; [`clock::by`] says how late a call
//! may be on a loaded machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod became;
mod clock;
mod deferral;
mod drill;
mod fleet;
mod http_faults;
#[cfg(all(feature = "websocket", target_os = "linux"))]
mod leaks;
mod masked;
mod matrix;
#[cfg(feature = "oauth")]
mod oauth;
mod plan;
mod progress;
mod recovery;
mod registry;
mod resource;
mod scripted;
mod server;
mod signing;
mod sse_faults;
mod stdio_faults;
mod streams;
mod tasks;
#[cfg(feature = "websocket")]
mod websocket_faults;
