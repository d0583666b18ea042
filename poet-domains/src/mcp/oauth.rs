//! Who we are to an authorization server, and who shows its page to a person.
//!
//! A server that wants a token of its authorization server refuses the first request and says where to ask. What is to
//! be asked with stands here; the asking is done below, once for all requests that wait for it.

use super::connection::Target;
use super::input::Attended;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// The address a person was sent to after the page; `None` if there was no consent.
pub type Consenting<'a> = Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;

/// Shows a person the page of an authorization server. The limits of connecting, or of the call, hold meanwhile.
pub trait Consent: Send + Sync + fmt::Debug {
    /// Shows the page at this address, and gives back the address that the person was sent to after it: the redirect
    /// of [`OAuth::new`] with what the server added to it.
    fn ask<'a>(&'a self, page: &'a str) -> Consenting<'a>;
}

/// How a token is asked for. Its debug form shows no secret.
#[derive(Clone)]
pub struct OAuth {
    pub(super) redirect: String,
    pub(super) consent: Arc<dyn Consent>,
    pub(super) registered: Option<(String, Option<String>)>,
    pub(super) described_at: Option<String>,
}

impl OAuth {
    /// A client that registers itself, and to whose redirect a person is sent back with the code.
    pub fn new(redirect: impl Into<String>, consent: impl Consent + 'static) -> Self {
        Self { redirect: redirect.into(), consent: Arc::new(consent), registered: None, described_at: None }
    }

    /// A client that the authorization server knows already, by its identifier and its secret if it has one.
    #[must_use]
    pub fn registered(mut self, client: impl Into<String>, secret: Option<String>) -> Self {
        self.registered = Some((client.into(), secret));
        self
    }

    /// A client whose description lies at this address of `https`, for servers that read it there.
    #[must_use]
    pub fn described_at(mut self, address: impl Into<String>) -> Self {
        self.described_at = Some(address.into());
        self
    }
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth")
            .field("redirect", &self.redirect)
            .field("consent", &self.consent)
            .field("registered", &self.registered.as_ref().map(|(client, _)| client))
            .field("described_at", &self.described_at)
            .finish()
    }
}

impl Target {
    /// The server, and how a token for it is asked for, where it is reached over streamable HTTP or HTTP+SSE. It is sent
    /// in the place of the target's own.
    #[must_use]
    pub fn authorized_by(self, oauth: OAuth) -> Attended {
        Attended::from(self).authorized_by(oauth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Consent for Nobody {
        fn ask<'a>(&'a self, _: &'a str) -> Consenting<'a> {
            Box::pin(async { None })
        }
    }

    #[test]
    fn the_secret_of_a_client_is_not_shown() {
        let oauth = OAuth::new("http://localhost/back", Nobody).registered("poet", Some("hunter2".to_owned()));
        let shown = format!("{:?}", Target::http("http://crm.test/mcp").authorized_by(oauth));
        assert!(shown.contains("poet") && !shown.contains("hunter2"), "{shown}");
    }
}
