//! Reads a world from its file.
//!
//! Two steps: what was written is a tree of values that know their place in the text; what is meant is a [`World`]. All
//! checking happens between the two, and reports every problem of the file at once.

mod goals;
mod read;
mod services;

pub use read::WorldError;

use self::read::{Reader, Table};
use super::service::Model;
use super::spec::{Arrivals, Client, Static, Step, World, Worth};
use crate::policy;
use poet_runtime::config::Pins;
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::DeTable;

/// The worlds that come with the simulator: their names and files.
pub const EMBEDDED: [(&str, &str); 6] = [
    ("reference", include_str!("../../../worlds/reference.toml")),
    ("null", include_str!("../../../worlds/null.toml")),
    ("shift", include_str!("../../../worlds/shift.toml")),
    ("overload", include_str!("../../../worlds/overload.toml")),
    ("adversarial", include_str!("../../../worlds/adversarial.toml")),
    ("small", include_str!("../../../worlds/small.toml")),
];

/// Requests of a year at a hundred each second; more is a slip of the pen.
const MOST_RATE: f64 = 10_000.0;

impl World {
    /// The world of that name, or of the file at that path.
    ///
    /// # Errors
    ///
    /// That there is none, or everything that is wrong with its file.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_simulator::world::World;
    ///
    /// assert_eq!(World::find("reference").unwrap().services.len(), 4);
    /// ```
    pub fn find(name: &str) -> Result<Self, WorldError> {
        if let Some((name, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) {
            return Self::read(name, text, None);
        }
        let path = Path::new(name);
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let stem = path.file_stem().map_or(name.into(), |stem| stem.to_string_lossy().into_owned());
                Self::read(&stem, &text, path.parent())
            }
            Err(problem) => {
                let known = EMBEDDED.map(|(name, _)| name).join("`, `");
                let problem = format!(" no such world: write one of `{known}`, or the path of a file ({problem})");
                Err(WorldError::new(name, vec![problem]))
            }
        }
    }

    /// Reads a world from the text of a file in that folder.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn read(name: &str, text: &str, folder: Option<&Path>) -> Result<Self, WorldError> {
        let mut reader = Reader::new(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                reader.note(error.span().map_or(text.len(), |span| span.start), "", error.message());
            }
            return Err(WorldError::new(name, reader.into_problems()));
        }
        let mut table = reader.root(root.get_ref());
        let world = meaning(&mut reader, &mut table, name, folder);
        reader.refuse_rest(&table);
        let problems = reader.into_problems();
        if problems.is_empty() { Ok(world) } else { Err(WorldError::new(name, problems)) }
    }
}

fn meaning(reader: &mut Reader<'_>, table: &mut Table<'_>, name: &str, folder: Option<&Path>) -> World {
    let about = table.take("about").and_then(|field| reader.text(&field)).unwrap_or_default();
    let days = reader.number_or(table, "days", &(0.001..=3_650.0), 14.0);
    let rate = reader.number_or(table, "rate", &(0.000_01..=MOST_RATE), 0.5);
    let sweep = numbers(reader, table, "sweep", 0.000_01..=MOST_RATE);
    let seeds = numbers(reader, table, "seeds", 0.0..=9e15).into_iter().map(|seed| seed as u64).collect::<Vec<_>>();
    let policies = table.take("policies").and_then(|field| {
        let names = reader.list(&field)?;
        let known = policy::POLICIES.map(|(name, ..)| (name, name));
        Some(names.iter().filter_map(|name| reader.choice(name, &known).map(str::to_owned)).collect())
    });
    let begin = table.take("begin").and_then(|field| {
        let text = reader.text(&field)?;
        let date: Option<jiff::civil::Date> = text.parse().ok();
        let midnight = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
        if midnight.is_none() {
            reader.refuse(&field, &format!("expected a date such as \"2023-11-13\", found \"{text}\""));
        }
        midnight.map(|midnight| midnight.timestamp().as_millisecond())
    });
    let measured_from = reader.number_or(table, "measured_from", &(0.0..=0.99), 0.5);
    let arrivals = arrivals(reader, table, folder);
    let worth = worth(reader, table);
    let client = client(reader, table);
    let services = services::read(reader, table);
    let steps = steps(reader, table, &services);
    let changes = services::changes(reader, table, &services);
    let corrections = corrections(reader, table);
    let statics = statics(reader, table, &services);
    let goals = goals::read(reader, table);
    World {
        name: name.to_owned(),
        about,
        days,
        rate,
        sweep,
        seeds: if seeds.is_empty() { vec![1] } else { seeds },
        policies: policies.unwrap_or_else(|| ["none", "learned"].map(str::to_owned).to_vec()),
        // Midnight of a Monday.
        begin: begin.unwrap_or(1_699_833_600_000),
        measured_from,
        arrivals,
        worth,
        client,
        services,
        steps,
        changes,
        corrections,
        statics,
        goals,
    }
}

