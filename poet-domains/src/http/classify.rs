//! Decides what an HTTP answer, or the lack of one, says about the service: the whole table, in one place.
//!
//! | answer | class | why |
//! |---|---|---|
//! | 1xx, 2xx, 3xx | `Success` | |
//! | 429; 503 with `Retry-After` | `Throttled` | a deliberate refusal, which a crash is not |
//! | 408, 425, 500, 502, 503, 504, other 5xx | `Transient` | a gateway cannot know how far the server got |
//! | 501, 505, 511, 4xx | `Permanent` | the request itself is at fault, and the service is well |
//! | no connection | `Network { sent: false }` | nothing was sent |
//! | no answer in time | `Timeout` | |
//! | any other error of the client | `Network { sent: true }` | whoever does not know has to take it for sent |

use super::recognise;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use poet_runtime::{Class, Classify, Runtime, Wall};
use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

/// What a status says about the service; `now` is what a date in `Retry-After` is counted from.
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use poet_domains::http::class_of;
/// use poet_runtime::Class;
/// use std::time::{Duration, SystemTime};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(class_of(StatusCode::NOT_FOUND, &headers, SystemTime::now()), Class::Permanent);
/// headers.insert("retry-after", "7".parse().unwrap());
/// let throttled = Class::Throttled { retry_after: Some(Duration::from_secs(7)) };
/// assert_eq!(class_of(StatusCode::TOO_MANY_REQUESTS, &headers, SystemTime::now()), throttled);
/// ```
#[must_use]
pub fn class_of(status: StatusCode, headers: &HeaderMap, now: impl Into<Wall>) -> Class {
    by_status(status.as_u16(), retry_after(headers, now))
}

/// [`class_of`] for a response.
#[must_use]
pub fn class_of_response<B>(response: &Response<B>, now: impl Into<Wall>) -> Class {
    class_of(response.status(), response.headers(), now)
}

/// [`class_of`] for what a function returns, as it is written in `failure = poet::http::class_of_answer`.
///
/// # Examples
///
/// ```
/// use http::{Response, StatusCode};
/// use poet_domains::http::class_of_answer;
/// use poet_runtime::{Class, Error};
///
/// let mut response = Response::new("try later");
/// *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
/// assert_eq!(class_of_answer::<_, Error>(&Ok(response)), Class::Transient);
/// ```
#[must_use]
pub fn class_of_answer<B, E: StdError + 'static>(answer: &Result<Response<B>, E>) -> Class {
    match answer {
        Ok(response) => class_of_response(response, wall()),
        Err(error) => class_of_error(error),
    }
}

/// What an error of an HTTP client says: the first link of its chain that anybody knows decides.
///
/// An error that nobody knows is a connection that was lost after the request may have been sent: there was no answer,
/// and that is all that is known.
#[must_use]
pub fn class_of_error(error: &(dyn StdError + 'static)) -> Class {
    const LOST: Class = Class::Network { sent: true };
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(ours) = error.downcast_ref::<poet_runtime::Error>() {
            return ours.class();
        }
        if let Some(class) = recognise(error) {
            return class;
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return match (io.kind(), Classify::class(io)) {
                // There was an answer, and it could not be read.
                (io::ErrorKind::InvalidData, _) | (_, Class::Transient) => LOST,
                (_, class) => class,
            };
        }
        link = error.source();
    }
    LOST
}

/// How long the service asks to be left alone, by its `Retry-After`: seconds or a date, rounded up to the second.
///
/// `None` if there is no such header, or it is neither.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: impl Into<Wall>) -> Option<Duration> {
    read_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now.into())
}

pub(crate) fn read_retry_after(value: &str, now: Wall) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        let seconds = seconds.ceil();
        return (seconds.is_finite() && seconds >= 0.0)
            .then(|| Duration::from_secs_f64(seconds.min(f64::from(u32::MAX))));
    }
    let date: SystemTime = httpdate::parse_http_date(value).ok()?;
    let millis = Wall::from(date).millis().saturating_sub(now.millis());
    Some(Duration::from_secs(u64::try_from(millis).unwrap_or(0).div_ceil(1000)))
}

pub(crate) fn by_status(status: u16, retry_after: Option<Duration>) -> Class {
    match status {
        ..400 => Class::Success,
        429 => Class::Throttled { retry_after },
        503 if retry_after.is_some() => Class::Throttled { retry_after },
        501 | 505 | 511 => Class::Permanent,
        408 | 425 | 500..=599 => Class::Transient,
        _ => Class::Permanent,
    }
}

/// What reqwest says of its own errors; `None` where their sources have to.
#[cfg(feature = "reqwest")]
pub(crate) fn by_reqwest(error: &reqwest::Error) -> Option<Class> {
    // A connection that was not made in time is both; that nothing was sent is what matters.
    if error.is_connect() {
        return Some(Class::Network { sent: false });
    }
    if error.is_timeout() {
        return Some(Class::Timeout);
    }
    if let Some(status) = error.status() {
        // It has kept no headers.
        return Some(by_status(status.as_u16(), None));
    }
    if error.is_builder() || error.is_redirect() {
        return Some(Class::Permanent);
    }
    if error.is_decode() {
        return Some(Class::Invalid);
    }
    (error.is_request() || error.is_body()).then_some(Class::Network { sent: true })
}

