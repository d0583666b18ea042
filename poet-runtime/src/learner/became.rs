//! Decides whether an operation has become another one, because it takes or answers something else.
//!
//! What was learned about a tool holds for the tool that was called. A schema that was never seen of it says that it is
//! another one from now on: a *regime* begins. What was counted before it counts no more, and what was learned goes back
//! to profile and configuration.
//!
//! A schema that was seen before begins none, so that the servers of a rollout, which show two of them in turn, do not
//! take everything back at every call; nor does one within a day of the last regime, or beyond so many that the schema
//! of the operation says nothing about it (some are written anew for every listing).

use crate::clock::Wall;
use crate::store::{ParameterChange, ParameterRow, SchemaRow, Standing, TargetKey};
use serde_json::json;
use std::time::Duration;

/// The most schemas of an operation that are remembered.
pub(crate) const MAX_SCHEMAS: usize = 32;

/// The shortest time between the beginnings of two regimes.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the evidence of a row says that it went back because its operation became another one.
const SCHEMA: &str = "schema";

/// What is to be remembered of a schema, given those of the operation that are: `None` where it is known, or where there
/// are too many.
pub(crate) fn seen(known: &[SchemaRow], target: &TargetKey, schema: u64, now: Wall) -> Option<SchemaRow> {
    if known.len() >= MAX_SCHEMAS || known.iter().any(|row| row.schema == schema) {
        return None;
    }
    let is_settling = known.iter().any(|row| row.began && now.before(SHORTEST) < row.seen);
    let began = !known.is_empty() && !is_settling;
    Some(SchemaRow { target: target.clone(), schema, seen: now, began })
}

/// The first hour whose counts are those of the operation as it is now. The hour in which it changed has some of both,
/// and counts for neither.
pub(crate) fn since(known: &[SchemaRow], now: Wall) -> Option<i64> {
    // A clock that was wrong once shall not keep everything from being learned.
    let begun = known.iter().filter(|row| row.began && row.seen.hour() <= now.hour());
    begun.map(|row| row.seen.hour() + 1).max()
}

/// The move that takes a value back; `None` where there is nothing to take back, or a person decided it.
pub(crate) fn taken_back(row: &ParameterRow, default: f64, began: &SchemaRow) -> Option<ParameterChange> {
    if matches!(row.standing, Standing::Pinned | Standing::Reset | Standing::Forgotten) {
        return None;
    }
    let evidence = json!({
        SCHEMA: format!("{:016x}", began.schema),
        "before": { "revision": row.revision, "standing": row.standing.as_str() },
    });
    let new = ParameterRow {
        key: row.key.clone(),
        value: default,
        standing: Standing::Reset,
        good: None,
        sample: 0,
        interval: (default, default),
        confidence: 1.0,
        predicted: None,
        reason: "the tool became another one: its schema changed".to_owned(),
        evidence: evidence.to_string(),
        changed: began.seen,
        revision: 0,
    };
    Some(ParameterChange { old: row.in_force().or(Some(default)), new, realised: None })
}

/// Whether a value was taken back because its operation became another one: nothing speaks against moving it then.
pub(crate) fn is_of_another(row: &ParameterRow) -> bool {
    row.standing == Standing::Reset && row.evidence_of(SCHEMA).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    /// What begins a regime of these schemas, seen at these milliseconds.
    fn begins(seen_at: &[(u64, i64)]) -> Vec<bool> {
        let target = conformance::target("crm");
        let mut known = Vec::new();
        let begins = seen_at.iter().map(|&(schema, at)| {
            let row = seen(&known, &target, schema, Wall::from_millis(at));
            known.extend(row.clone());
            row.is_some_and(|row| row.began)
        });
        begins.collect()
    }

    #[test]
    fn the_first_schema_is_no_change_and_another_one_is() {
        assert_eq!(begins(&[(1, 0), (1, 5), (2, 10), (2, 20)]), [false, false, true, false]);
    }

    #[test]
    fn servers_that_show_two_schemas_in_turn_begin_one_regime() {
        let turns: Vec<_> = (0..100).map(|n| (n as u64 % 2, n * DAY)).collect();
        assert_eq!(begins(&turns).into_iter().filter(|begins| *begins).count(), 1);
    }

    #[test]
    fn a_schema_that_is_never_the_same_begins_a_regime_a_day_and_then_none() {
        let hourly: Vec<_> = (0..48).map(|n| (n as u64, n * DAY / 24)).collect();
        assert_eq!(begins(&hourly).into_iter().filter(|begins| *begins).count(), 2);
        let daily: Vec<_> = (0..100).map(|n| (n as u64, n * DAY)).collect();
        assert_eq!(begins(&daily).into_iter().filter(|begins| *begins).count(), MAX_SCHEMAS - 1);
    }

    #[test]
    fn a_regime_begins_with_the_hour_after_the_change_and_a_wrong_clock_begins_none() {
        let row = |schema, hour, began| SchemaRow {
            target: conformance::target("crm"),
            schema,
            seen: Wall::from_millis(hour * DAY / 24),
            began,
        };
        let now = Wall::from_millis(100 * DAY / 24);
        assert_eq!(since(&[row(1, 3, false)], now), None);
        assert_eq!(since(&[row(1, 3, false), row(2, 7, true), row(3, 9, false)], now), Some(8));
        assert_eq!(since(&[row(1, 3, false), row(2, 7, true), row(3, 101, true)], now), Some(8));
    }

    #[test]
    fn what_a_person_decided_stays_and_all_else_goes_back() {
        let began = seen(&[], &conformance::target("crm"), 7, Wall::from_millis(5)).unwrap();
        for standing in Standing::ALL {
            let mut row = conformance::change("crm", "timeout.attempt", None, 2.0).new;
            row.standing = standing;
            let change = taken_back(&row, 10.0, &began);
            let stays = matches!(standing, Standing::Pinned | Standing::Reset | Standing::Forgotten);
            assert_eq!(change.is_none(), stays, "{standing:?}");
            let Some(change) = change else { continue };
            assert_eq!((change.new.value, change.new.standing), (10.0, Standing::Reset));
            assert_eq!(change.new.reason, "the tool became another one: its schema changed");
            assert!(is_of_another(&change.new) && !is_of_another(&row));
        }
    }
}