fn numbers(
    reader: &mut Reader<'_>,
    table: &mut Table<'_>,
    key: &'static str,
    allowed: std::ops::RangeInclusive<f64>,
) -> Vec<f64> {
    let list = table.take(key).and_then(|field| reader.list(&field)).unwrap_or_default();
    list.iter().filter_map(|field| reader.number(field, &allowed)).collect()
}

fn arrivals(reader: &mut Reader<'_>, table: &mut Table<'_>, folder: Option<&Path>) -> Arrivals {
    let mut arrivals = Arrivals { hours: [1.0; 24], trace: None, items: 160, skew: 0.8, high: 0.3 };
    let Some(mut own) = table.take("arrivals").and_then(|field| reader.table(&field)) else { return arrivals };
    if let Some(field) = own.take("hours") {
        let given: Vec<f64> =
            reader.list(&field).unwrap_or_default().iter().filter_map(|f| reader.number(f, &(0.0..=1e3))).collect();
        match <[f64; 24]>::try_from(given) {
            Ok(hours) if hours.iter().sum::<f64>() > 0.0 => {
                let mean = hours.iter().sum::<f64>() / 24.0;
                arrivals.hours = hours.map(|hour| hour / mean);
            }
            _ => reader.refuse(&field, "expected 24 numbers, one for each hour of the day, not all 0"),
        }
    }
    if let Some(field) = own.take("trace")
        && let Some(path) = reader.text(&field)
    {
        match std::fs::read_to_string(folder.unwrap_or(Path::new(".")).join(&path)) {
            Err(problem) => reader.refuse(&field, &format!("`{path}` cannot be read: {problem}")),
            Ok(text) => match text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>() {
                Ok(mut moments) if moments.iter().all(|moment| moment.is_finite() && *moment >= 0.0) => {
                    moments.sort_by(f64::total_cmp);
                    arrivals.trace = Some(moments);
                }
                _ => reader.refuse(&field, &format!("`{path}`: expected seconds from 0 up, one to a line")),
            },
        }
    }
    arrivals.items = reader.number_or(&mut own, "items", &(1.0..=1e6), 160.0) as usize;
    arrivals.skew = reader.number_or(&mut own, "skew", &(0.0..=5.0), 0.8);
    arrivals.high = reader.number_or(&mut own, "high", &(0.0..=1.0), 0.3);
    reader.refuse_rest(&own);
    arrivals
}

