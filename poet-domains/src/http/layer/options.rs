//! What is said about calls beside the requests themselves.

use poet_runtime::Priority;
use std::borrow::Cow;
use std::time::Duration;

/// What holds for a request, or for all requests of a [`PoetLayer`](super::PoetLayer): what is written is a pin.
///
/// Put into the extensions of a request, it holds for that one and stands before what the layer says.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use poet_domains::http::CallOptions;
/// use std::time::Duration;
///
/// let mut request = Request::post("https://api.example.com/users/7/renew").body(()).unwrap();
/// request.extensions_mut().insert(
///     CallOptions::new().route("/users/{id}/renew").idempotent(true).deadline(Duration::from_secs(5)),
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct CallOptions {
    pub(super) route: Option<Cow<'static, str>>,
    pub(super) idempotent: Option<bool>,
    pub(super) priority: Option<Priority>,
    pub(super) deadline: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: Option<u8>,
}

impl CallOptions {
    /// Nothing said.
    pub fn new() -> Self {
        Self::default()
    }

    /// The template of the path: with the method before it, it is the operation that is learned of. One of those that an
    /// API has, never a path itself.
    pub fn route(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.route = Some(template.into());
        self
    }

    /// Whether it may be executed twice, whatever its method and headers say.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// How much it matters to whoever waits for it.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// The longest the whole call may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The longest one attempt may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Extra tries.
    pub fn retries(mut self, retries: u8) -> Self {
        self.retries = Some(retries);
        self
    }

    /// These, and the others where these say nothing.
    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            route: self.route.or_else(|| other.route.clone()),
            idempotent: self.idempotent.or(other.idempotent),
            priority: self.priority.or(other.priority),
            deadline: self.deadline.or(other.deadline),
            timeout: self.timeout.or(other.timeout),
            retries: self.retries.or(other.retries),
        }
    }
}
