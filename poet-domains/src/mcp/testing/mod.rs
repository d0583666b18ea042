//! MCP servers that fail as a test wants them to, in its own process: feature `testing`.
//!
//! A [`Server`] has [`Tool`]s, and each of their calls becomes an [`Answer`]: by a list, by seeded chance, or by a
//! function of yours. It counts what arrived and what was executed, which are two things where answers get lost.
//!
//! ```
//! use poet_domains::mcp::McpResource;
//! use poet_domains::mcp::testing::{Answer, Server, Tool};
//! use poet_runtime::Runtime;
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::start([
//!     Tool::new("get_contact").read_only().answers(json!({ "id": 7 })).script([Answer::status(503)]),
//!     Tool::new("add_note").script([Answer::Lost]),
//! ])
//! .await?;
//! let runtime = Runtime::builder().service(server.service("crm").trusted()).in_memory().build()?;
//! let crm = McpResource::new("crm");
//!
//! // A read is tried again.
//! let contact = runtime.scope(crm.call_tool("get_contact", json!({ "id": 7 }))).await?;
//! assert_eq!((contact.json::<serde_json::Value>()?, contact.attempts()), (json!({ "id": 7 }), 2));
//!
//! // A write whose answer was lost is not, and its caller is told.
//! let note = json!({ "id": 7, "text": "called back" });
//! let error = runtime.scope(crm.call_tool("add_note", &note)).await.unwrap_err();
//! assert!(error.is_outcome_unknown());
//! assert_eq!(server.executed("add_note", &note), 1);
//! # Ok(())
//! # }
//! ```
//!
//! What no tool would answer is sent by [`wire::Server`], to the byte.

mod answer;
pub mod bytes;
mod server;
mod tasks;
mod tool;
pub mod wire;

pub use answer::{Answer, Call, Faults};
pub use server::Server;
pub use tool::Tool;
