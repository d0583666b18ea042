//! How a text reads: by how it opens, never by a word inside.
//!
//! An error that is answered as text is short and says so in its first words (`Error: …`, `Failed to …`,
//! `ENOENT: …`), is a stack trace, or is the error page of a web server. Text that is about errors (a log, a
//! documentation page, the output of a compiler) is long, has lines of another kind, or opens otherwise.

use super::Reading;

/// An error that explains itself at more length than this is a document.
const LONGEST: usize = 2_000;
const MOST_LINES: usize = 24;
/// An opening that prose may have too has to be all there is.
const LONGEST_SENTENCE: usize = 400;
const MOST_SENTENCE_LINES: usize = 4;
/// What stands before the colon of `… error: …`.
const LONGEST_LABEL: usize = 60;
const MOST_LABEL_WORDS: usize = 5;

/// How a text reads.
pub(super) fn read(text: &str) -> Reading {
    let text = text.trim();
    if text.starts_with('<') {
        return markup(text);
    }
    let (bare, crossed) = without_decoration(text);
    let first = bare.lines().next().unwrap_or_default().trim();
    let lines = text.lines().count();
    if is_trace(text, first) {
        return Reading::Error;
    }
    let brief = text.len() <= LONGEST_SENTENCE && lines <= MOST_SENTENCE_LINES;
    let bounded = text.len() <= LONGEST && lines <= MOST_LINES;
    // What is longer is no error however it opens, and its first line may be all of it.
    if !bounded || is_log(text) {
        return Reading::Plain;
    }
    match opening(first) {
        Opening::Label => Reading::Error,
        Opening::Phrase if brief => Reading::Error,
        Opening::Lower if brief && lines == 1 => Reading::Error,
        _ if crossed && brief && !has_ticks(text) => Reading::Error,
        Opening::Phrase | Opening::Lower => Reading::Complaint,
        Opening::None if brief && complains(text) => Reading::Complaint,
        _ => Reading::Plain,
    }
}

/// How a first line opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// With a label that names an error: `Error: …`, `Database error: …`, `KeyError: …`, `ENOENT: …`.
    Label,
    /// With words that an error begins with, and prose may.
    Phrase,
    /// With a label as compilers write it, whose output is an answer, and which in one line is an error: `error: …`.
    Lower,
    None,
}

fn opening(first: &str) -> Opening {
    if let Some((label, rest)) = first.split_once(':')
        && !rest.trim().is_empty()
        && label.len() <= LONGEST_LABEL
    {
        if matches!(label, "error" | "fatal") {
            return Opening::Lower;
        }
        if names_an_error(label, rest) {
            return Opening::Label;
        }
    }
    let lower = first.to_lowercase();
    let begins = |phrases: &[&str]| {
        phrases.iter().any(|phrase| {
            let rest = lower.strip_prefix(phrase);
            rest.is_some_and(|rest| phrase.ends_with(' ') || !rest.starts_with(char::is_alphanumeric))
        })
    };
    if is_pydantic(&lower) || is_status(&lower) || is_about_a_tool(&lower) || begins(NAMED) {
        Opening::Label
    } else if begins(PHRASES) || is_error_doing(&lower) {
        Opening::Phrase
    } else {
        Opening::None
    }
}

/// Openings that name an error without a colon.
const NAMED: &[&str] = &[
    "an error has occurred",
    "an error occurred",
    "an internal error",
    "an unexpected error",
    "error during ",
    "error from ",
    "error in ",
    "error occurred",
    "error when ",
    "error while ",
    "there was an error",
    "unexpected error",
];

/// Openings that an error has and, in something as short, little else.
const PHRASES: &[&str] = &[
    "a network error",
    "access denied",
    "access forbidden",
    "api error",
    "authentication failed",
    "authentication is required",
    "authentication required",
    "authorization failed",
    "bad gateway",
    "bad request",
    "can't ",
    "cannot ",
    "command failed",
    "connection closed",
    "connection error",
    "connection failed",
    "connection refused",
    "connection reset",
    "connection timed out",
    "could not ",
    "couldn't ",
    "failed to ",
    "fetch failed",
    "file not found",
    "forbidden",
    "gateway timeout",
    "input validation ",
    "insufficient permission",
    "internal error",
    "internal server error",
    "invalid ",
    "missing parameter",
    "missing required ",
    "network error",
    "no such ",
    "not authorized",
    "operation failed",
    "operation timed out",
    "permission denied",
    "quota exceeded",
    "rate limit exceeded",
    "rate limited",
    "request failed",
    "request timed out",
    "required parameter",
    "resource not found",
    "service unavailable",
    "something went wrong",
    "sorry, something went wrong",
    "the request failed",
    "too many requests",
    "tool execution failed",
    "unable to ",
    "unauthenticated",
    "unauthorized",
    "uncaught ",
    "unhandled ",
    "unknown action",
    "unknown command",
    "unknown method",
    "unknown operation",
    "unknown tool",
];

