//! What is meant by what was written: which keys there are, and what each may be.

use super::contradiction::{self, Spot};
use super::limits::{Limits, limits};
use super::node::{Node, Value};
use super::read::{Field, Hints, Reader, Table};
use super::service::{Endpoint, ServiceConfig, Transport, showable_url};
use super::{Config, Secret, StoreConfig, bounds, duration, tool};
use crate::calendar::Window;
use crate::site::Learning;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

const LEARNING: [(&str, Learning); 4] =
    [("on", Learning::On), ("review", Learning::Review), ("shadow", Learning::Shadow), ("off", Learning::Off)];
const TRANSPORTS: [(&str, Transport); 2] = [("http", Transport::Http), ("stdio", Transport::Stdio)];
const TRANSPORTS_LATER: Hints = &[
    ("sse", "the transport \"sse\" is not built yet; write \"http\" or \"stdio\""),
    ("websocket", "the transport \"websocket\" is not built yet; write \"http\" or \"stdio\""),
];

const CONFIG_HINTS: Hints = &[
    ("preset", "presets are not built yet; remove the key"),
    ("profile", "profiles in configuration are not built yet; write `domain` of a service"),
    ("profiles", "profiles in configuration are not built yet; write `domain` of a service"),
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
    ("queued", "there is no such key; it is said of one tool: `tools.<name>.queued`"),
    ("read_only", "there is no such key; it is said of one tool: `tools.<name>.read_only`"),
    ("retries", "there is no such key; write `pin.\"retry.max_retries\"`"),
    ("retry_attempts", "there is no such key; write `pin.\"retry.max_retries\"`"),
    ("timeout_ms", "there is no such key; write `timeout` with its unit, such as \"30s\""),
    ("token", "there is no such key; did you mean `auth_token`?"),
    ("url", "there is no such key; write `endpoints = [{ url = \"…\" }]`"),
];
const RETENTION: RangeInclusive<Duration> = Duration::from_secs(3_600)..=duration::LONGEST;
const WEIGHT: RangeInclusive<u32> = 1..=1_000;

