//! Prints what was measured: a table for people, JSON for scripts.

use crate::sampling::{Group, Measured};
use serde_json::{Value, json};
use std::fmt::Write;

/// The case that others are compared with, in its group.
pub const FLOOR: &str = "floor: gate, policy, deadline, retry, record";

/// The table as text.
#[must_use]
pub fn text(measured: &[Measured]) -> String {
    let mut table = String::new();
    for group in [Group::Ready, Group::Pending, Group::Primitive] {
        let rows: Vec<_> = measured.iter().filter(|row| row.group == group).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(
            table,
            "\n{:<48} {:>9} {:>17} {:>9} {:>8} {:>8} {:>8}",
            group.title(),
            "median ns",
            "p25 - p75",
            "x floor",
            "blocks",
            "bytes",
            "future"
        );
        for row in rows {
            let [low, median, high] = row.quartiles;
            let _ = writeln!(
                table,
                "{:<48} {:>9.1} {:>17} {:>9} {:>8} {:>8} {:>8}",
                row.name,
                median,
                format!("{low:.1} - {high:.1}"),
                ratio(measured, row).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                count(row.blocks),
                count(row.bytes),
                row.future.map_or_else(String::new, |bytes| format!("{bytes} B")),
            );
        }
    }
    table
}

/// The table as JSON.
#[must_use]
pub fn json(measured: &[Measured], samples: usize) -> Value {
    let row = |row: &Measured| {
        json!({
            "case": row.name,
            "group": row.group.title(),
            "ns": { "p25": row.quartiles[0], "median": row.quartiles[1], "p75": row.quartiles[2] },
            "times_floor": ratio(measured, row),
            "heap": { "blocks": row.blocks, "bytes": row.bytes },
            "future_bytes": row.future,
        })
    };
    json!({ "samples": samples, "cases": measured.iter().map(row).collect::<Vec<_>>() })
}

fn ratio(measured: &[Measured], row: &Measured) -> Option<f64> {
    let floor = measured.iter().find(|other| other.name == FLOOR && other.group == row.group)?;
    Some(row.median() / floor.median())
}

fn count(per_call: f64) -> String {
    if per_call == 0.0 { "0".to_owned() } else { format!("{per_call:.2}") }
}
