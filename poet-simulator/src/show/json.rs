//! For a machine: stable names, rates as fractions, times in seconds.

use super::{Shown, mean};
use serde_json::{Value, json};

/// The whole answer.
#[must_use]
pub fn json(shown: &Shown<'_>) -> Value {
    let policies: Vec<_> = shown
        .groups()
        .into_iter()
        .map(|(policy, rate, runs)| {
            let summary = mean(&runs);
            let runs: Vec<_> = runs
                .iter()
                .map(|run| {
                    json!({
                        "seed": run.seed, "summary": run.lived.summary, "part_days": run.lived.part,
                        "parts": run.lived.parts, "moves": run.lived.moves,
                    })
                })
                .collect();
            json!({ "policy": policy, "rate": rate, "mean": summary, "runs": runs })
        })
        .collect();
    json!({
        "world": shown.world.name, "about": shown.world.about, "days": shown.days, "seeds": shown.seeds(),
        "measured_from": shown.world.measured_from, "policies": policies, "judged": shown.verdicts,
    })
}