/// `Error`, `Database error`, `MCP error -32602`, `ValueError`, `sqlite3.OperationalError`, `Error (404)`, `ENOENT`.
fn names_an_error(label: &str, rest: &str) -> bool {
    if SYSTEM_ERRORS.contains(&label) {
        return true;
    }
    let words: Vec<_> = label.split_whitespace().collect();
    if words.is_empty() || words.len() > MOST_LABEL_WORDS || is_measured(&words, rest) {
        return false;
    }
    let last = words.len() - 1;
    words.iter().enumerate().any(|(place, word)| {
        let is_last = place == last;
        let coded = words[place + 1..].iter().all(|word| is_code(word)) && place + 1 == last;
        (is_last || coded) && is_error_word(word, place == 0)
    })
}

fn is_error_word(word: &str, first: bool) -> bool {
    let word = word.split(['(', '[']).next().unwrap_or_default();
    let named = |suffix: &str| word.len() > suffix.len() && word.ends_with(suffix);
    match word {
        "Error" | "ERROR" | "Exception" | "EXCEPTION" | "Fatal" | "FATAL" => true,
        "error" | "exception" => !first,
        "Failure" | "FAILURE" => first,
        _ => named("Error") || named("Exception"),
    }
}

/// `404`, `-32602`, `(404)`, `[E42]`.
fn is_code(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit()) || word.starts_with(['(', '['])
}

/// What is counted, measured, or of the past: `Last error: …`, `Standard error: 0.3`.
fn is_measured(words: &[&str], rest: &str) -> bool {
    const ABOUT: &[&str] = &[
        "absolute",
        "average",
        "last",
        "latest",
        "max",
        "mean",
        "median",
        "min",
        "most",
        "no",
        "percentage",
        "previous",
        "prior",
        "recent",
        "relative",
        "root",
        "rounding",
        "sample",
        "squared",
        "standard",
        "std",
        "sum",
        "total",
        "training",
        "validation-set",
    ];
    let first = words[0].to_lowercase();
    let value = rest.trim();
    ABOUT.contains(&first.as_str())
        || matches!(value.to_lowercase().trim_end_matches('.'), "none" | "null" | "no" | "false" | "-" | "n/a")
        || value.trim_end_matches('%').parse::<f64>().is_ok()
}

const SYSTEM_ERRORS: &[&str] = &[
    "EACCES",
    "EADDRINUSE",
    "EAI_AGAIN",
    "EBUSY",
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "EEXIST",
    "EHOSTUNREACH",
    "EINVAL",
    "EISDIR",
    "ELOOP",
    "EMFILE",
    "ENAMETOOLONG",
    "ENETUNREACH",
    "ENOENT",
    "ENOSPC",
    "ENOTDIR",
    "ENOTEMPTY",
    "ENOTFOUND",
    "EPERM",
    "EPIPE",
    "EROFS",
    "ETIMEDOUT",
    "EXDEV",
];

/// `Error executing tool x`, and not `Error handling in Rust`.
fn is_error_doing(lower: &str) -> bool {
    const NOUNS: &[&str] = &["handling", "logging", "meaning", "monitoring", "reporting", "tracing", "tracking"];
    let mut words = lower.split_whitespace();
    words.next() == Some("error")
        && words.next().is_some_and(|word| word.ends_with("ing") && word.len() > 4 && !NOUNS.contains(&word))
}

/// `3 validation errors for Query`.
fn is_pydantic(lower: &str) -> bool {
    let rest = lower.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < lower.len()
        && (rest.starts_with(" validation error for ") || rest.starts_with(" validation errors for "))
}

/// `HTTP 503`, `HTTP error 404`, `404 Not Found`; not `500 items found`.
fn is_status(lower: &str) -> bool {
    const REASONS: &[&str] = &[
        "400 bad request",
        "401 unauthorized",
        "403 forbidden",
        "404 not found",
        "405 method not allowed",
        "408 request timeout",
        "429 too many requests",
        "500 internal server error",
        "502 bad gateway",
        "503 service unavailable",
        "504 gateway timeout",
    ];
    let status = lower
        .strip_prefix("http error")
        .or_else(|| lower.strip_prefix("http status"))
        .or_else(|| lower.strip_prefix("http"))
        .map(|rest| rest.trim_start_matches(['/', '1', '2', '.', ' ', ':']));
    let refused = |rest: &str| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.len() == 3 && digits.starts_with(['4', '5'])
    };
    status.is_some_and(refused) || REASONS.iter().any(|reason| lower.starts_with(reason))
}

