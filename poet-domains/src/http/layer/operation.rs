//! Decides under which names a request is learned of: few, and without what belongs to one customer.
//!
//! An operation is a method and a route. Where the author does not say the route it is read off the path: up to two
//! segments that mean something (`api` and versions before them do not count), those that look like ids replaced. What
//! looks like a word and is one of very many (`/users/alice`) is caught by a bound: once a layer has made
//! [`MOST_NAMES`] names by itself, further paths share one.

use http::request::Parts;
use http::uri::Authority;
use http::{Uri, header};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

/// Names that a layer makes of paths.
const MOST_NAMES: usize = 256;
/// Segments that a route is made of.
const SEGMENTS: usize = 2;
/// A longer segment is no word.
const LONGEST_WORD: usize = 40;
/// Stands for a segment that is different for each thing.
const ID: &str = "{id}";
/// Stands for all routes once there are too many.
const OTHERS: &str = "(others)";
/// The service of a request that names no host.
const NOWHERE: &str = "(no host)";

/// The service of a request that goes where it says: host, and port where one is written.
pub(super) fn host(parts: &Parts) -> String {
    let named = |authority: &Authority| match authority.port() {
        Some(port) => format!("{}:{port}", authority.host()).to_ascii_lowercase(),
        None => authority.host().to_ascii_lowercase(),
    };
    let header = || parts.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
    parts.uri.authority().map(named).or_else(|| header().as_ref().map(named)).unwrap_or_else(|| NOWHERE.to_owned())
}

/// The route of a path.
fn route(uri: &Uri) -> String {
    let path = uri.path();
    // `*` of OPTIONS.
    if !path.starts_with('/') {
        return if path.is_empty() { "/".to_owned() } else { path.chars().take(1).collect() };
    }
    let mut route = String::new();
    let mut counted = 0;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if counted == SEGMENTS {
            route.push_str("/*");
            break;
        }
        if !(counted == 0 && is_preamble(segment)) {
            counted += 1;
        }
        let shown = if is_id(segment) { ID } else { segment };
        write!(route, "/{shown}").expect("a string takes everything");
    }
    if route.is_empty() { "/".to_owned() } else { route }
}

fn is_preamble(segment: &str) -> bool {
    matches!(segment, "api" | "rest") || is_version(segment)
}

/// `v1`, `v1beta2`.
fn is_version(word: &str) -> bool {
    let number = word.strip_prefix('v').unwrap_or_default();
    number.starts_with(|c: char| c.is_ascii_digit())
        && number.len() <= 8
        && number.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase())
}

/// Whether a segment names one thing among many: a number, a UUID, a key, an address.
fn is_id(segment: &str) -> bool {
    let is_separator = |c: char| matches!(c, '.' | '-' | '_' | ':' | '~');
    segment.len() > LONGEST_WORD
        || !segment.chars().all(|c| c.is_ascii_alphanumeric() || is_separator(c))
        || segment.split(is_separator).any(is_id_word)
}

fn is_id_word(word: &str) -> bool {
    const SHORT: usize = 8;
    let digits = word.chars().filter(char::is_ascii_digit).count();
    // `oauth2`, `s3` and `v1` are words; `2024`, `a81bc81b` and `NffrFeUfNV2Hib` are none.
    !is_version(word) && (digits > 1 || (digits == 1 && (word.len() > SHORT || word.len() == 1)))
}

/// The names that a layer made of paths.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<HashSet<String>>);

impl Names {
    /// The operation of a request whose route nobody said.
    pub(super) fn operation(&self, service: &str, parts: &Parts) -> String {
        let operation = format!("{} {}", parts.method, route(&parts.uri));
        let name = format!("{service} {operation}");
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&name) {
            return operation;
        }
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MOST_NAMES || names.contains(&name) {
            names.insert(name);
            return operation;
        }
        OTHERS.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str) -> Parts {
        Request::get(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_route_is_what_its_path_shares_with_others() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/customers", "/customers"),
            ("/customers/", "/customers"),
            ("/customers?secret=1", "/customers"),
            ("/customers/42", "/customers/{id}"),
            ("/customers/42/orders", "/customers/{id}/*"),
            ("/customers/search", "/customers/search"),
            ("/api/v2/customers/42/orders/7", "/api/v2/customers/{id}/*"),
            ("/v1beta1/items", "/v1beta1/items"),
            ("/users/550e8400-e29b-41d4-a716-446655440000", "/users/{id}"),
            ("/users/cus_NffrFeUfNV2Hib", "/users/{id}"),
            ("/users/ann@example.com", "/users/{id}"),
            ("/users/ann%20lee", "/users/{id}"),
            ("/users/deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdead", "/users/{id}"),
            ("/reports/2026-11-20", "/reports/{id}"),
            ("/items/7", "/items/{id}"),
            ("/42", "/{id}"),
            ("/oauth2/token", "/oauth2/token"),
            ("/customers:batchGet", "/customers:batchGet"),
            ("/helloworld.v1.Greeter/SayHello", "/helloworld.v1.Greeter/SayHello"),
        ] {
            assert_eq!(route(&path.parse().unwrap()), expected, "{path}");
        }
        assert_eq!(route(&Uri::from_static("*")), "*");
    }

    #[test]
    fn a_host_is_named_without_credentials_and_by_its_header_if_need_be() {
        assert_eq!(host(&parts("https://ann:secret@API.example.com/x")), "api.example.com");
        assert_eq!(host(&parts("http://localhost:8080/x")), "localhost:8080");
        assert_eq!(host(&parts("/x")), "(no host)");
        let mut by_header = parts("/x");
        by_header.headers.insert(header::HOST, "Api.example.com".parse().unwrap());
        assert_eq!(host(&by_header), "api.example.com");
    }

    #[test]
    fn there_is_an_end_to_the_names_made_of_paths() {
        let names = Names::default();
        let word = |n: usize| n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
        let made: HashSet<_> =
            (0..MOST_NAMES * 2).map(|n| names.operation("crm", &parts(&format!("/users/{}", word(n))))).collect();
        assert_eq!(made.len(), MOST_NAMES + 1);
        assert!(made.contains(OTHERS) && made.contains("GET /users/a"));
    }
}
