//! The error of a function whose service answered with a status that is one.

use super::classify::{by_status, retry_after, wall};
use http::{HeaderMap, StatusCode};
use poet_runtime::{Class, Classify};
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A service answered with a status that says that it did not do what was asked.
///
/// The domain `http_api` recognises it anywhere in the chain of a function's error, so that one under `anyhow::Error` or
/// an error type of your own needs no `failure = …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    status: StatusCode,
    retry_after: Option<Duration>,
}

impl StatusError {
    /// A status, and how long the service asked to be left alone.
    #[must_use]
    pub const fn new(status: StatusCode, retry_after: Option<Duration>) -> Self {
        Self { status, retry_after }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// How long the service asked to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl Classify for StatusError {
    fn class(&self) -> Class {
        by_status(self.status.as_u16(), self.retry_after)
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service answered {}", self.status)?;
        match self.retry_after {
            Some(wait) => write!(f, " and asked to wait {wait:?}"),
            None => Ok(()),
        }
    }
}

impl Error for StatusError {}

/// Makes an error of a status that is one: the line of a function under `#[poet(domain = "http_api")]` that says what its
/// answer was, by whatever client it came.
///
/// # Errors
///
/// [`StatusError`] for 4xx and 5xx, with the time that `Retry-After` asks for.
pub fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), StatusError> {
    if by_status(status.as_u16(), None) == Class::Success {
        return Ok(());
    }
    Err(StatusError::new(status, retry_after(headers, wall())))
}