/// `Tool x not found`, `Method y does not exist`; not `Tool not found in the shed`.
fn is_about_a_tool(lower: &str) -> bool {
    const GONE: &[&str] = &["not found", "does not exist", "is not available", "is unknown", "is disabled"];
    let named = ["tool ", "tool: ", "method ", "function "].iter().find_map(|noun| lower.strip_prefix(noun));
    let said = named.and_then(|named| named.split_once(' '));
    said.is_some_and(|(name, said)| name != "not" && GONE.iter().any(|gone| said.starts_with(gone)))
}

/// What a short text says if something may be wrong.
fn complains(text: &str) -> bool {
    const NONE: &[&str] = &[
        "no error",
        "no failure",
        "0 error",
        "0 failed",
        "0 failure",
        "without error",
        "success",
        "no issue",
        "completed",
    ];
    const SIGNS: &[&str] = &[
        "already exists",
        "can't",
        "cannot",
        "could not",
        "denied",
        "does not exist",
        "doesn't exist",
        "exceeded",
        "expected",
        "failed",
        "failure",
        "forbidden",
        "illegal",
        "invalid",
        "is required",
        "missing",
        "must be",
        "must not",
        "no such",
        "not allowed",
        "not available",
        "not configured",
        "not exist",
        "not found",
        "not permitted",
        "not supported",
        "not valid",
        "refused",
        "timed out",
        "timeout",
        "unable to",
        "unauthorized",
        "unavailable",
        "unexpected",
        "unknown",
        "unsupported",
    ];
    let lower = text.to_lowercase();
    !NONE.iter().any(|sign| lower.contains(sign)) && SIGNS.iter().any(|sign| lower.contains(sign))
}

/// Takes off what is put before an error to make it seen; says whether it was a cross.
fn without_decoration(text: &str) -> (&str, bool) {
    const CROSSES: [char; 6] = ['❌', '✗', '✖', '⛔', '🚫', '🛑'];
    const DECORATION: [char; 9] = ['⚠', '\u{fe0f}', '*', '`', '"', '\'', '_', '❗', '🔴'];
    let bare = text.trim_start_matches(|c: char| c.is_whitespace() || CROSSES.contains(&c) || DECORATION.contains(&c));
    (bare, text.starts_with(CROSSES))
}

/// A list in which other lines went well.
fn has_ticks(text: &str) -> bool {
    text.contains(['✅', '✓', '✔'])
}

/// The stack trace of a program, alone or after what went wrong.
fn is_trace(text: &str, first: &str) -> bool {
    const PYTHON: &str = "Traceback (most recent call last):";
    const LONGEST_TRACE: usize = 20_000;
    if text.len() > LONGEST_TRACE {
        return false;
    }
    let frames = text.lines().skip(1).any(|line| line.starts_with("    at ") || line.starts_with("\tat "));
    text.starts_with(PYTHON)
        || ((frames || text.lines().any(|line| line.trim() == PYTHON)) && opening(first) == Opening::Label)
}

