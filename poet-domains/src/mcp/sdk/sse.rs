//! The oldest transport over HTTP, of revision 2024-11-05, which the SDK does not have any more.
//!
//! A GET opens a stream of events that lives as long as the connection. Its first event names the address that messages
//! are posted to; answers come on the stream, whatever the POST is answered with. So a stream that ends has lost
//! whatever was asked for, and is not resumed: there is nothing in it by which a server could.

use super::http::{self, Events, Wire, WireError};
use futures_util::StreamExt;
use reqwest::Url;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use sse_stream::Sse as Event;
use std::sync::Arc;
use tokio::sync::mpsc;

/// An open stream, and where to post.
pub(super) struct Sse {
    line: Arc<Line>,
    events: Events,
    /// Answers that came in the body of a POST after all.
    answers: mpsc::Receiver<ServerJsonRpcMessage>,
}

/// What posting takes.
struct Line {
    wire: Wire,
    endpoint: Url,
    token: Option<String>,
    answered: mpsc::Sender<ServerJsonRpcMessage>,
}

/// Opens the stream and waits to be told where to post.
pub(super) async fn open(wire: Wire, url: &Url, token: Option<String>) -> Result<Sse, WireError> {
    let mut events = wire.open(url, token.clone()).await?;
    let endpoint = loop {
        match events.next().await {
            Some(Ok(Event { event: Some(kind), data: Some(data), .. })) if kind == "endpoint" => {
                break endpoint(url, data.trim())?;
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(WireError::Answer(http::deepest(&error))),
            None => return Err(WireError::Answer("the stream ended before it named an address to post to".to_owned())),
        }
    };
    let (answered, answers) = mpsc::channel(super::MAX_IN_FLIGHT);
    Ok(Sse { line: Arc::new(Line { wire, endpoint, token, answered }), events, answers })
}

/// The address to post to, which has to be of the same origin: the token is sent there.
fn endpoint(url: &Url, named: &str) -> Result<Url, WireError> {
    let endpoint = url.join(named).map_err(|error| WireError::Answer(format!("no address to post to: {error}")))?;
    if endpoint.origin() == url.origin() {
        return Ok(endpoint);
    }
    let (named, own) = (endpoint.origin().ascii_serialization(), url.origin().ascii_serialization());
    Err(WireError::Answer(format!("the address to post to is at {named}, and has to be at {own}")))
}

impl Transport<RoleClient> for Sse {
    type Error = WireError;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let line = self.line.clone();
        async move {
            if let Some(answer) = line.wire.hand_over(&line.endpoint, &message, line.token.clone()).await? {
                // Whoever receives it may be gone, and then nobody waits for it.
                let _ = line.answered.send(answer).await;
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let event = tokio::select! {
                biased;
                Some(answer) = self.answers.recv() => return Some(answer),
                event = self.events.next() => event?,
            };
            match event {
                Ok(event) => {
                    if let Some(message) = message(event) {
                        return Some(message);
                    }
                }
                Err(error) => {
                    tracing::debug!(error = http::deepest(&error), "the stream of events broke");
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.events = futures_util::stream::empty().boxed();
        Ok(())
    }
}

/// The message in an event; what is none is put up with, as stray text on a child's output is.
fn message(event: Event) -> Option<ServerJsonRpcMessage> {
    let is_message = event.event.as_deref().is_none_or(|kind| kind == "message");
    let data = event.data.filter(|_| is_message)?;
    serde_json::from_str(&data).inspect_err(|error| tracing::debug!(%error, "an event that is no message")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_posted_to_the_origin_that_was_connected_to_and_nowhere_else() {
        let url = Url::parse("http://crm.test:8080/sse").unwrap();
        let named = |named| endpoint(&url, named).map(String::from).map_err(|error| error.to_string());
        assert_eq!(named("/messages?id=7").unwrap(), "http://crm.test:8080/messages?id=7");
        assert_eq!(named("http://crm.test:8080/m").unwrap(), "http://crm.test:8080/m");
        for elsewhere in ["http://evil.test/m?key=1", "//evil.test/m", "https://crm.test:8080/m", "http://crm.test/m"] {
            let problem = named(elsewhere).unwrap_err();
            assert!(problem.contains("has to be at http://crm.test:8080") && !problem.contains("key"), "{problem}");
        }
    }
}
