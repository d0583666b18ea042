//! How JSON reads: by which keys say that it failed, and whether anything beside them is an answer.
//!
//! `{"error": "not found", "code": 404}` says nothing but that it failed. `{"id": 7, "error": "late", "items": […]}` is
//! an answer that mentions a failure, such as that of a job or a check, and `"error": null` says that there was none.
//! What is empty, `false` or 0 is no answer, and neither is what was sent and comes back.

use super::{Reading, text};
use serde_json::{Map, Value};

/// What an object says in one of these is an error, if it says anything.
const ERRORS: &[&str] = &["error", "Error", "err", "error_message", "errorMessage", "exception"];
/// Here it says several, or none.
const SEVERAL: &str = "errors";
/// `false` here says that it failed.
const WELL: &[&str] = &["success", "ok", "succeeded"];
/// `true` here does.
const ILL: &[&str] = &["isError", "is_error"];
/// In words.
const STATES: &[&str] = &["status", "result", "outcome"];
/// By a number of HTTP's, or a name.
const CODES: &[&str] = &["status", "statusCode", "status_code", "code", "httpStatus"];

/// The text of a content block.
const TEXT: &str = "text";

/// Whether an object without this key may read quite otherwise than one with it.
fn counts(key: &str) -> bool {
    key == TEXT || key == SEVERAL || [ERRORS, WELL, ILL, STATES, CODES].iter().any(|names| names.contains(&key))
}

/// How JSON reads that answers these arguments.
pub(super) fn read(value: &Value, sent: &Map<String, Value>) -> Reading {
    match value {
        Value::Object(object) => of_object(object, sent),
        // One item is often a wrapping: `[{"text": "Error …"}]`.
        Value::Array(items) => match &items[..] {
            [Value::Object(object)] => of_object(object, sent),
            [Value::String(text)] => text::read(text),
            _ => Reading::Plain,
        },
        _ => Reading::Plain,
    }
}

fn of_object(object: &Map<String, Value>, sent: &Map<String, Value>) -> Reading {
    // Most answers have none of the words that are looked for below, one by one.
    if !object.keys().any(|key| counts(key)) {
        return Reading::Plain;
    }
    if let Some(text) = only_text(object) {
        return text::read(text);
    }
    let sign = [error(object), verdict(object), status(object), problem(object)].into_iter().max();
    match sign.unwrap_or(Sign::None) {
        Sign::None => Reading::Plain,
        // Beside an answer, it is a part of it.
        Sign::Says if has_answer(object, sent) => Reading::Plain,
        Sign::Says => Reading::Complaint,
        Sign::Fails if has_answer(object, sent) => Reading::Complaint,
        // Such as the single tests of a run that failed.
        Sign::FailsFor if has_findings(object) => Reading::Complaint,
        Sign::Fails | Sign::FailsFor => Reading::Error,
    }
}

/// What an object says about having failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    None,
    /// Something failed, perhaps that which was asked about.
    Says,
    /// The call failed, if nothing else is said.
    Fails,
    /// The call failed, and why.
    FailsFor,
}

/// `{"type": "text", "text": "…"}`, as a content block that was put into text.
fn only_text(object: &Map<String, Value>) -> Option<&str> {
    let text = object.get(TEXT)?.as_str()?;
    let alone = object.keys().all(|key| matches!(key.as_str(), "text" | "type" | "annotations"));
    alone.then_some(text)
}

/// `error` and its kin, where they say something.
fn error(object: &Map<String, Value>) -> Sign {
    let said = ERRORS.iter().filter_map(|name| object.get(*name)).any(says_something);
    let several = matches!(object.get(SEVERAL), Some(Value::Array(errors)) if !errors.is_empty());
    let without_data = object.get("data").is_some_and(Value::is_null);
    match (said, several) {
        (true, _) => Sign::Fails,
        // What a linter answers; GraphQL says `"data": null` beside it.
        (false, true) if without_data => Sign::Fails,
        (false, true) => Sign::Says,
        (false, false) => Sign::None,
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Number(_) | Value::Array(_) => false,
        Value::Bool(failed) => *failed,
        Value::String(text) => {
            !text.trim().is_empty() && !matches!(text.to_lowercase().as_str(), "none" | "null" | "no")
        }
        Value::Object(error) => {
            const PARTS: &[&str] = &["message", "code", "type", "reason", "detail", "details", "name", "status", "msg"];
            error.keys().any(|key| PARTS.contains(&key.as_str()))
        }
    }
}

/// `"success": false` and its kin.
fn verdict(object: &Map<String, Value>) -> Sign {
    let is = |names: &[&str], verdict: bool| {
        names.iter().any(|name| object.get(*name).and_then(Value::as_bool) == Some(verdict))
    };
    if !is(WELL, false) && !is(ILL, true) {
        return Sign::None;
    }
    match (explained(object), error(object)) {
        (_, Sign::Fails) => Sign::FailsFor,
        (true, _) => Sign::Fails,
        (false, _) => Sign::Says,
    }
}

/// `"status": "error"` and its kin. That something has failed may be what was asked about: a job, a deployment.
fn status(object: &Map<String, Value>) -> Sign {
    let status = STATES.iter().filter_map(|name| object.get(*name)?.as_str());
    let mut sign = Sign::None;
    for status in status {
        sign = sign.max(match status.to_lowercase().as_str() {
            "error" => Sign::Fails,
            "fail" | "failed" | "failure" if explained(object) => Sign::Fails,
            "fail" | "failed" | "failure" => Sign::Says,
            _ => Sign::None,
        });
    }
    sign
}

