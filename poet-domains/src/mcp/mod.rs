//! The MCP client layer: calls to the tools of MCP servers, over streamable HTTP and over standard input and output.
//!
//! ```text
//! registry    the tools of all services, by name       discovery, lookup, routing
//! resource    the handle users hold                    calls through every stage of the runtime
//! nature      which calls may be repeated, and are reads
//! blocking    the same for synchronous functions
//! step        a call as a step of a plan
//! chain       plans from data                          templates: those that come along
//! fleet       the endpoints of a service               choose one, keep its connections, fall back on another
//! session     one supervised connection                connect once, share, probe, replace
//! connection  what a connection is; plain types        a fake fits here
//! task        what a server does in its own time        its token, and what is said of it
//! input       what a tool asks of a person             and who answers
//! oauth       who we are to an authorization server    feature `oauth`
//! signer      signs what is sent over HTTP             RFC 9421
//! sdk         the only module that names the SDK
//! schema      tells one schema of a tool from another  pure
//! checks      what may be sent, and what counts as an answer
//! contract    what the server declared, compiled
//! unsendable  arguments that are no object, for the audit
//! masked      whether an answer is an error unsaid      reads, and learns what a tool usually answers
//! classify    what an error says about the service     pure
//! fault       the error itself
//! testing     servers for the tests of users           feature `testing`
//! ```

mod blocking;
mod chain;
mod checks;
mod classify;
mod connection;
mod contract;
mod fault;
mod fleet;
mod input;
mod masked;
mod nature;
#[cfg(feature = "oauth")]
mod oauth;
mod registry;
mod resource;
mod schema;
mod sdk;
mod session;
mod signer;
mod step;
mod task;
mod templates;
#[cfg(feature = "testing")]
pub mod testing;
mod unsendable;

pub use chain::{Chain, ChainCall, ChainStep, execute_chain};
pub use connection::{Era, Limits, McpConnection, Pending, Target, ToolAnswer, ToolCall, ToolInfo};
pub use fault::{Fault, McpError};
pub use fleet::EndpointStatus;
pub use input::{Answering, Attended, Person, Question};
pub use nature::Repeatable;
#[cfg(feature = "oauth")]
pub use oauth::{Consent, Consenting, OAuth};
pub use registry::{Listing, RegisteredTool, Registry};
pub(crate) use resource::caller;
pub use resource::{McpRequest, McpResource};
pub use session::{ConnectionState, Connector, Session};
pub use signer::Signer;
pub use task::{Called, Task, TaskState};
pub use templates::{execute_workflow, workflow, workflows};

use poet_runtime::Class;
use std::error::Error;

/// Recognises the layer's own errors in the source chain of a function's error.
pub(crate) fn recognise(error: &(dyn Error + 'static)) -> Option<Class> {
    error.downcast_ref::<McpError>().map(McpError::class)
}