fn worth(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Worth {
    let mut worth = Worth { now: 0.5, eventually: 0.5, call: 0.06, second: 0.02, stale: 0.5, dollars: 0.0375 };
    let Some(mut own) = table.take("worth").and_then(|field| reader.table(&field)) else { return worth };
    let any = 0.0..=1e6;
    worth.now = reader.number_or(&mut own, "now", &any, worth.now);
    worth.eventually = reader.number_or(&mut own, "eventually", &any, worth.eventually);
    worth.call = reader.number_or(&mut own, "call", &any, worth.call);
    worth.second = reader.number_or(&mut own, "second", &any, worth.second);
    worth.stale = reader.number_or(&mut own, "stale", &any, worth.stale);
    worth.dollars = reader.number_or(&mut own, "dollars", &any, worth.dollars);
    reader.refuse_rest(&own);
    worth
}

fn client(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Client {
    let mut client = Client { timeout: 10.0, fixed_timeout: false, deadline: 30.0, patience: 4.0 * 3_600.0 };
    let Some(mut own) = table.take("client").and_then(|field| reader.table(&field)) else { return client };
    client.timeout = reader.number_or(&mut own, "timeout", &(0.005..=300.0), client.timeout);
    client.fixed_timeout = reader.flag_or(&mut own, "fixed_timeout", false);
    client.deadline = reader.number_or(&mut own, "deadline", &(0.01..=3_600.0), client.deadline);
    client.patience = reader.number_or(&mut own, "patience", &(0.0..=864_000.0), client.patience);
    reader.refuse_rest(&own);
    client
}

fn corrections(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Vec<(f64, f64)> {
    let list = table.take("corrections").and_then(|field| reader.list(&field)).unwrap_or_default();
    let mut corrections: Vec<(f64, f64)> = Vec::new();
    for field in list {
        let Some(mut own) = reader.table(&field) else { continue };
        let second = services::moment(reader, &mut own);
        let by = reader.number_or(&mut own, "by", &(-864_000.0..=864_000.0), 3_600.0);
        reader.refuse_rest(&own);
        corrections.push((second, by));
    }
    corrections.sort_by(|a, b| a.0.total_cmp(&b.0));
    corrections
}

fn steps(reader: &mut Reader<'_>, table: &mut Table<'_>, services: &[Model]) -> Vec<Step> {
    let Some(list) = table.take("steps").and_then(|field| reader.list(&field)) else {
        reader.missing(table, "steps");
        return Vec::new();
    };
    let mut steps = Vec::new();
    for field in list {
        let Some(mut own) = reader.table(&field) else { continue };
        let service = services::named(reader, &mut own, services);
        let operation = own.take("operation").and_then(|field| reader.text(&field));
        let read = reader.flag_or(&mut own, "read", false);
        let step = Step {
            service: service.unwrap_or(0),
            operation: operation.unwrap_or_else(|| (if read { "get" } else { "update" }).to_owned()),
            share: reader.number_or(&mut own, "share", &(0.0..=1.0), 1.0),
            read,
            cacheable: reader.flag_or(&mut own, "cacheable", false),
            deferrable: reader.flag_or(&mut own, "deferrable", false),
            queued: reader.flag_or(&mut own, "queued", false),
            bulk: own.take("bulk").and_then(|field| reader.text(&field)),
            wrong: reader.number_or(&mut own, "wrong", &(0.0..=1.0), 0.0),
        };
        reader.refuse_rest(&own);
        if step.cacheable && !read {
            reader.refuse(&field, "`cacheable` needs `read = true`: the answer of a write is never kept");
        }
        steps.push(step);
    }
    steps
}

fn statics(reader: &mut Reader<'_>, table: &mut Table<'_>, services: &[Model]) -> BTreeMap<String, Static> {
    let mut statics = BTreeMap::new();
    let Some(own) = table.take("static").and_then(|field| reader.table(&field)) else { return statics };
    for (name, field) in own.entries() {
        let Some(mut one) = reader.table(&field) else { continue };
        let mut values = Static {
            because: one.take("because").and_then(|field| reader.text(&field)).unwrap_or_default(),
            ..Static::default()
        };
        if let Some(avoid) = one.take("avoid").and_then(|field| reader.table(&field)) {
            for (service, field) in avoid.entries() {
                known(reader, &field, service, services);
                if let Some(window) = reader.text(&field) {
                    match window.parse::<poet_runtime::calendar::Window>() {
                        Ok(_) => drop(values.avoid.insert(service.to_owned(), window)),
                        Err(problem) => reader.refuse(&field, &problem.to_string()),
                    }
                }
            }
        }
        if let Some(pins) = one.take("pins").and_then(|field| reader.table(&field)) {
            for (service, field) in pins.entries() {
                known(reader, &field, service, services);
                let Some(pinned) = reader.table(&field) else { continue };
                let mut of_service = Pins::default();
                for (parameter, field) in pinned.entries() {
                    if let Some(value) = reader.number(&field, &(0.0..=1e9)) {
                        let mut alone = Pins::default();
                        alone.set(parameter, value);
                        let config =
                            poet_runtime::config::Config::default().service(poet_runtime::config::ServiceConfig {
                                pin: alone,
                                ..poet_runtime::config::ServiceConfig::named(service)
                            });
                        if let Err(problem) = config.check() {
                            reader.refuse(&field, &problem.to_string());
                        }
                        of_service.set(parameter, value);
                    }
                }
                values.pins.insert(service.to_owned(), of_service);
            }
        }
        reader.refuse_rest(&one);
        statics.insert(name.to_owned(), values);
    }
    statics
}

fn known(reader: &mut Reader<'_>, field: &read::Field<'_>, service: &str, services: &[Model]) {
    if !services.iter().any(|model| model.name == service) {
        let names: Vec<_> = services.iter().map(|model| model.name.as_str()).collect();
        reader.refuse(field, &format!("there is no service `{service}`; there are `{}`", names.join("`, `")));
    }
}
