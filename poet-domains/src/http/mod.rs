//! HTTP APIs, by whatever client: what an answer says about the service.
//!
//! ```text
//! layer      a tower layer around any client               requests through every stage of the runtime
//! classify   what a status, an error, a `Retry-After` says  pure
//! repeat     which requests may be executed twice           pure
//! status     an error that is a status
//! ```
//!
//! Under `#[poet(domain = "http_api")]` a function says with one line what its answer was:
//!
//! ```
//! use poet_domains::http::{StatusError, check};
//! use http::{HeaderMap, StatusCode};
//!
//! // `response.status()` and `response.headers()` of reqwest, hyper, ureq, …
//! fn body(status: StatusCode, headers: &HeaderMap) -> Result<&'static str, StatusError> {
//!     check(status, headers)?;
//!     Ok("the body")
//! }
//!
//! assert!(body(StatusCode::OK, &HeaderMap::new()).is_ok());
//! assert_eq!(body(StatusCode::BAD_GATEWAY, &HeaderMap::new()).unwrap_err().status(), StatusCode::BAD_GATEWAY);
//! ```

mod classify;
#[cfg(feature = "tower")]
mod layer;
mod repeat;
mod status;

#[cfg(feature = "mcp")]
pub(crate) use classify::{by_status, read_retry_after};
pub use classify::{class_of, class_of_answer, class_of_error, class_of_response, retry_after};
#[cfg(feature = "tower")]
pub use layer::{CallOptions, Cloned, CopiedBy, PoetLayer, PoetService, Repeats, ResponseFuture, Streaming};
pub use repeat::{IDEMPOTENCY_KEY, is_repeatable};
pub use status::{StatusError, check};

use poet_runtime::{Class, Classify as _};
use std::error::Error;

/// Recognises what HTTP clients fail with in the source chain of a function's error.
pub(crate) fn recognise(error: &(dyn Error + 'static)) -> Option<Class> {
    if let Some(status) = error.downcast_ref::<StatusError>() {
        return Some(status.class());
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return classify::by_reqwest(error);
    }
    None
}
