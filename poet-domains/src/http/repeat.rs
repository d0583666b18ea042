//! Decides whether a request may be executed twice, by what HTTP says of it.

use http::{HeaderMap, HeaderName, Method};

/// The header by which a client names one request, so that a server executes it once however often it is sent
/// (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether a request may be executed twice: its method is idempotent (RFC 9110, 9.2.2), or it carries an
/// `Idempotency-Key`. Unknown means no.
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, Method};
/// use poet_domains::http::{IDEMPOTENCY_KEY, is_repeatable};
///
/// let mut headers = HeaderMap::new();
/// assert!(is_repeatable(&Method::PUT, &headers));
/// assert!(!is_repeatable(&Method::POST, &headers));
/// headers.insert(IDEMPOTENCY_KEY, "order-7".parse().unwrap());
/// assert!(is_repeatable(&Method::POST, &headers));
/// ```
#[must_use]
pub fn is_repeatable(method: &Method, headers: &HeaderMap) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE => true,
        Method::POST | Method::PATCH => headers.get(IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_post_and_patch_are_made_repeatable_by_a_key() {
        let bare = HeaderMap::new();
        let keyed = HeaderMap::from_iter([(IDEMPOTENCY_KEY, "7".parse().unwrap())]);
        let empty = HeaderMap::from_iter([(IDEMPOTENCY_KEY, "".parse().unwrap())]);
        for (method, alone, with_key) in [
            ("GET", true, true),
            ("HEAD", true, true),
            ("OPTIONS", true, true),
            ("TRACE", true, true),
            ("PUT", true, true),
            ("DELETE", true, true),
            ("POST", false, true),
            ("PATCH", false, true),
            ("CONNECT", false, false),
            ("LOCK", false, false),
            ("get", false, false),
        ] {
            let of = |headers| is_repeatable(&Method::from_bytes(method.as_bytes()).unwrap(), headers);
            assert_eq!((of(&bare), of(&keyed), of(&empty)), (alone, with_key, alone), "{method}");
        }
    }
}
