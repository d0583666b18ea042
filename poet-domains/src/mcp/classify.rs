//! Decides what a [`Fault`] says about the service: the whole table, in one place.
//!
//! The two questions are whether the request may have been executed, and whether asking again can help. No code and no
//! flag answers them alone: JSON-RPC's server codes have no agreed meaning, servers report their own overload as
//! `isError` text, and proxies answer for servers they never asked. So it is decided by evidence, and where there is
//! none, for the caution of "may have run" and "will not help".
//!
//! | fault | class | why |
//! |---|---|---|
//! | cannot be started | `Permanent` | a missing program stays missing |
//! | no connection, not connected in time | `Network { sent: false }` | nothing was sent |
//! | session unknown, headers outdated | `Network { sent: false }` | refused before anything was executed |
//! | connection lost | `Network { sent: true }` | |
//! | no answer in time | `Timeout` | |
//! | 429; 503 with `Retry-After` | `Throttled` | a deliberate refusal, which a crash is not |
//! | 408, 425, 500, 502, 503, 504, other 5xx | `Transient` | a gateway cannot know how far the server got |
//! | 501, 505, 511, every other status | `Permanent` | |
//! | -32603 | `Transient` | an internal error |
//! | -32700, -32600, -32601, -32602, -32002, -32021, -32022 | `Permanent` | the request itself is at fault |
//! | any other code | by its text | |
//! | unknown tool, input asked for | `Permanent` | |
//! | `isError: true`, an error without it | by its text | |
//! | an answer that is none | `Invalid` | |
//! | refused here | `Permanent` | it would be again |
//!
//! By its text: a rate limit is transient; what reads like a complaint about the request is permanent; what reads like
//! a passing trouble is transient; anything else is permanent. Text never makes it `Throttled`, because a tool that was
//! throttled half-way has run.

use super::fault::Fault;
use poet_runtime::Class;
use std::time::Duration;

/// The class of a fault, given what was said about it.
pub(crate) fn class(fault: Fault, text: &str) -> Class {
    match fault {
        Fault::Connect | Fault::Session | Fault::Timeout { sent: false } => Class::Network { sent: false },
        Fault::Lost => Class::Network { sent: true },
        Fault::Timeout { sent: true } => Class::Timeout,
        Fault::Http { status, retry_after } => by_status(status, retry_after),
        Fault::Rpc { code } => by_code(code, text),
        Fault::Tool | Fault::Masked => by_text(text),
        Fault::Answer => Class::Invalid,
        Fault::Start | Fault::UnknownTool | Fault::Input | Fault::Refused => Class::Permanent,
    }
}

fn by_status(status: u16, retry_after: Option<Duration>) -> Class {
    match crate::http::by_status(status, retry_after) {
        // What is a fault has no answer of the server in it, whatever its status says.
        Class::Success => Class::Permanent,
        class => class,
    }
}

fn by_code(code: i32, text: &str) -> Class {
    match code {
        -32603 => Class::Transient,
        -32700 | -32600 | -32601 | -32602 | -32002 | -32021 | -32022 => Class::Permanent,
        _ => by_text(text),
    }
}

const RATE_LIMITS: &[&str] = &["rate limit", "rate-limit", "ratelimit", "too many requests", "quota exceeded"];

const COMPLAINTS: &[&str] = &[
    "invalid",
    "validation",
    "required",
    "must be",
    "must not",
    "expected",
    "not found",
    "no such",
    "does not exist",
    "unknown tool",
    "unauthorized",
    "unauthenticated",
    "forbidden",
    "permission denied",
    "access denied",
    "not allowed",
    "unsupported",
];

const PASSING: &[&str] = &[
    "timed out",
    "timeout",
    "temporar",
    "try again",
    "retry later",
    "unavailable",
    "overloaded",
    "at capacity",
    "connection reset",
    "connection refused",
    "connection closed",
    "econnreset",
    "econnrefused",
    "etimedout",
    "socket hang up",
    "internal server error",
    "bad gateway",
    "deadlock",
];

fn by_text(text: &str) -> Class {
    let text = text.to_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    if has(RATE_LIMITS) || names_status(&text, &[429]) {
        return Class::Transient;
    }
    if has(COMPLAINTS) {
        return Class::Permanent;
    }
    if has(PASSING) || names_status(&text, &[500, 502, 503, 504]) { Class::Transient } else { Class::Permanent }
}

