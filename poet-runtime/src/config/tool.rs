//! What is meant by what was written about one tool.

use super::limits::{Limits, limits};
use super::path::Path;
use super::read::{Field, Hints, Reader, Switch, Table};
use super::service::{BatchConfig, CacheConfig, Check, FallbackConfig, ToolConfig};
use super::{audit, bounds};
use crate::site::Priority;
use std::ops::RangeInclusive;
use std::time::Duration;

const TOOL_HINTS: Hints = &[
    ("cache_ttl", "there is no such key; write `cache = \"5m\"`"),
    ("max_retries", "there is no such key; write `retry_attempts`, which counts the first attempt too"),
    ("retries", "there is no such key; write `retry_attempts`, which counts the first attempt too"),
    ("ttl", "there is no such key; write `cache = \"5m\"`"),
];
const BATCH_HINTS: Hints = &[
    ("max_size", "there is no such key; write `pin.\"batch.max_size\"`"),
    ("threshold", "there is no such key; write `pin.\"batch.threshold\"`"),
    ("window", "there is no such key; write `pin.\"batch.window\"`"),
];

const DAY: Duration = Duration::from_secs(86_400);
const TTL: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
const STALE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 86_400);
const NOT_KEPT: &str = "write `cache = false` where nothing is to be kept";

pub(super) fn tool(reader: &mut Reader<'_>, field: &Field<'_>) -> ToolConfig {
    let mut tool = ToolConfig::default();
    let Some(mut table) = reader.table(field) else {
        return tool;
    };
    tool.idempotent = table.take("idempotent").and_then(|field| reader.flag(&field));
    tool.read_only = table.take("read_only").and_then(|field| reader.flag(&field));
    tool.masked_errors = masked_errors(reader, &mut table);
    tool.schemas = schemas(reader, &mut table);
    tool.progress_extends = table.take("progress_extends").and_then(|field| reader.flag(&field));
    tool.audit = table.take("audit").map(|field| audit::rules(reader, &field)).unwrap_or_default();
    tool.cost = table.take("cost").and_then(|field| reader.price(&field));
    Limits { timeout: tool.timeout, deadline: tool.deadline, retry: tool.retry, pin: tool.pin } =
        limits(reader, &mut table);
    tool.cache = table.take("cache").and_then(|field| cache(reader, &field));
    tool.invalidates = table.take("invalidates").map(|field| names(reader, &field)).unwrap_or_default();
    tool.deferrable = table.take("deferrable").and_then(|field| reader.flag(&field));
    let priorities = Priority::ALL.map(|priority| (priority.as_str(), priority));
    tool.queued = table.take("queued").and_then(|field| reader.choice(&field, &priorities, &[]));
    tool.order_by = table.take("order_by").and_then(|field| reader.name(&field));
    tool.batch = table.take("batch").and_then(|field| batch(reader, &field));
    tool.fallback = table.take("fallback").and_then(|field| fallback(reader, &field));
    reader.refuse_rest(&table, TOOL_HINTS);
    tool
}

/// `true`, `false`, how long an answer is fresh, or a table of that and of what may be given after.
fn cache(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<CacheConfig> {
    if !field.is_table() {
        return match reader.switch(field, &TTL, NOT_KEPT)? {
            Switch::On => Some(CacheConfig::default()),
            Switch::Off => None,
            Switch::For(ttl) => Some(CacheConfig { ttl: Some(ttl), ..CacheConfig::default() }),
        };
    }
    let mut table = reader.table(field)?;
    let cache = CacheConfig {
        ttl: table.take("ttl").and_then(|field| reader.duration_or(&field, &TTL, NOT_KEPT)),
        stale_while_revalidate: table.take("stale_while_revalidate").and_then(|field| reader.duration(&field, &STALE)),
        stale_if_error: table.take("stale_if_error").and_then(|field| reader.duration(&field, &STALE)),
    };
    reader.refuse_rest(&table, &[]);
    Some(cache)
}

fn batch(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<BatchConfig> {
    let mut table = reader.table(field)?;
    let tool = required(reader, field, &mut table, "tool");
    let items = required(reader, field, &mut table, "items");
    let results = match table.take("results") {
        Some(field) => reader.name(&field).and_then(|name| {
            let joined = name.split('.').all(|part| !part.trim().is_empty());
            if joined { Some(name) } else { reader.expected(&field, RESULTS) }
        }),
        None => Some(String::new()),
    };
    reader.refuse_rest(&table, BATCH_HINTS);
    Some(BatchConfig { tool: tool?, items: items?, results: results? })
}

const RESULTS: &str = "names joined by dots, such as \"data.results\"";

fn fallback(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<FallbackConfig> {
    let mut table = reader.table(field)?;
    let service = required(reader, field, &mut table, "service");
    let tool = required(reader, field, &mut table, "tool");
    reader.refuse_rest(&table, &[]);
    Some(FallbackConfig { service: service?, tool: tool? })
}

fn required(reader: &mut Reader<'_>, field: &Field<'_>, table: &mut Table<'_>, key: &'static str) -> Option<String> {
    match table.take(key) {
        Some(field) => reader.name(&field),
        None => {
            reader.refuse(field, &format!("`{key}` is missing"));
            None
        }
    }
}

/// Whether errors are looked for in answers that claim success.
pub(super) fn masked_errors(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<Check> {
    const WORDS: [(&str, Check); 2] = [("detect", Check::On), ("off", Check::Off)];
    table.take("masked_errors").and_then(|field| reader.choice(&field, &WORDS, &[]))
}

/// Whether calls are held against the schemas that the service declares.
pub(super) fn schemas(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<Check> {
    const WORDS: [(&str, Check); 2] = [("check", Check::On), ("off", Check::Off)];
    table.take("schemas").and_then(|field| reader.choice(&field, &WORDS, &[]))
}

pub(super) fn names(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<String> {
    reader.list(field).unwrap_or_default().iter().filter_map(|field| reader.name(field)).collect()
}

/// What a program set beyond what a file may say.
pub(super) fn problems(path: &Path, tool: &ToolConfig) -> Vec<String> {
    let cache = tool.cache.unwrap_or_default();
    let within = |key, found: Option<Duration>, allowed| {
        found.and_then(|found| bounds::length(&path.key("cache").key(key), found, allowed))
    };
    let ttl = within("ttl", cache.ttl, &TTL).map(|problem| match cache.ttl {
        Some(ttl) if ttl < *TTL.start() => format!("{problem}; {NOT_KEPT}"),
        _ => problem,
    });
    let mut problems: Vec<_> = [
        ttl,
        within("stale_while_revalidate", cache.stale_while_revalidate, &STALE),
        within("stale_if_error", cache.stale_if_error, &STALE),
    ]
    .into_iter()
    .flatten()
    .collect();
    let empty = |path: Path, name: &str| {
        name.trim().is_empty().then(|| format!("{path}: expected a string that is not empty, found \"{name}\""))
    };
    problems.extend(tool.order_by.iter().filter_map(|name| empty(path.key("order_by"), name)));
    if let Some(batch) = &tool.batch {
        let path = path.key("batch");
        problems.extend(empty(path.key("tool"), &batch.tool));
        problems.extend(empty(path.key("items"), &batch.items));
        if !batch.results.is_empty() && batch.results.split('.').any(|part| part.trim().is_empty()) {
            problems.push(format!("{}: expected {RESULTS}, found \"{}\"", path.key("results"), batch.results));
        }
    }
    if let Some(fallback) = &tool.fallback {
        problems.extend(empty(path.key("fallback").key("tool"), &fallback.tool));
    }
    problems
}