/// The time by the clock of the runtime in force.
pub(super) fn wall() -> Wall {
    Runtime::current().clock().wall()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Option<Duration> = Some(Duration::from_secs(2));
    const ASKED: Class = Class::Throttled { retry_after: TWO };
    const REFUSED: Class = Class::Throttled { retry_after: None };

    /// Status, class, class with `Retry-After: 2`.
    const TABLE: &[(u16, Class, Class)] = &[
        (100, Class::Success, Class::Success),
        (200, Class::Success, Class::Success),
        (201, Class::Success, Class::Success),
        (202, Class::Success, Class::Success),
        (204, Class::Success, Class::Success),
        (301, Class::Success, Class::Success),
        (304, Class::Success, Class::Success),
        (308, Class::Success, Class::Success),
        (400, Class::Permanent, Class::Permanent),
        (401, Class::Permanent, Class::Permanent),
        (403, Class::Permanent, Class::Permanent),
        (404, Class::Permanent, Class::Permanent),
        (405, Class::Permanent, Class::Permanent),
        (408, Class::Transient, Class::Transient),
        (409, Class::Permanent, Class::Permanent),
        (410, Class::Permanent, Class::Permanent),
        (413, Class::Permanent, Class::Permanent),
        (422, Class::Permanent, Class::Permanent),
        (425, Class::Transient, Class::Transient),
        (429, REFUSED, ASKED),
        (451, Class::Permanent, Class::Permanent),
        (500, Class::Transient, Class::Transient),
        (501, Class::Permanent, Class::Permanent),
        (502, Class::Transient, Class::Transient),
        (503, Class::Transient, ASKED),
        (504, Class::Transient, Class::Transient),
        (505, Class::Permanent, Class::Permanent),
        (507, Class::Transient, Class::Transient),
        (511, Class::Permanent, Class::Permanent),
        (529, Class::Transient, Class::Transient),
        (599, Class::Transient, Class::Transient),
        (999, Class::Permanent, Class::Permanent),
    ];

    #[test]
    fn every_status_has_the_class_of_the_table() {
        let mut asking = HeaderMap::new();
        asking.insert(RETRY_AFTER, "2".parse().unwrap());
        for &(status, plain, asked) in TABLE {
            let code = StatusCode::from_u16(status).unwrap();
            let now = Wall::from_millis(0);
            let found = (class_of(code, &HeaderMap::new(), now), class_of(code, &asking, now));
            assert_eq!(found, (plain, asked), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_rounded_up() {
        let now = Wall::from(httpdate::parse_http_date("Fri, 20 Nov 2026 20:00:00 GMT").unwrap());
        let now = Wall::from_millis(now.millis() + 1);
        let read = |value| read_retry_after(value, now);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read(" 1.2 "), Some(Duration::from_secs(2)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("Fri, 20 Nov 2026 20:00:09 GMT"), Some(Duration::from_secs(9)));
        // The two forms that are obsolete and still to be understood.
        assert_eq!(read("Friday, 20-Nov-26 20:00:09 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(read("Fri Nov 20 20:00:09 2026"), Some(Duration::from_secs(9)));
        assert_eq!(read("Fri, 20 Nov 2026 19:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["-1", "soon", "", "NaN", "inf"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[derive(Debug)]
    struct Wrapped(Box<dyn StdError + Send + Sync>);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "wrapped")
        }
    }

    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn an_error_is_what_the_first_known_link_of_its_chain_says() {
        let class = |error: Box<dyn StdError + Send + Sync>| class_of_error(&Wrapped(error));
        let io = |kind: io::ErrorKind| Box::new(io::Error::from(kind));
        assert_eq!(class(io(io::ErrorKind::ConnectionRefused)), Class::Network { sent: false });
        assert_eq!(class(io(io::ErrorKind::ConnectionReset)), Class::Network { sent: true });
        assert_eq!(class(io(io::ErrorKind::TimedOut)), Class::Timeout);
        assert_eq!(class(Box::new(poet_runtime::Error::service(Class::Invalid, "no JSON"))), Class::Invalid);
        let throttled = super::super::StatusError::new(StatusCode::TOO_MANY_REQUESTS, TWO);
        assert_eq!(class(Box::new(throttled)), ASKED);
    }

    #[test]
    fn an_error_nobody_knows_may_have_been_sent() {
        let unreadable = io::Error::from(io::ErrorKind::InvalidData);
        for error in
            [Box::<dyn StdError + Send + Sync>::from("boom"), io::Error::other("boom").into(), unreadable.into()]
        {
            assert_eq!(class_of_error(&Wrapped(error)), Class::Network { sent: true });
        }
    }
}