/// Lines that begin with a level or a time, of which an error is one of many.
fn is_log(text: &str) -> bool {
    const LEVELS: &[&str] = &["debug", "error", "fatal", "info", "notice", "trace", "warn", "warning", "critical"];
    let logged = |line: &&str| {
        let begin = line.trim_start_matches(['[', '(']);
        let word: String = begin.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
        let is_time =
            begin.len() >= 8 && begin.as_bytes()[..4].iter().all(u8::is_ascii_digit) && begin[4..].starts_with('-');
        is_time || LEVELS.contains(&word.to_lowercase().as_str())
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().is_some_and(|line| logged(&line));
    first && lines.next().is_some_and(|line| logged(&line))
}

/// The error page of a web server or a gateway, by its title; any other page may be what was asked for.
fn markup(text: &str) -> Reading {
    const FAILURES: &[&str] =
        &["400", "401", "403", "404", "429", "500", "502", "503", "504", "520", "521", "522", "523", "524"];
    const WORDS: &[&str] = &[
        "access denied",
        "bad gateway",
        "forbidden",
        "gateway time",
        "internal server error",
        "not found",
        "service unavailable",
        "too many requests",
        "unauthorized",
    ];
    const HEAD: usize = 4_096;
    let head: String = text.chars().take(HEAD).collect::<String>().to_lowercase();
    let is_page = head.starts_with("<!doctype html") || head.starts_with("<html");
    if !is_page {
        let is_error = head.starts_with("<error>") || (head.starts_with("<?xml") && head.contains("<error>"));
        return if is_error && text.len() <= LONGEST { Reading::Error } else { Reading::Plain };
    }
    let inside = |tag: &str| {
        let after = head.split_once(&format!("<{tag}"))?.1.split_once('>')?.1;
        after.split_once('<').map(|(title, _)| title.trim().to_owned())
    };
    let title = inside("title").filter(|title| !title.is_empty()).or_else(|| inside("h1")).unwrap_or_default();
    let names = |words: &[&str]| words.iter().any(|word| title.contains(word));
    let numbered = title.split(|c: char| !c.is_ascii_digit()).any(|number| FAILURES.contains(&number));
    if (numbered && title.len() <= 80) || (names(WORDS) && title.len() <= 60) || title == "error" {
        Reading::Error
    } else if names(&["just a moment", "attention required", "log in", "login", "sign in", "error"]) {
        Reading::Complaint
    } else {
        Reading::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_as_an_error_and_is_all_there_is_is_one() {
        for error in [
            "Error: repository not found",
            "ERROR: syntax error at or near \"SELEC\"",
            "❌ A2A Node Error: Unknown tool: bogus",
            "⚠️ **Error:** no such project",
            "Database error: no such table: nowhere",
            "MCP error -32602: Input validation error: Invalid arguments",
            "Error executing ClusterHealthTool: AuthenticationException(401, 'Unauthorized')",
            "Error opening project: list index out of range",
            "sqlite3.OperationalError: database is locked",
            "ENOENT: no such file or directory, open '/srv/data/a'",
            "Failed to fetch the page",
            "Unknown tool: x",
            "fatal: not a git repository",
            "Tool x not found",
            "Error from MCP server: Error: Error POSTing to endpoint (HTTP 524): <!DOCTYPE html>\n<html>\n<head>\n<title>\n524\n</title>",
            "HTTP error 404 while fetching the page",
            "HTTP/1.1 503",
            "404 Not Found",
            "2 validation errors for Query\nlimit\n  Field required",
            "missing required parameter: owner",
            "Error: quota used up\n\nWhat you can do:\n- wait\n- buy more",
            "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'",
            "TypeError: x is not a function\n    at run (index.js:1:1)",
        ] {
            assert_eq!(read(error), Reading::Error, "{error}");
        }
    }

    #[test]
    fn what_is_about_errors_is_none() {
        for plain in [
            "",
            "Error handling in Rust: a guide",
            "Errors: 0",
            "Mean squared error: 0.12",
            "Validation error: 3.5%",
            "ERROR: none",
            "2026-11-01 10:00:00 ERROR db timeout\n2026-11-01 10:00:01 INFO ok",
            "ERROR db timeout\nINFO ok",
            "500 items found",
            "No errors found.",
            "No matches found",
            "Echo: Error: this is only what was asked for",
            "The build completed; the last one had failed",
            "# Outages\n\nA page about how services fail, and what is to be done about it.",
            "<!doctype html><html><head><title>How to read a stack trace</title></head></html>",
        ] {
            assert_eq!(read(plain), Reading::Plain, "{plain}");
        }
        let page = format!("Error: the word\n\n{}", "It was first used in print. ".repeat(100));
        assert_eq!(read(&page), Reading::Plain);
        for unsure in ["Last error: connection refused", "tool not found in the shed"] {
            assert_ne!(read(unsure), Reading::Error, "{unsure}");
        }
        let list = "❌ a\n✅ b";
        assert_eq!(read(list), Reading::Plain);
    }

    #[test]
    fn what_may_be_one_is_left_to_what_the_tool_usually_says() {
        for complaint in [
            "Destination already exists: /srv/data/a.txt",
            "User 7 not found",
            "error: expected `;`\n --> src/main.rs:3",
            "<html><head><title>Sign in</title></head></html>",
        ] {
            assert_eq!(read(complaint), Reading::Complaint, "{complaint}");
        }
    }

    #[test]
    fn the_error_page_of_a_gateway_is_known_by_its_title() {
        for page in [
            "<html><head><title>502 Bad Gateway</title></head><body></body></html>",
            "<!DOCTYPE html>\n<html lang=\"en\"><head><title>example.test | 524: A timeout occurred</title></head></html>",
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
        ] {
            assert_eq!(read(page), Reading::Error, "{page}");
        }
    }
}
