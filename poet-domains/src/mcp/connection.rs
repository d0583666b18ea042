//! What the rest of the layer knows of a connection to an MCP server: a small trait and plain types of ours.
//!
//! The SDK breaks in minors and does almost no resilience, so nothing outside [`sdk`](super::sdk) names it. A fake, or
//! a transport the SDK does not have, implements [`McpConnection`] and is supervised like any other.

use super::fault::{Fault, McpError};
use super::schema;
use super::task::{Called, TaskState};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The answer of a connection that is still to come.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, McpError>> + Send + 'a>>;

/// A live connection to one MCP server, shared by every caller of the service.
///
/// Every method that waits takes the instant it has to end by, and ends by then. Dropping the future of
/// [`call`](Self::call) tells the server that nobody waits for the answer any more.
pub trait McpConnection: Send + Sync + fmt::Debug {
    /// The tools the server listed when it was last asked.
    fn tools(&self) -> Arc<[ToolInfo]>;

    /// Whether the server said that its tools have changed since.
    fn is_outdated(&self) -> bool {
        false
    }

    /// Asks the server for its tools anew.
    fn list_tools(&self, until: Instant) -> Pending<'_, Arc<[ToolInfo]>>;

    /// Asks the server something that does nothing, past every cache, to see whether it still answers.
    fn probe(&self, until: Instant) -> Pending<'_, ()>;

    /// Calls a tool. An answer that says `isError` is an answer here; [`ToolAnswer::into_value`] makes it an error.
    fn call<'a>(&'a self, call: ToolCall<'a>) -> Pending<'a, Called>;

    /// Asks how a task stands that this or an earlier connection was given.
    fn task<'a>(&'a self, _id: &'a str, _until: Instant) -> Pending<'a, TaskState> {
        Box::pin(std::future::ready(Err(McpError::new(Fault::Rpc { code: -32601 }, "there are no tasks here"))))
    }

    /// Tells the server that nobody wants a task any more. Whether it stops is its own affair.
    fn cancel_task<'a>(&'a self, _id: &'a str, _until: Instant) -> Pending<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether the connection has ended for good. `false` is no promise: a wedged session looks alive.
    fn is_dead(&self) -> bool;

    /// Closes the connection in the background, because a child process may take seconds to leave.
    fn close(&self);
}

/// One `tools/call`.
#[derive(Clone, Debug)]
pub struct ToolCall<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// Its arguments.
    pub arguments: &'a Map<String, Value>,
    /// When the call has to have ended.
    pub until: Instant,
    /// What stands in `_meta`, beside what the protocol puts there.
    pub meta: Option<Map<String, Value>>,
    /// Whether a [`Task`](super::Task) will do in the place of the answer.
    pub tasks: bool,
}

/// What a server says about one of its tools.
///
/// The hints are claims of the server: they count only if the service is configured as trusted.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ToolInfo {
    /// The name it is called by.
    pub name: String,
    /// What it does, in the server's words.
    pub description: Option<String>,
    /// Claimed to change nothing.
    pub read_only: Option<bool>,
    /// Claimed to destroy something.
    pub destructive: Option<bool>,
    /// Claimed to do no more if called again with the same arguments.
    pub idempotent: Option<bool>,
    /// The JSON schema of its arguments.
    pub input_schema: Value,
    /// The JSON schema of its structured answer.
    pub output_schema: Option<Value>,
}

impl ToolInfo {
    /// Whether the server claims that calling the tool twice does no harm.
    #[must_use]
    pub fn claims_repeatable(&self) -> bool {
        self.read_only == Some(true) || self.idempotent == Some(true)
    }

    /// What tells this tool from one of the same name that takes or answers something else.
    ///
    /// The same in every process and on every machine, whatever the order of the schemas' keys. Descriptions inside
    /// the schemas count; that of the tool does not.
    #[must_use]
    pub fn schema_hash(&self) -> u64 {
        schema::hash(&self.input_schema, self.output_schema.as_ref())
    }
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ToolAnswer {
    /// The structured content; else the text, parsed if it is a JSON object or array; else the content blocks.
    pub value: Value,
    /// Whether the tool says that it failed.
    pub is_error: bool,
    /// The text blocks, joined by line ends.
    pub text: String,
    /// The structured content as the server sent it.
    pub structured: Option<Value>,
}

impl ToolAnswer {
    /// An answer from its parts: the text blocks, all blocks as JSON, and the structured content.
    #[must_use]
    pub fn new(texts: &[&str], blocks: Vec<Value>, structured: Option<Value>, is_error: bool) -> Self {
        let text = texts.join("\n");
        let only_text = texts.len() == blocks.len();
        let value = match &structured {
            Some(structured) => structured.clone(),
            None if blocks.is_empty() => Value::Null,
            None if only_text => parsed(&text).unwrap_or_else(|| Value::String(text.clone())),
            None => Value::Array(blocks),
        };
        Self { value, is_error, text, structured }
    }

