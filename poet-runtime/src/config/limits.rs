//! What services and tools have alike: limits of time, how they are tried again, and pins.

use super::node::Value;
use super::pins::{Pins, allowed, find, within};
use super::read::{Field, Reader, Table};
use super::retry::RetryStrategy;
use crate::parameter::{ATTEMPT_TIMEOUT, MAX_RETRIES, Unit};
use std::ops::RangeInclusive;
use std::time::Duration;

const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(86_400);

/// The limits and pins of a service, or of a tool.
pub(super) struct Limits {
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) retry: Option<&'static RetryStrategy>,
    pub(super) pin: Pins,
}

pub(super) fn limits(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Limits {
    let pin = table.take("pin").map(|field| pins(reader, &field)).unwrap_or_default();
    let strategies: Vec<_> = RetryStrategy::ALL.iter().map(|strategy| (strategy.name, *strategy)).collect();
    Limits {
        timeout: timeout(reader, table),
        deadline: table.take("deadline").and_then(|field| reader.duration(&field, &DEADLINE)),
        retry: table.take("retry").and_then(|field| reader.choice(&field, &strategies, &[])),
        pin: attempts(reader, table, pin),
    }
}

/// `timeout`, or `timeout_ms`, which has its unit in its name.
fn timeout(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<Duration> {
    let (written, millis) = (table.take("timeout"), table.take("timeout_ms"));
    if let (Some(_), Some(millis)) = (&written, &millis) {
        reader.refuse_key(millis, "says the same as `timeout`; keep one of the two");
    }
    let attempt = Duration::from_secs_f64(ATTEMPT_TIMEOUT.min)..=Duration::from_secs_f64(ATTEMPT_TIMEOUT.max);
    let written = written.and_then(|field| reader.duration(&field, &attempt));
    let allowed = attempt.start().as_millis() as u32..=attempt.end().as_millis() as u32;
    let millis = millis.and_then(|field| reader.count(&field, allowed));
    written.or(millis.map(|millis| Duration::from_millis(u64::from(millis))))
}

/// `retry_attempts`, which is a pin: of one attempt fewer, because it counts the first one.
fn attempts(reader: &mut Reader<'_>, table: &mut Table<'_>, mut pin: Pins) -> Pins {
    let Some(field) = table.take("retry_attempts") else {
        return pin;
    };
    if pin.contains(MAX_RETRIES.name) {
        reader.refuse_key(&field, "says the same as `pin.\"retry.max_retries\"`; keep one of the two");
    }
    if let Some(attempts) = reader.count(&field, 1..=MAX_RETRIES.max as u32 + 1) {
        pin.set(MAX_RETRIES.name, attempts - 1);
    }
    pin
}

/// Pins, whose names contain dots: quoted they are one key, unquoted they are tables in tables.
fn pins(reader: &mut Reader<'_>, field: &Field<'_>) -> Pins {
    let mut pins = Pins::default();
    for (name, field) in reader.table(field).iter().flat_map(Table::entries) {
        pin(reader, name, &field, &mut pins);
    }
    pins
}

fn pin(reader: &mut Reader<'_>, name: &str, field: &Field<'_>, pins: &mut Pins) {
    if let Value::Table(_) = field.node.value {
        for (last, field) in reader.table(field).iter().flat_map(Table::entries) {
            pin(reader, &format!("{name}.{last}"), &field, pins);
        }
        return;
    }
    let parameter = match find(name) {
        Ok((parameter, _)) => parameter,
        Err(problem) => return reader.refuse_key(field, &problem),
    };
    if pins.contains(name) {
        return reader.refuse_key(field, "is pinned twice; keep one of the two");
    }
    let allowed = allowed(parameter);
    let Some(value) = reader.quantity(field, &allowed, parameter.unit == Unit::Seconds) else {
        return;
    };
    if within(parameter, value).is_err() {
        reader.expected::<()>(field, &allowed);
    }
    pins.set(name, value);
}
