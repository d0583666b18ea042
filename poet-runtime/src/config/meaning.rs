//! What is meant by what was written: which keys there are, and what each may be.

use super::contradiction::{self, Spot};
use super::limits::{Limits, limits};
use super::node::Node;
use super::read::{Field, Hints, Reader, Table};
use super::service::{Access, ServiceConfig};
use super::{Config, Preset, StoreConfig, address, audit, bounds, connections, duration, tool};
use crate::calendar::Window;
use crate::site::Learning;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

const LEARNING: [(&str, Learning); 4] =
    [("on", Learning::On), ("review", Learning::Review), ("shadow", Learning::Shadow), ("off", Learning::Off)];
const ACCESS: [(&str, Access); 2] = [("all", Access::All), ("read_only", Access::ReadOnly)];
const CONFIG_HINTS: Hints = &[
    ("profile", "profiles in configuration are not built yet; write `domain` of a service"),
    ("profiles", "profiles in configuration are not built yet; write `domain` of a service"),
    ("retry_policy", "there is no such key; it is said of a service: `retry = \"standard\"`"),
    ("service", "there is no such key; write `services.<name>`"),
];
const STORE_HINTS: Hints = &[("url", "other stores than a file are not built yet; write `path`")];
const SERVICE_HINTS: Hints = &[
    ("batch", "there is no such key; it is said of one tool: `tools.<name>.batch`"),
    ("cache", "there is no such key; it is said of one tool: `tools.<name>.cache`"),
    ("cost", "there is no such key; a price is that of one tool: `tools.<name>.cost`"),
    ("deferrable", "there is no such key; it is said of one tool: `tools.<name>.deferrable`"),
    ("fallback", "there is no such key; it is said of one tool: `tools.<name>.fallback`"),
    ("idempotent", "there is no such key; it is said of one tool: `tools.<name>.idempotent`"),
    ("max_retries", "there is no such key; write `retry_attempts`, which counts the first attempt too"),
    ("queued", "there is no such key; it is said of one tool: `tools.<name>.queued`"),
    (
        "read_only",
        "there is no such key; write `access = \"read_only\"`, or of one tool what it is: `tools.<name>.read_only`",
    ),
    ("retries", "there is no such key; write `retry_attempts`, which counts the first attempt too"),
    ("secret_key", "there is no such key; write `signing = { key_id = \"…\", secret = \"${NAME}\" }`"),
    ("token", "there is no such key; did you mean `auth_token`?"),
    (
        "weight",
        "there is no such key; it is said of one of several places: `endpoints = [{ url = \"…\", weight = 2 }]`",
    ),
];
const RETENTION: RangeInclusive<Duration> = Duration::from_secs(3_600)..=duration::LONGEST;