/// The configuration meant by a file; `folder` is where its relative paths begin.
pub(super) fn config(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Config {
    let mut config = Config::default();
    let Some(mut table) = reader.table(&Field::root(root)) else {
        return config;
    };
    if let Some(field) = table.take("store") {
        config.store = store(reader, &field, folder);
    }
    if let Some(field) = table.take("learning") {
        config.learning = reader.choice(&field, &LEARNING, &[]).unwrap_or_default();
    }
    if let Some(field) = table.take("cache") {
        config.cache = bounds::cache(reader, &field);
    }
    if let Some(field) = table.take("queue") {
        config.queue = bounds::queue(reader, &field);
    }
    if let Some(services) = table.take("services").and_then(|field| reader.table(&field)) {
        for (name, field) in services.entries() {
            config.services.insert(name.to_owned(), service(reader, name, &field));
        }
    }
    reader.refuse_rest(&table, CONFIG_HINTS);
    for found in contradiction::all(&config) {
        let (key, value) = found.path.find(root);
        let at = if found.spot == Spot::Key { key } else { value };
        reader.note(at, &found.path.to_string(), &found.message);
    }
    config
}

fn store(reader: &mut Reader<'_>, field: &Field<'_>, folder: &Path) -> StoreConfig {
    let mut store = StoreConfig::default();
    let Some(mut table) = reader.table(field) else {
        return store;
    };
    if let Some(field) = table.take("path")
        && let Some(path) = reader.word(&field)
    {
        if path.starts_with('~') {
            reader.refuse(&field, "`~` is not expanded; write `${HOME}`");
        }
        store.path = Some(folder.join(path));
    }
    if let Some(field) = table.take("retention") {
        store.retention = reader.duration(&field, &RETENTION).unwrap_or(store.retention);
    }
    reader.refuse_rest(&table, STORE_HINTS);
    store
}

fn service(reader: &mut Reader<'_>, name: &str, field: &Field<'_>) -> ServiceConfig {
    let mut service = ServiceConfig::named(name);
    if name.trim().is_empty() {
        reader.refuse_key(field, "a service needs a name");
    }
    let Some(mut table) = reader.table(field) else {
        return service;
    };
    address(reader, field, &mut table, &mut service);
    service.domain = table.take("domain").and_then(|field| reader.word(&field));
    service.timezone = table.take("timezone").and_then(|field| timezone(reader, &field));
    service.learning = table.take("learning").and_then(|field| reader.choice(&field, &LEARNING, &[]));
    service.avoid = table.take("avoid").map(|field| windows(reader, &field)).unwrap_or_default();
    service.maintenance = table.take("maintenance").map(|field| windows(reader, &field)).unwrap_or_default();
    Limits { timeout: service.timeout, deadline: service.deadline, pin: service.pin } = limits(reader, &mut table);
    if let Some(tools) = table.take("tools").and_then(|field| reader.table(&field)) {
        for (name, field) in tools.entries() {
            service.tools.insert(name.to_owned(), tool::tool(reader, &field));
        }
    }
    reader.refuse_rest(&table, SERVICE_HINTS);
    service
}

/// How the service is reached: the keys that only one transport understands, and those it cannot do without.
fn address(reader: &mut Reader<'_>, field: &Field<'_>, table: &mut Table<'_>, service: &mut ServiceConfig) {
    let (transport, url_list, command) = (table.take("transport"), table.take("endpoints"), table.take("command"));
    let (args, env) = (table.take("args").map(Field::private), table.take("env").map(Field::private));
    let (token, trusted) = (table.take("auth_token").map(Field::private), table.take("trusted"));

    service.trusted = trusted.as_ref().and_then(|field| reader.flag(field)).unwrap_or_default();
    service.auth_token = token.as_ref().and_then(|field| secret(reader, field));
    service.endpoints = url_list.as_ref().map(|field| endpoints(reader, field)).unwrap_or_default();
    service.command = command.as_ref().and_then(|field| reader.word(field));
    service.args = args.as_ref().map(|field| texts(reader, field)).unwrap_or_default();
    service.env = env.as_ref().map(|field| variables(reader, field)).unwrap_or_default();

    let written = match &transport {
        // What the other keys should be is not known where the transport is not.
        Some(field) => match reader.choice(field, &TRANSPORTS, TRANSPORTS_LATER) {
            Some(transport) => Some(transport),
            None => return,
        },
        None => None,
    };
    service.transport = written.unwrap_or(match (&url_list, &command) {
        (None, Some(_)) => Transport::Stdio,
        _ => Transport::Http,
    });
    let foreign = match service.transport {
        Transport::Http => [("stdio", &command), ("stdio", &args), ("stdio", &env)],
        Transport::Stdio => [("http", &url_list), ("http", &token), ("http", &None)],
    };
    for (transport, field) in foreign {
        if let Some(field) = field {
            reader.refuse_key(field, &format!("only `transport = \"{transport}\"` understands this key"));
        }
    }
    let speaks = transport.is_some() || token.is_some() || trusted.is_some();
    match service.transport {
        Transport::Http if speaks && url_list.is_none() && command.is_none() => {
            reader.refuse_key(field, "`endpoints` is missing; write `endpoints = [{ url = \"…\" }]`");
        }
        Transport::Stdio if command.is_none() => {
            reader.refuse_key(field, "`command` is missing; write the program to start");
        }
        _ => {}
    }
}

fn endpoints(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<Endpoint> {
    let Some(list) = reader.list(field) else {
        return Vec::new();
    };
    if list.is_empty() {
        reader.expected::<()>(field, "one endpoint");
    }
    if let Some(second) = list.get(1) {
        reader.refuse(second, "several endpoints are not built yet; keep one");
    }
    list.iter().filter_map(|field| endpoint(reader, field)).collect()
}

fn endpoint(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Endpoint> {
    let mut table = reader.table(field)?;
    let weight = table.take("weight").map_or(Some(1), |field| reader.count(&field, WEIGHT));
    let url = match table.take("url") {
        Some(field) => url(reader, &field),
        None => {
            reader.refuse(field, "`url` is missing");
            None
        }
    };
    reader.refuse_rest(&table, &[]);
    Some(Endpoint { url: url?, weight: weight? })
}

fn url(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let url = reader.text(field)?;
    if is_http(&url) {
        return Some(url);
    }
    let found = match &field.node.value {
        Value::Text(written) if written.contains("${") => "the value of a variable".to_owned(),
        _ => format!("\"{}\"", showable_url(&url).escape_debug()),
    };
    reader.refuse(field, &format!("expected an address such as \"http://localhost:8002/mcp\", found {found}"));
    None
}

fn is_http(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok(),
        _ => true,
    };
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !host.is_empty()
        && !host.starts_with(':')
        && port
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn secret(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Secret> {
    let token = reader.word(field)?;
    if token.contains(|c: char| c.is_control() || !c.is_ascii()) {
        reader.refuse(field, "contains a character that no header may contain, perhaps a line break at its end");
        return None;
    }
    Some(Secret::from(token))
}

fn texts(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<String> {
    reader.list(field).unwrap_or_default().iter().filter_map(|field| reader.text(field)).collect()
}

fn variables(reader: &mut Reader<'_>, field: &Field<'_>) -> BTreeMap<String, String> {
    let Some(table) = reader.table(field) else {
        return BTreeMap::new();
    };
    let mut variables = BTreeMap::new();
    for (name, field) in table.entries() {
        if name.is_empty() || name.contains(['=', '\0']) {
            reader.refuse_key(&field, "no environment variable can have this name");
        }
        if let Some(value) = reader.text(&field) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
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