    /// The value, or the tool's own error.
    ///
    /// # Errors
    ///
    /// If the tool says that it failed.
    pub fn into_value(self) -> Result<Value, McpError> {
        if self.is_error { Err(McpError::tool(self.text)) } else { Ok(self.value) }
    }
}

// Only objects and arrays: the text `42` or `true` is as likely a word of a sentence as a value.
fn parsed(text: &str) -> Option<Value> {
    let text = text.trim();
    (text.starts_with(['{', '['])).then(|| serde_json::from_str(text).ok()).flatten()
}

/// What is connected to.
///
/// Its debug form shows no token, no environment and no query string.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Streamable HTTP.
    Http {
        /// The address.
        url: String,
        /// The bearer token.
        token: Option<String>,
    },
    /// HTTP+SSE, as servers of revision 2024-11-05 speak it.
    Sse {
        /// The address of the stream of events.
        url: String,
        /// The bearer token.
        token: Option<String>,
    },
    /// A WebSocket with the subprotocol `mcp`.
    #[cfg(feature = "websocket")]
    WebSocket {
        /// The address, `ws://…` or `wss://…`.
        url: String,
        /// The bearer token.
        token: Option<String>,
    },
    /// A program of this machine.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// What is added to its environment.
        env: BTreeMap<String, String>,
    },
}

impl Target {
    /// A server reached over streamable HTTP.
    pub fn http(url: impl Into<String>) -> Self {
        Self::Http { url: url.into(), token: None }
    }

    /// A server reached over HTTP+SSE, at the address of its stream of events.
    pub fn sse(url: impl Into<String>) -> Self {
        Self::Sse { url: url.into(), token: None }
    }

    /// A server reached over a WebSocket, at an address like `ws://localhost:8002/ws`.
    #[cfg(feature = "websocket")]
    pub fn websocket(url: impl Into<String>) -> Self {
        Self::WebSocket { url: url.into(), token: None }
    }

    /// A server that is a program of this machine.
    pub fn stdio(command: impl Into<String>, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Stdio {
            command: command.into(),
            args: args.into_iter().map(Into::into).collect(),
            env: BTreeMap::default(),
        }
    }
}

impl Target {
    /// The same at another address; a program is where it is.
    pub(super) fn at(&self, address: &str) -> Self {
        let mut there = self.clone();
        match &mut there {
            Self::Http { url, .. } | Self::Sse { url, .. } => address.clone_into(url),
            #[cfg(feature = "websocket")]
            Self::WebSocket { url, .. } => address.clone_into(url),
            Self::Stdio { .. } => {}
        }
        there
    }

    /// Whether the transport is older than the stateless revision, so that no server speaks it there.
    pub(super) fn is_legacy_only(&self) -> bool {
        match self {
            Self::Http { .. } | Self::Stdio { .. } => false,
            Self::Sse { .. } => true,
            #[cfg(feature = "websocket")]
            Self::WebSocket { .. } => true,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, url) = match self {
            Self::Http { url, .. } => ("Http", url),
            Self::Sse { url, .. } => ("Sse", url),
            #[cfg(feature = "websocket")]
            Self::WebSocket { url, .. } => ("WebSocket", url),
            Self::Stdio { command, .. } => return write!(f, "Stdio({command})"),
        };
        let shown = url.split(['?', '#']).next().unwrap_or_default();
        // A password may have an `@` in it, and so may a path.
        let authority = shown.find("://").map_or(0, |scheme| scheme + 3);
        let path = shown[authority..].find('/').map_or(shown.len(), |path| authority + path);
        let shown = shown[authority..path].rfind('@').map_or(shown, |at| &shown[authority + at + 1..]);
        write!(f, "{kind}({shown})")
    }
}

/// The revision of the protocol a server was found to speak; remembered, so that it is found out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `2025-11-25` and older: `initialize`, sessions.
    Legacy,
    /// `2026-07-28` and newer: stateless.
    Modern,
}

/// How long the parts of connecting may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From starting to connect to having the list of tools. Default 30 s.
    pub connect: Duration,
    /// Finding out which era an unknown server speaks, before it is taken for a legacy one. Default 5 s.
    pub era_probe: Duration,
    /// Finding out whether a suspect connection still answers. Default 1 s.
    pub health_probe: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            era_probe: Duration::from_secs(5),
            health_probe: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn structured_content_is_the_value_and_text_is_parsed_only_if_it_is_an_object_or_a_list() {
        let block = |text: &str| vec![json!({ "type": "text", "text": text })];
        let value = |text: &str| ToolAnswer::new(&[text], block(text), None, false).value;
        assert_eq!(value(r#" {"id": 7}"#), json!({ "id": 7 }));
        assert_eq!(value("42"), json!("42"));
        assert_eq!(value("{not json"), json!("{not json"));
        let structured = ToolAnswer::new(&["seven"], block("seven"), Some(json!({ "id": 7 })), false);
        assert_eq!(structured.value, json!({ "id": 7 }));
    }

    #[test]
    fn an_answer_that_is_not_all_text_is_its_blocks() {
        let blocks = vec![json!({ "type": "text", "text": "a" }), json!({ "type": "image", "data": "AA==" })];
        assert_eq!(ToolAnswer::new(&["a"], blocks.clone(), None, false).value, Value::Array(blocks));
    }

    #[test]
    fn a_target_shows_neither_token_nor_query_nor_user() {
        let target = Target::Http { url: "https://me:pw@crm.test/mcp?key=1".into(), token: Some("t0ken".into()) };
        assert_eq!(format!("{target:?}"), "Http(crm.test/mcp)");
        assert_eq!(format!("{:?}", Target::http("https://me:p@ss@crm.test/mcp")), "Http(crm.test/mcp)");
        assert_eq!(format!("{:?}", Target::http("https://crm.test/@team/mcp")), "Http(https://crm.test/@team/mcp)");
    }
}
