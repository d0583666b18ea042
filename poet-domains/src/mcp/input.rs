//! What a tool asks of a person before it goes on, and who answers.
//!
//! Without anybody to ask, such a call ends as [`Fault::Input`](super::Fault::Input), and the server is told beforehand
//! that there is nobody.

use super::connection::{Era, Limits, McpConnection, Pending, Target};
use super::sdk;
use super::session::Connector;
use super::signer::Signer;
use serde_json::{Map, Value};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// What a tool wants to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Question {
    /// What the person is to be told.
    pub message: String,
    /// The JSON schema of the answer: an object of simple fields.
    pub schema: Value,
}

impl Question {
    pub(super) fn new(message: String, schema: Value) -> Self {
        Self { message, schema }
    }

    /// The fields that the question itself proposes a value for.
    #[must_use]
    pub fn defaults(&self) -> Map<String, Value> {
        let fields = self.schema["properties"].as_object().into_iter().flatten();
        fields.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone()))).collect()
    }
}

/// The answer that is being thought about; `None` declines to give one.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Option<Map<String, Value>>> + Send + 'a>>;

/// Answers what tools ask while they are called. The call's own limits hold meanwhile.
pub trait Person: Send + Sync + fmt::Debug {
    /// Answers a question.
    fn answer(&self, question: Question) -> Answering<'_>;
}

/// A server with those who help in talking to it: somebody whom its tools may ask, somebody who consents to a token,
/// what signs the requests.
#[derive(Clone, Debug)]
pub struct Attended {
    target: Target,
    helpers: Helpers,
}

/// Those who help in talking to a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Helpers {
    pub(super) person: Option<Arc<dyn Person>>,
    pub(super) signer: Option<Signer>,
    #[cfg(feature = "oauth")]
    pub(super) authorizer: Option<Arc<sdk::Authorizer>>,
}

impl Attended {
    /// The server, and who answers what its tools ask.
    #[must_use]
    pub fn attended_by(mut self, person: impl Person + 'static) -> Self {
        self.helpers.person = Some(Arc::new(person));
        self
    }

    /// The server, and what is sent to it signed by this key, as [`Target::signed_by`] says.
    #[must_use]
    pub fn signed_by(mut self, signer: Signer) -> Self {
        self.helpers.signer = Some(signer);
        self
    }

    /// The server, and how a token for it is asked for, where it is reached over HTTP.
    #[cfg(feature = "oauth")]
    #[must_use]
    pub fn authorized_by(mut self, oauth: super::oauth::OAuth) -> Self {
        self.helpers.authorizer = Some(Arc::new(sdk::Authorizer::new(oauth)));
        self
    }
}

impl From<Target> for Attended {
    fn from(target: Target) -> Self {
        Self { target, helpers: Helpers::default() }
    }
}

impl Target {
    /// The server, and who answers what its tools ask.
    #[must_use]
    pub fn attended_by(self, person: impl Person + 'static) -> Attended {
        Attended::from(self).attended_by(person)
    }
}

impl Connector for Attended {
    fn connect<'a>(&'a self, era: Option<Era>, limits: &'a Limits) -> Pending<'a, (Arc<dyn McpConnection>, Era)> {
        Box::pin(sdk::connect(&self.target, &self.helpers, era, limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_has_a_default_is_proposed() {
        let schema = json!({ "type": "object", "properties": { "size": { "default": 7 }, "name": {} } });
        let proposed = Question::new("How large?".to_owned(), schema).defaults();
        assert_eq!(Value::Object(proposed), json!({ "size": 7 }));
        assert!(Question::new(String::new(), Value::Null).defaults().is_empty());
    }
}
