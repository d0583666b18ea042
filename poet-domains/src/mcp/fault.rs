//! What went wrong between us and an MCP server, in our own words.
//!
//! The SDK reports it in five shapes and loses some of it on the way; here it is one [`Fault`] and a text. What it
//! means for the caller is decided by [`classify`](super::classify).

use super::classify;
use poet_runtime::Class;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The program of a stdio server cannot be started at all, or an address is none.
    Start,
    /// There is no connection, and none could be made. Nothing was sent.
    Connect,
    /// The server does not know our session, or our view of its tools, any more; it refused before executing anything.
    Session,
    /// The connection was lost after the request was handed to it.
    Lost,
    /// No answer in time; `sent` says whether the request was handed to the connection.
    Timeout {
        /// Whether the request may have reached the server.
        sent: bool,
    },
    /// An HTTP status other than success.
    Http {
        /// The status.
        status: u16,
        /// How long the server asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// A JSON-RPC error.
    Rpc {
        /// Its code.
        code: i32,
    },
    /// The server has no such tool.
    UnknownTool,
    /// The tool answered that it failed.
    Tool,
    /// The tool answered an error, though it did not say that it failed.
    Masked,
    /// The server answered, but not as the protocol says.
    Answer,
    /// The tool asks for input of a person before it goes on.
    Input,
    /// The call may not be made, or not with these arguments. Nothing was sent.
    Refused,
}

/// An error of the MCP layer: a [`Fault`], what was said about it, and what caused it.
///
/// Cloning is cheap: callers that waited for the same connection share one error.
#[derive(Clone)]
pub struct McpError(Arc<Inner>);

struct Inner {
    fault: Fault,
    text: String,
    last_words: Option<String>,
    source: Option<Source>,
}

impl McpError {
    pub(crate) fn new(fault: Fault, text: impl Into<String>) -> Self {
        Self(Arc::new(Inner { fault, text: text.into(), last_words: None, source: None }))
    }

    pub(crate) fn caused_by(fault: Fault, text: impl Into<String>, source: impl Into<Source>) -> Self {
        Self(Arc::new(Inner { fault, text: text.into(), last_words: None, source: Some(source.into()) }))
    }

    /// The tool's own error.
    pub(crate) fn tool(text: String) -> Self {
        Self::new(Fault::Tool, text)
    }

    /// A JSON-RPC error; some of them say that the session is gone.
    pub(crate) fn rpc(code: i32, text: &str) -> Self {
        let fault = if classify::is_session_lost(code, text) { Fault::Session } else { Fault::Rpc { code } };
        Self::new(fault, text)
    }

    /// The same, but before anything was sent: whatever was lost, it was no request.
    pub(crate) fn before_sending(self) -> Self {
        let fault = match self.0.fault {
            Fault::Lost | Fault::Session | Fault::Answer => Fault::Connect,
            Fault::Timeout { .. } => Fault::Timeout { sent: false },
            other => other,
        };
        self.with(|inner| inner.fault = fault)
    }

    /// Adds what a stdio server last wrote to its standard error.
    pub(crate) fn with_last_words(self, words: Option<String>) -> Self {
        if words.is_none() {
            return self;
        }
        self.with(|inner| inner.last_words = words)
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            fault: shared.fault,
            text: shared.text.clone(),
            last_words: shared.last_words.clone(),
            source: Some(Box::new(Self(shared))),
        });
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// What went wrong.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.0.fault
    }

    /// What the server, the tool or the system said about it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What the attempt that ended with this error was.
    #[must_use]
    pub fn class(&self) -> Class {
        classify::class(self.0.fault, &self.0.text)
    }
}

impl poet_runtime::Classify for McpError {
    fn class(&self) -> Class {
        Self::class(self)
    }
}

impl fmt::Debug for McpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpError")
            .field("fault", &self.0.fault)
            .field("text", &self.0.text)
            .field("last_words", &self.0.last_words)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for McpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { fault, text, last_words, .. } = &*self.0;
        match fault {
            Fault::Start => write!(f, "the server cannot be started")?,
            Fault::Connect => write!(f, "no connection")?,
            Fault::Session => write!(f, "the server does not know the session")?,
            Fault::Lost => write!(f, "the connection was lost")?,
            Fault::Timeout { sent: true } => write!(f, "no answer in time")?,
            Fault::Timeout { sent: false } => write!(f, "not connected in time")?,
            Fault::Http { status, .. } => write!(f, "the server answered HTTP {status}")?,
            Fault::Rpc { code } => write!(f, "the server answered error {code}")?,
            Fault::UnknownTool => write!(f, "the server has no such tool")?,
            Fault::Tool => write!(f, "the tool failed")?,
            Fault::Masked => write!(f, "the tool answered an error as if it had succeeded")?,
            Fault::Answer => write!(f, "the answer is not what the protocol says")?,
            Fault::Input => write!(f, "the tool asks for input")?,
            Fault::Refused => write!(f, "not sent")?,
        }
        if !text.is_empty() {
            write!(f, ": {text}")?;
        }
        if let Some(words) = last_words {
            write!(f, " (the server last said: {words})")?;
        }
        Ok(())
    }
}

impl StdError for McpError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