/// The configuration meant by a file; `folder` is where its relative paths begin.
pub(super) fn config(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Config {
    let Some(mut table) = reader.table(&Field::root(root)) else {
        return Config::default();
    };
    let presets: Vec<_> = Preset::ALL.iter().map(|preset| (preset.name, *preset)).collect();
    let preset = table.take("preset").and_then(|field| reader.choice(&field, &presets, &[]));
    let mut config = preset.map(Config::preset).unwrap_or_default();
    if let Some(field) = table.take("store") {
        config.store = store(reader, &field, folder, config.store);
    }
    if let Some(field) = table.take("learning") {
        config.learning = reader.choice(&field, &LEARNING, &[]).unwrap_or(config.learning);
    }
    if let Some(field) = table.take("cache") {
        config.cache = bounds::cache(reader, &field, config.cache);
    }
    if let Some(field) = table.take("queue") {
        config.queue = bounds::queue(reader, &field, config.queue);
    }
    if let Some(field) = table.take("audit") {
        config.audit = audit::audit(reader, &field, config.audit);
    }
    if let Some(field) = table.take("connection_pool") {
        config.pool = connections::pool(reader, &field, config.pool);
    }
    if let Some(field) = table.take("load_balancer") {
        config.balancer = connections::balancer(reader, &field, config.balancer);
    }
    if let Some(services) = table.take("services").and_then(|field| reader.table(&field)) {
        for (name, field) in services.entries() {
            let service = service(reader, name, &field, &config);
            config.services.insert(name.to_owned(), service);
        }
    }
    reader.refuse_rest(&table, CONFIG_HINTS);
    for found in contradiction::all(&config) {
        let path = found.path.as_written(root);
        let (key, value) = path.find(root);
        let at = if found.spot == Spot::Key { key } else { value };
        reader.note(at, &path.to_string(), &found.message);
    }
    config
}

fn store(reader: &mut Reader<'_>, field: &Field<'_>, folder: &Path, mut store: StoreConfig) -> StoreConfig {
    let Some(mut table) = reader.table(field) else {
        return store;
    };
    let memory = table.take("memory");
    if let Some(field) = table.take("path")
        && let Some(path) = reader.word(&field)
    {
        if path.starts_with('~') {
            reader.refuse(&field, "`~` is not expanded; write `${HOME}`");
        }
        store.path = Some(folder.join(path));
        store.memory = false;
    }
    if let Some(field) = memory
        && let Some(memory) = reader.flag(&field)
    {
        store.memory = memory;
    }
    if let Some(field) = table.take("retention") {
        store.retention = reader.duration(&field, &RETENTION).unwrap_or(store.retention);
    }
    reader.refuse_rest(&table, STORE_HINTS);
    store
}

fn service(reader: &mut Reader<'_>, name: &str, field: &Field<'_>, config: &Config) -> ServiceConfig {
    let mut service = ServiceConfig::named(name);
    if name.trim().is_empty() {
        reader.refuse_key(field, "a service needs a name");
    }
    let Some(mut table) = reader.table(field) else {
        return service;
    };
    address::address(reader, field, &mut table, &mut service);
    if let Some(field) = table.take("pool") {
        service.pool = Some(connections::pool(reader, &field, config.pool_of(&service)));
    }
    if let Some(field) = table.take("load_balancer") {
        service.balancer = Some(connections::balancer(reader, &field, config.balancer_of(&service)));
    }
    service.domain = table.take("domain").and_then(|field| reader.word(&field));
    access(reader, &mut table, &mut service);
    service.masked_errors = tool::masked_errors(reader, &mut table).unwrap_or_default();
    service.schemas = tool::schemas(reader, &mut table).unwrap_or_default();
    service.progress_extends = table.take("progress_extends").and_then(|field| reader.flag(&field));
    service.audit = table.take("audit").map(|field| audit::rules(reader, &field)).unwrap_or_default();
    service.timezone = table.take("timezone").and_then(|field| timezone(reader, &field));
    service.learning = table.take("learning").and_then(|field| reader.choice(&field, &LEARNING, &[]));
    service.avoid = table.take("avoid").map(|field| windows(reader, &field)).unwrap_or_default();
    service.maintenance = table.take("maintenance").map(|field| windows(reader, &field)).unwrap_or_default();
    Limits { timeout: service.timeout, deadline: service.deadline, retry: service.retry, pin: service.pin } =
        limits(reader, &mut table);
    if let Some(tools) = table.take("tools").and_then(|field| reader.table(&field)) {
        for (name, field) in tools.entries() {
            service.tools.insert(name.to_owned(), tool::tool(reader, &field));
        }
    }
    reader.refuse_rest(&table, SERVICE_HINTS);
    service
}

/// Which tools may be called.
fn access(reader: &mut Reader<'_>, table: &mut Table<'_>, service: &mut ServiceConfig) {
    service.access = table.take("access").and_then(|field| reader.choice(&field, &ACCESS, &[])).unwrap_or_default();
    if let Some(field) = table.take("allow") {
        service.allow = tool::names(reader, &field);
        // What is empty allows every tool where a program sets it, and would seem to allow none where it is written.
        if reader.list(&field).is_some_and(|list| list.is_empty()) {
            reader.refuse(&field, "allows no tool; name some, or remove it to allow every one");
        }
    }
    service.deny = table.take("deny").map(|field| tool::names(reader, &field)).unwrap_or_default();
}

fn timezone(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let zone = reader.word(field)?;
    let letters = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    };
    let starts = zone.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts && zone.split('/').all(letters) {
        return Some(zone);
    }
    reader.expected(field, "an IANA time zone such as \"America/New_York\"")
}

fn windows(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<Window> {
    reader.list(field).unwrap_or_default().iter().filter_map(|field| window(reader, field)).collect()
}

fn window(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Window> {
    let parsed = reader.word(field)?.parse::<Window>();
    match parsed {
        Ok(window) => Some(window),
        // The parser quotes what it was given, which is not for messages where a variable held it.
        Err(_) if field.has_variables() => reader.expected(field, "hours of the week such as \"mon-fri 12:00-13:30\""),
        Err(problem) => {
            reader.refuse(field, &problem.to_string());
            None
        }
    }
}
