//! `poet audit`: who asked for what, whether it was allowed, what was decided about it, and by whom.
//!
//! Only reads. Arguments that are hashed are found by hashing what is looked for in the same way, with the key of the
//! database or of the configuration.

mod story;

use crate::arguments::{Arguments, Format};
use crate::database::block_on;
use crate::lines::wrapped;
use crate::queue::{now, seconds};
use crate::{Answer, Refusal};
use clap::Args;
use poet_runtime::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey};
use poet_runtime::config::parse_duration;
use poet_runtime::report::text::Style;
use poet_runtime::store::{SqliteStore, Store, StoreError};
use poet_runtime::{Ending, Wall};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;

pub(crate) const EXAMPLES: &str = "\
Examples:
  poet audit                                   the newest calls
  poet audit 019f3c2a-7b1e                     one call: what was decided about it, and by whom
  poet audit --service crm --since 24h --ending denied
                                               what was refused since yesterday
  poet audit --field id=4711 --since 2026-06-01 --format json | jq '.calls[].tool'
                                               who read or wrote this customer's data
  poet audit --ending unfinished               what was about to be made when a process was killed

The number of a call is what `Reply::audit_id` and `Error::audit_id` say; its beginning will do. `--field` finds arguments
that are written down as they are (`fields` under `[audit]`), and hashed ones by the key of the database, or of the
configuration where it has one.

Exit codes: 0 an answer, 1 nothing is written down that is like that, 2 a command that cannot be understood.";