/// What is written about HTTP errors: `{"message": "Not Found", "status": "404"}`, RFC 9457's `title` and `detail`; and a
/// code that names an error beside its message.
fn problem(object: &Map<String, Value>) -> Sign {
    let failed = CODES.iter().any(|name| {
        let status = match object.get(*name) {
            Some(Value::Number(status)) => status.as_u64(),
            Some(Value::String(status)) => status.parse().ok(),
            _ => None,
        };
        status.is_some_and(|status| (400..600).contains(&status))
    });
    let coded = object.get("code").and_then(Value::as_str).is_some_and(|code| {
        let code = code.to_lowercase();
        code.contains("error") || code.starts_with("err_")
    });
    if (failed || coded) && explained(object) { Sign::Fails } else { Sign::None }
}

fn explained(object: &Map<String, Value>) -> bool {
    ["message", "error", "reason", "detail", "details", "msg", "description", "title"]
        .iter()
        .any(|name| matches!(object.get(*name), Some(Value::String(text)) if !text.trim().is_empty()))
}

/// Whether anything beside the failure is said that could have been asked for.
fn has_answer(object: &Map<String, Value>, sent: &Map<String, Value>) -> bool {
    let comes_back = |value: &Value| sent.values().any(|sent| sent == value);
    object.iter().any(|(key, value)| !is_empty(value) && !goes_with_an_error(key) && !comes_back(value))
}

/// Whether what could have been asked for is more than a word that says what it was about.
fn has_findings(object: &Map<String, Value>) -> bool {
    let found = |value: &Value| (value.is_array() || value.is_object()) && !is_empty(value);
    object.iter().any(|(key, value)| found(value) && !goes_with_an_error(key))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(holds) => !holds,
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

fn goes_with_an_error(key: &str) -> bool {
    const COMPANIONS: &[&str] = &[
        "code",
        "description",
        "detail",
        "details",
        "documentation_url",
        "err",
        "error",
        "error_code",
        "error_description",
        "error_message",
        "error_type",
        "errorcode",
        "errormessage",
        "errortype",
        "errors",
        "exception",
        "help",
        "hint",
        "hints",
        "httpstatus",
        "id",
        "instance",
        "is_error",
        "iserror",
        "jsonrpc",
        "kind",
        "message",
        "messages",
        "msg",
        "name",
        "ok",
        "outcome",
        "path",
        "reason",
        "recoverable",
        "request_id",
        "requestid",
        "result",
        "retry",
        "retry_after",
        "retryable",
        "retryafter",
        "stack",
        "stacktrace",
        "state",
        "status",
        "status_code",
        "statuscode",
        "statustext",
        "succeeded",
        "success",
        "suggestion",
        "suggestions",
        "timestamp",
        "title",
        "tool",
        "trace",
        "trace_id",
        "traceback",
        "traceid",
        "type",
        "url",
    ];
    COMPANIONS.contains(&key.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plainly(value: &Value) -> Reading {
        read(value, &Map::new())
    }

    #[test]
    fn what_says_only_that_it_failed_is_an_error() {
        for error in [
            json!({ "error": "repository not found" }),
            json!({ "error": { "code": 404, "message": "gone" }, "jsonrpc": "2.0", "id": 1 }),
            json!({ "status": "error", "reason": "1 validation error" }),
            json!({ "status": "error" }),
            json!({ "status": "failed", "message": "no access" }),
            json!({ "success": false, "message": "no access" }),
            json!({ "success": false, "error": "no access", "query": "a" }),
            json!({ "message": "Not Found", "documentation_url": "https://docs.test", "status": "404" }),
            json!({ "type": "about:blank", "title": "Forbidden", "status": 403, "detail": "no" }),
            json!({ "data": null, "errors": [{ "message": "no such field" }] }),
            json!([{ "text": "Error executing ClusterHealthTool: refused" }]),
            json!({ "error": "bad", "results": [] }),
            json!({ "code": "E_TOOL_ERROR", "message": "division by zero" }),
        ] {
            assert_eq!(plainly(&error), Reading::Error, "{error}");
        }
    }

    #[test]
    fn what_says_that_nothing_failed_or_tells_of_failures_is_none() {
        for plain in [
            json!({ "status": "ok", "error": null }),
            json!({ "errors": [], "warnings": 2 }),
            json!({ "error": "" }),
            json!({ "error": false, "value": 7 }),
            json!({ "error": 0.02, "epoch": 7 }),
            json!({ "errors": [{ "line": 3 }], "files": ["a"] }),
            json!({ "id": 7, "status": "failed", "started": "today" }),
            json!([{ "error": "a" }, { "error": "b" }]),
            json!({ "code": 404, "count": 12 }),
            json!({ "success": true, "message": "the error was mended" }),
            json!([]),
            json!({}),
        ] {
            assert_eq!(plainly(&plain), Reading::Plain, "{plain}");
        }
    }

    #[test]
    fn what_fails_beside_an_answer_is_left_to_what_the_tool_usually_says() {
        for complaint in [
            json!({ "error": "late", "rows": [1] }),
            json!({ "success": false, "error": "1 of 2 failed", "tests": [{ "name": "a" }, { "name": "b" }] }),
            json!({ "status": "error", "job": 7 }),
            json!({ "ok": false }),
            json!({ "errors": [{ "line": 3 }] }),
        ] {
            assert_eq!(plainly(&complaint), Reading::Complaint, "{complaint}");
        }
    }

    #[test]
    fn what_was_asked_about_is_no_answer() {
        let answer = json!({ "page": "Rust", "exists": false, "summary": null, "error": "no connection" });
        let sent = json!({ "page": "Rust" });
        assert_eq!(read(&answer, sent.as_object().unwrap()), Reading::Error);
        assert_eq!(plainly(&answer), Reading::Complaint);
    }
}