/// Whether a text names one of these HTTP statuses as a status: "HTTP 503", "status code 502", "503: ...".
fn names_status(text: &str, statuses: &[u16]) -> bool {
    let mut before = "";
    for (index, word) in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).enumerate() {
        let is_status = word.parse().is_ok_and(|number| statuses.contains(&number));
        if is_status && (index == 0 || matches!(before, "http" | "status" | "code" | "error" | "statuscode")) {
            return true;
        }
        before = word;
    }
    false
}

/// Whether a JSON-RPC error says that the server does not know our session, or finds our headers outdated.
///
/// Both are refusals before anything was executed, mended by connecting anew. There is no agreed code for the first:
/// the TypeScript SDK uses -32000 and -32001, the Python SDK -32600.
pub(crate) fn is_session_lost(code: i32, text: &str) -> bool {
    const HEADER_MISMATCH: i32 = -32020;
    let about_session = || {
        let text = text.to_lowercase();
        let gone = ["not found", "no valid", "unknown", "expired", "terminated", "not initialized", "missing"];
        text.contains("server not initialized")
            || (text.contains("session") && gone.iter().any(|sign| text.contains(sign)))
    };
    code == HEADER_MISMATCH || (matches!(code, -32600 | -32000 | -32001) && about_session())
}

/// Whether an answer to a tool that is not on the server's list reads as "there is no such tool".
///
/// Servers say it in three ways: error -32602 (or -32601), `isError: true`, and a plain text that claims success.
pub(crate) fn reads_as_unknown_tool(text: &str) -> bool {
    let text = text.to_lowercase();
    let about_tool = text.contains("tool") || text.contains("method");
    about_tool && ["unknown", "not found", "no such", "does not exist", "not exist"].iter().any(|s| text.contains(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_deliberate_refusal_counts_as_throttled() {
        let status = |status, retry_after| class(Fault::Http { status, retry_after }, "");
        let wait = Some(Duration::from_secs(2));
        assert_eq!(status(429, None), Class::Throttled { retry_after: None });
        assert_eq!(status(503, wait), Class::Throttled { retry_after: wait });
        assert_eq!(status(503, None), Class::Transient);
        assert_eq!(status(502, wait), Class::Transient);
        for refused in [400, 401, 403, 404, 413, 415, 422, 501] {
            assert_eq!(status(refused, None), Class::Permanent, "{refused}");
        }
    }

    #[test]
    fn a_code_without_agreed_meaning_is_read_by_its_text() {
        let rpc = |code, text| class(Fault::Rpc { code }, text);
        assert_eq!(rpc(-32603, "boom"), Class::Transient);
        assert_eq!(rpc(-32602, "try again"), Class::Permanent);
        assert_eq!(rpc(-32001, "Request timed out"), Class::Transient);
        assert_eq!(rpc(-32001, "no"), Class::Permanent);
    }

    #[test]
    fn a_tool_error_is_permanent_unless_it_reads_like_a_passing_trouble() {
        let tool = |text| class(Fault::Tool, text);
        for passing in [
            "Rate limit exceeded, retry in 3 s",
            "upstream answered HTTP 503",
            "503 Service Unavailable",
            "request timed out",
            "The service is temporarily offline",
            "Error: ECONNRESET",
        ] {
            assert_eq!(tool(passing), Class::Transient, "{passing}");
        }
        for lasting in [
            "timeout must be a number",
            "contact 503 has no e-mail address",
            "insufficient funds",
            "invalid request, try again",
            "",
        ] {
            assert_eq!(tool(lasting), Class::Permanent, "{lasting}");
        }
    }

    #[test]
    fn every_sdk_says_in_its_own_way_that_the_session_is_gone() {
        assert!(is_session_lost(-32000, "Bad Request: No valid session ID provided"));
        assert!(is_session_lost(-32001, "Session not found"));
        assert!(is_session_lost(-32600, "Session not found"));
        assert!(is_session_lost(-32000, "Bad Request: Server not initialized"));
        assert!(is_session_lost(-32020, "header mismatch"));
        assert!(!is_session_lost(-32602, "session not found in table"));
        assert!(!is_session_lost(-32600, "invalid request"));
    }
}