#[derive(Clone, Debug, Args)]
pub(crate) struct Audit {
    /// One call, by its number or the beginning of it
    #[arg(value_name = "ID", conflicts_with_all = ["service", "tool", "since", "ending", "field", "job", "inside"])]
    id: Option<String>,
    /// Only of this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Only of this tool
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// Only those that began since: a span such as 24h, a date, or a moment such as 2026-06-10T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// Only those that ended so: done, failed, denied, cached, deferred, cancelled, …; or unfinished
    #[arg(long, value_name = "ENDING", value_parser = ended)]
    ending: Option<Ended>,
    /// Only those with this argument
    #[arg(long, value_name = "NAME=VALUE", value_parser = field)]
    field: Option<(String, String)>,
    /// Only those that were put off as this job, or made for it
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Only those that were made inside this execution of a function
    #[arg(long, value_name = "ID")]
    inside: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
enum Since {
    Ago(std::time::Duration),
    Moment(Wall),
}

fn since(text: &str) -> Result<Since, String> {
    if let Some(ago) = parse_duration(text) {
        return Ok(Since::Ago(ago));
    }
    text.parse().map(Since::Moment).map_err(|error| format!("{error}; a span is written 30m, 24h or 7d"))
}

#[derive(Clone, Copy, Debug)]
enum Ended {
    So(Ending),
    Not,
}

fn ended(name: &str) -> Result<Ended, String> {
    if name == UNFINISHED {
        return Ok(Ended::Not);
    }
    Ending::from_name(name).map(Ended::So).ok_or_else(|| {
        let endings = Ending::ALL.map(Ending::as_str).join("`, `");
        format!("no call ends so; write one of `{endings}`, `{UNFINISHED}`")
    })
}

/// What stands in the place of an ending.
const UNFINISHED: &str = "unfinished";

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected the name of an argument and its value: `id=4711`")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn run(audit: &Audit, arguments: &Arguments, path: &Path) -> Result<Answer, Refusal> {
    let mut store = SqliteStore::open_read_only(path).map_err(unread)?;
    match &audit.id {
        Some(id) => one(&mut store, id, arguments.format).map(Answer::from),
        None => list(&mut store, audit, arguments, path),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands on")]
fn unread(error: StoreError) -> Refusal {
    Refusal::nothing(error.to_string())
}

fn list(store: &mut SqliteStore, audit: &Audit, arguments: &Arguments, path: &Path) -> Result<Answer, Refusal> {
    let (field, aside) = match &audit.field {
        None => (None, String::new()),
        Some((name, value)) => {
            let (spellings, aside) = spellings(key(store, arguments)?, name, value);
            (Some((name.clone(), spellings)), aside)
        }
    };
    let filter = AuditFilter {
        service: audit.service.clone(),
        operation: audit.tool.clone(),
        since: audit.since.map(|since| match since {
            Since::Ago(ago) => now().before(ago),
            Since::Moment(moment) => moment,
        }),
        ending: audit.ending.and_then(|ended| match ended {
            Ended::So(ending) => Some(ending),
            Ended::Not => None,
        }),
        unfinished: matches!(audit.ending, Some(Ended::Not)),
        field,
        job: audit.job.clone(),
        inside: audit.inside.clone(),
        ..AuditFilter::default()
    };
    let entries = block_on(store.audit(&filter, audit.limit)).map_err(unread)?;
    let counts = block_on(store.audit_counts()).map_err(unread)?;
    if entries.is_empty() {
        let message = if filter == AuditFilter::default() {
            format!(
                "no call is written down in {}; `level = \"on\"` under `[audit]` of the configuration writes",
                path.display()
            )
        } else {
            "no call that is written down is like that".to_owned()
        };
        let hint = if aside.is_empty() { aside } else { format!("; {aside}") };
        return Err(Refusal::nothing(message + &hint));
    }
    let cut = entries.len() == audit.limit;
    let text = arguments.format.of(
        |style| listed(&entries, counts, cut, style),
        || {
            let calls: Vec<_> = entries.iter().map(object).collect();
            json!({ "calls": calls, "dropped": counts.dropped, "deleted": counts.deleted })
        },
    );
    Ok(Answer { text, aside, code: 0 })
}

/// The key that arguments are hashed with: that of the configuration before that of the database, as for whoever wrote.
fn key(store: &mut SqliteStore, arguments: &Arguments) -> Result<Option<AuditKey>, Refusal> {
    let configured = match arguments.read_config() {
        Ok(config) => config.audit.key,
        // Who names a configuration means it; one that happens to lie here may be anybody's.
        Err(error) if arguments.config.is_some() => return Err(Refusal::usage(error.to_string())),
        Err(_) => None,
    };
    match configured {
        Some(key) => Ok(Some(AuditKey::of(&key))),
        None => block_on(store.audit_key()).map_err(unread),
    }
}

/// How an argument may be written down; and what is to be said where hashes cannot be looked for.
fn spellings(key: Option<AuditKey>, name: &str, value: &str) -> (Vec<String>, String) {
    let mut spellings = vec![value.to_owned()];
    let Some(key) = key else {
        let aside = "hashed arguments were not looked for: neither the database nor the configuration has a key";
        return (spellings, aside.to_owned());
    };
    spellings.push(key.field(name, &Value::from(value)));
    // What is no text is written as JSON.
    spellings.extend(serde_json::from_str::<Value>(value).ok().map(|value| key.field(name, &value)));
    (spellings, String::new())
}

fn one(store: &mut SqliteStore, written: &str, format: Format) -> Result<String, Refusal> {
    let mut read = |filter: AuditFilter, limit| block_on(store.audit(&filter, limit)).map_err(unread);
    let id = written.to_ascii_lowercase();
    let exact = read(AuditFilter { execution: Some(id.clone()), ..AuditFilter::default() }, 1)?;
    let mut found = match exact.is_empty() {
        false => exact,
        true => read(AuditFilter { prefix: Some(id), ..AuditFilter::default() }, 2)?,
    };
    let entry = match (found.pop(), found.is_empty()) {
        (Some(entry), true) => entry,
        (Some(_), false) => {
            return Err(Refusal::usage(format!(
                "`{written}` begins the number of more than one call; write more of it"
            )));
        }
        (None, _) => {
            return Err(Refusal::nothing(format!(
                "no call whose number begins with `{written}` is written down; `poet audit` shows those there are"
            )));
        }
    };
    let mut others = match &entry.job {
        Some(job) => read(AuditFilter { job: Some(job.clone()), ..AuditFilter::default() }, 100)?,
        None => Vec::new(),
    };
    others.retain(|other| other.execution != entry.execution);
    // A job is made after it was put off.
    others.reverse();
    Ok(format.of(
        |style| story::told(&entry, &others, style),
        || {
            let mut object = object(&entry);
            object["same_job"] = others.iter().map(|other| other.execution.clone()).collect();
            object
        },
    ))
}

/// Two lines a call, within a hundred columns as far as names allow.
fn listed(entries: &[AuditEntry], counts: AuditCounts, cut: bool, style: Style) -> String {
    let heading = format!("{:<20}  {:<15}  {:>9}  {}", "began (UTC)", "ended", "took", "what");
    let mut out = format!("{}\n", style.heading(&heading));
    for entry in entries {
        let (ending, took) = match entry.ending {
            Some(ending) => (ending.as_str(), story::span(entry.detail.seconds)),
            None => (UNFINISHED, "-".to_owned()),
        };
        let target = &entry.target;
        let what = format!("{}.{}", target.service, target.operation);
        let _ = writeln!(out, "{:<20}  {ending:<15}  {took:>9}  {what}", seconds(entry.began));
        out.push_str(&wrapped(&format!("{}  {}", entry.execution, story::brief(entry)), "    "));
    }
    if cut {
        let _ = writeln!(out, "\nthe newest {}; there may be more, which `--limit N` shows", entries.len());
    }
    for (missing, why) in [
        (counts.dropped, "calls have no entry, because more ended than could be stored"),
        (counts.deleted, "entries were deleted before their time, because there were more than `max_entries`"),
    ] {
        if missing > 0 {
            let _ = writeln!(out, "\n{missing} {why}");
        }
    }
    out
}

/// One call for a machine: names that stay.
fn object(entry: &AuditEntry) -> Value {
    let mut object = match serde_json::to_value(&entry.detail) {
        Ok(Value::Object(detail)) => detail,
        _ => Map::new(),
    };
    let fields: Map<_, _> = entry.fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    for (name, value) in [
        ("id", json!(entry.execution)),
        ("service", json!(entry.target.service)),
        ("tool", json!(entry.target.operation)),
        ("function", json!(entry.function)),
        ("inside", json!(entry.inside)),
        ("job", json!(entry.job)),
        ("began", json!(entry.began.to_string())),
        ("ended", json!(entry.ended.map(|ended| ended.to_string()))),
        ("ending", json!(entry.ending.map_or(UNFINISHED, Ending::as_str))),
        ("fields", Value::Object(fields)),
    ] {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_back_from_now_a_date_or_a_time() {
        assert!(matches!(since("24h"), Ok(Since::Ago(ago)) if ago.as_secs() == 86_400));
        assert!(matches!(since("2026-06-10"), Ok(Since::Moment(_))));
        let problem = since("yesterday").unwrap_err();
        assert!(problem.contains("2026-06-10T12:00:00Z") && problem.contains("24h"), "{problem}");
        assert!(ended("finished").unwrap_err().contains("`done`, "));
        assert!(field("id").is_err());
    }

    #[test]
    fn an_argument_is_looked_for_as_it_is_and_as_the_hash_of_a_text_and_of_a_number() {
        let key = AuditKey::from_bits(1, 2);
        let (found, aside) = spellings(Some(key), "id", "7");
        assert_eq!(found, ["7".to_owned(), key.field("id", &json!("7")), key.field("id", &json!(7))]);
        assert_eq!(aside, "");
        assert!(!spellings(None, "id", "7").1.is_empty());
    }
}
