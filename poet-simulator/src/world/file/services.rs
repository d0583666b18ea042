//! The services of a world, and how they change.

use super::read::{Field, Reader, Table};
use crate::world::load::Capacity;
use crate::world::service::{Down, Failures, Lengths, Model, Validity, Way};
use crate::world::spec::Change;
use jiff::tz::TimeZone;

const DAY: f64 = 86_400.0;
/// A year.
const LONG: f64 = 365.0 * DAY;

fn blank(name: &str) -> Model {
    let failures = |hang: f64, after| Failures { kinds: vec![(Way::Hang, hang), (Way::ALL[1].1, 1.0 - hang)], after };
    Model {
        name: name.to_owned(),
        mean: 0.2,
        sigma: 0.5,
        transient: 0.0,
        failures: failures(0.05, 0.1),
        down: None,
        outages: Vec::new(),
        down_failures: failures(0.4, 0.05),
        hours: Vec::new(),
        timezone: None,
        validity: None,
        bulk: 0.0,
        capacity: None,
    }
}

pub(super) fn read(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Vec<Model> {
    let Some(own) = table.take("services").and_then(|field| reader.table(&field)) else {
        reader.missing(table, "services");
        return Vec::new();
    };
    let mut models = Vec::new();
    for (name, field) in own.entries() {
        let Some(mut one) = reader.table(&field) else { continue };
        let copies = reader.number_or(&mut one, "copies", &(1.0..=100_000.0), 1.0) as usize;
        let model = laid_over(reader, &mut one, blank(name));
        reader.refuse_rest(&one);
        if copies == 1 {
            models.push(model);
        } else {
            models.extend((0..copies).map(|copy| Model { name: format!("{name}_{copy}"), ..model.clone() }));
        }
    }
    models
}

/// What a service is, where a table says what differs from another.
fn laid_over(reader: &mut Reader<'_>, own: &mut Table<'_>, mut model: Model) -> Model {
    model.mean = reader.number_or(own, "mean", &(0.000_1..=3_600.0), model.mean);
    model.sigma = reader.number_or(own, "sigma", &(0.0..=3.0), model.sigma);
    model.transient = reader.number_or(own, "transient", &(0.0..=1.0), model.transient);
    if let Some(field) = own.take("failures") {
        model.failures = failures(reader, &field).unwrap_or(model.failures);
    }
    if let Some(field) = own.take("down_failures") {
        model.down_failures = failures(reader, &field).unwrap_or(model.down_failures);
    }
    if let Some(mut down) = own.take("down").and_then(|field| reader.table(&field)) {
        let before = model.down.unwrap_or(Down { mean: 60.0, unavailable: 0.01, lengths: Lengths::Exponential });
        let lengths = down.take("lengths").and_then(|field| {
            let names =
                [("exponential", Lengths::Exponential), ("constant", Lengths::Constant), ("heavy", Lengths::Heavy)];
            reader.choice(&field, &names)
        });
        let unavailable = reader.number_or(&mut down, "unavailable", &(0.0..=0.95), before.unavailable);
        let mean = reader.number_or(&mut down, "mean", &(0.1..=LONG), before.mean);
        reader.refuse_rest(&down);
        let down = Down { mean, unavailable, lengths: lengths.unwrap_or(before.lengths) };
        model.down = (unavailable > 0.0).then_some(down);
    }
    if let Some(list) = own.take("outages").and_then(|field| reader.list(&field)) {
        model.outages = list.iter().filter_map(|field| outage(reader, field)).collect();
    }
    if let Some(hours) = own.take("hours").and_then(|field| reader.table(&field)) {
        model.hours.clear();
        for (hour, field) in hours.entries() {
            match hour.parse() {
                Ok(at @ 0..24) => {
                    if let Some(factor) = reader.number(&field, &(0.0..=100.0)) {
                        model.hours.push((at, factor));
                    }
                }
                _ => reader.refuse(&field, "expected an hour of the day from 0 to 23"),
            }
        }
    }
    if let Some(field) = own.take("timezone")
        && let Some(name) = reader.text(&field)
    {
        match TimeZone::get(&name) {
            Ok(zone) => model.timezone = Some((name, zone)),
            Err(_) => reader.refuse(
                &field,
                &format!("there is no time zone \"{name}\"; expected an IANA name such as \"America/New_York\""),
            ),
        }
    }
    if let Some(mut valid) = own.take("valid").and_then(|field| reader.table(&field)) {
        let certain = reader.number_or(&mut valid, "certain", &(0.0..=LONG), 0.0);
        let mean = reader.number_or(&mut valid, "mean", &(0.001..=LONG), 600.0);
        reader.refuse_rest(&valid);
        model.validity = Some(Validity { certain, mean });
    }
    model.bulk = reader.number_or(own, "bulk", &(0.0..=1_000.0), model.bulk);
    if let Some(field) = own.take("capacity") {
        model.capacity = capacity(reader, &field).or(model.capacity);
    }
    model
}

fn failures(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Failures> {
    let mut own = reader.table(field)?;
    let after = reader.number_or(&mut own, "after", &(0.0..=300.0), 0.1);
    let kinds: Vec<_> = Way::ALL
        .into_iter()
        .filter_map(|(name, way)| {
            let share = own.take(name).and_then(|field| reader.number(&field, &(0.0..=1.0)))?;
            Some((way, share))
        })
        .collect();
    reader.refuse_rest(&own);
    let sum: f64 = kinds.iter().map(|(_, share)| share).sum();
    if (sum - 1.0).abs() > 1e-9 {
        reader.refuse(field, &format!("the shares of the kinds of failure sum to {sum}; they must sum to 1"));
        return None;
    }
    Some(Failures { kinds, after })
}

fn outage(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<(f64, f64)> {
    let mut own = reader.table(field)?;
    let from = moment(reader, &mut own);
    let lasts = reader.number_or(&mut own, "lasts", &(0.1..=LONG), 3_600.0);
    reader.refuse_rest(&own);
    Some((from, from + lasts))
}

/// The second of the world that a `day` and a `time` of it mean.
pub(super) fn moment(reader: &mut Reader<'_>, table: &mut Table<'_>) -> f64 {
    let day = reader.number_or(table, "day", &(0.0..=3_650.0), 0.0);
    let time = table.take("time").and_then(|field| reader.time(&field)).unwrap_or(0.0);
    day * DAY + time
}

fn capacity(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Capacity> {
    let mut own = reader.table(field)?;
    let per_second = reader.number_or(&mut own, "per_second", &(0.001..=1e6), 100.0);
    let list = own.take("cuts").and_then(|field| reader.list(&field)).unwrap_or_default();
    let cuts = list.iter().filter_map(|field| {
        let mut cut = reader.table(field)?;
        let from = reader.number_or(&mut cut, "from", &(0.0..=LONG), 0.0);
        let until = reader.number_or(&mut cut, "until", &(0.0..=LONG), 0.0);
        let to = reader.number_or(&mut cut, "per_second", &(0.0..=1e6), 0.0);
        reader.refuse_rest(&cut);
        if until <= from {
            reader.refuse(field, &format!("`until` ({until}) must be after `from` ({from}), both in seconds"));
        }
        Some((from, until, to))
    });
    let cuts = cuts.collect();
    reader.refuse_rest(&own);
    Some(Capacity { per_second, cuts })
}

/// The service that a table names.
pub(super) fn named(reader: &mut Reader<'_>, own: &mut Table<'_>, services: &[Model]) -> Option<usize> {
    let Some(field) = own.take("service") else {
        reader.missing(own, "service");
        return None;
    };
    let name = reader.text(&field)?;
    let index = services.iter().position(|model| model.name == name);
    if index.is_none() {
        super::known(reader, &field, &name, services);
    }
    index
}

pub(super) fn changes(reader: &mut Reader<'_>, table: &mut Table<'_>, services: &[Model]) -> Vec<Change> {
    let list = table.take("changes").and_then(|field| reader.list(&field)).unwrap_or_default();
    let mut changes: Vec<Change> = Vec::new();
    for field in list {
        let Some(mut own) = reader.table(&field) else { continue };
        let at = reader.number_or(&mut own, "at", &(0.0..=1.0), 0.5);
        let service = named(reader, &mut own, services);
        let before = service.map(|service| {
            let newest = changes.iter().rev().find(|change| change.service == service);
            newest.map_or_else(|| services[service].clone(), |change| change.becomes.clone())
        });
        let becomes = laid_over(reader, &mut own, before.unwrap_or_else(|| blank("")));
        reader.refuse_rest(&own);
        if let Some(last) = changes.last().filter(|last| last.at > at) {
            let earlier = last.at;
            reader.refuse(&field, &format!("changes stand in order: {at} comes after {earlier}"));
        }
        changes.push(Change { at, service: service.unwrap_or(0), becomes });
    }
    changes
}
