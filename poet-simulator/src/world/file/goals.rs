//! What shall come of a world.

use super::read::{Reader, Table};
use crate::judge::FIGURES;
use crate::policy;
use crate::world::spec::Goal;

pub(super) fn read(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Vec<Goal> {
    let list = table.take("goals").and_then(|field| reader.list(&field)).unwrap_or_default();
    let mut goals = Vec::new();
    for field in list {
        let Some(mut own) = reader.table(&field) else { continue };
        let figures = FIGURES.map(|(name, _)| (name, name));
        let Some(named) = own.take("figure") else {
            reader.missing(&own, "figure");
            continue;
        };
        let figure = reader.choice(&named, &figures);
        let policies = policy::POLICIES.map(|(name, ..)| (name, name));
        let policy = own.take("policy").and_then(|field| reader.choice(&field, &policies)).unwrap_or("learned");
        let mut text = |reader: &mut Reader<'_>, key| own.take(key).and_then(|field| reader.text(&field));
        let service = text(reader, "service");
        let operation = text(reader, "operation");
        let parameter = text(reader, "parameter");
        let bound = text(reader, "bound").unwrap_or_default();
        let mut number =
            |reader: &mut Reader<'_>, key, allowed| own.take(key).and_then(|field| reader.number(&field, &allowed));
        let goal = Goal {
            figure: figure.unwrap_or_default().to_owned(),
            policy: policy.to_owned(),
            service,
            operation,
            parameter,
            truth: number(reader, "truth", -1e9..=1e9),
            at_least: number(reader, "at_least", -1e9..=1e9),
            at_most: number(reader, "at_most", -1e9..=1e9),
            in_runs: number(reader, "in_runs", 0.0..=1.0),
            bound,
        };
        reader.refuse_rest(&own);
        if goal.at_least.is_none() && goal.at_most.is_none() {
            reader.refuse(&field, "says neither `at_least` nor `at_most`; write one of them");
        }
        goals.push(goal);
    }
    goals
}
