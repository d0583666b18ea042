//! What services and tools have alike: limits of time, and pins.

use super::node::Value;
use super::pins::{Pins, allowed, find, within};
use super::read::{Field, Reader, Table};
use crate::parameter::{ATTEMPT_TIMEOUT, Unit};
use std::ops::RangeInclusive;
use std::time::Duration;

const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(86_400);

/// The limits and pins of a service, or of a tool.
pub(super) struct Limits {
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) pin: Pins,
}

pub(super) fn limits(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Limits {
    let attempt = Duration::from_secs_f64(ATTEMPT_TIMEOUT.min)..=Duration::from_secs_f64(ATTEMPT_TIMEOUT.max);
    Limits {
        timeout: table.take("timeout").and_then(|field| reader.duration(&field, &attempt)),
        deadline: table.take("deadline").and_then(|field| reader.duration(&field, &DEADLINE)),
        pin: table.take("pin").map(|field| pins(reader, &field)).unwrap_or_default(),
    }
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
