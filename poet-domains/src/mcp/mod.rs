//! The MCP client layer: calls to the tools of MCP servers, over streamable HTTP and over standard input and output.
//!
//! ```text
//! resource    the handle users hold                    calls through every stage of the runtime
//! blocking    the same for synchronous functions
//! step        a call as a step of a plan
//! chain       plans from data                          templates: those that come along
//! session     one supervised connection per service    connect once, share, probe, replace
//! connection  what a connection is; plain types        a fake fits here
//! sdk         the only module that names the SDK
//! checks      what may be sent, and what counts as an answer
//! schema      what the server declared, compiled
//! masked      whether an answer is an error unsaid      reads, and learns what a tool usually answers
//! classify    what an error says about the service     pure
//! fault       the error itself
//! ```

mod blocking;
mod chain;
mod checks;
mod classify;
mod connection;
mod fault;
mod masked;
mod resource;
mod schema;
mod sdk;
mod session;
mod step;
mod templates;

pub use chain::{Chain, ChainCall, ChainStep, execute_chain};
pub use connection::{Era, Limits, McpConnection, Pending, Target, ToolAnswer, ToolCall, ToolInfo};
pub use fault::{Fault, McpError};
pub(crate) use resource::caller;
pub use resource::{McpRequest, McpResource, Repeatable};
pub use session::{Connector, Session};
pub use templates::{execute_workflow, workflow, workflows};

use poet_runtime::Class;
use std::error::Error;

/// Recognises the layer's own errors in the source chain of a function's error.
pub(crate) fn recognise(error: &(dyn Error + 'static)) -> Option<Class> {
    error.downcast_ref::<McpError>().map(McpError::class)
}
