//! Shows what came of a campaign: to a person, to a machine, and as a page with curves.

pub mod html;
pub mod json;
pub mod text;

use crate::campaign::Outcome;
use crate::judge::Verdict;
use crate::world::{Summary, World};

/// Everything that is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The world.
    pub world: &'a World,
    /// How many days each run was.
    pub days: f64,
    /// Every run.
    pub outcomes: &'a [Outcome],
    /// What it was judged as.
    pub verdicts: &'a [Verdict],
}

impl<'a> Shown<'a> {
    /// The runs of each policy at each rate, in the order of the campaign.
    fn groups(&self) -> Vec<(&'a str, f64, Vec<&'a Outcome>)> {
        let mut groups: Vec<(&str, f64, Vec<&Outcome>)> = Vec::new();
        for outcome in self.outcomes {
            match groups.last_mut() {
                Some((policy, rate, runs)) if *policy == outcome.policy && rate.total_cmp(&outcome.rate).is_eq() => {
                    runs.push(outcome);
                }
                _ => groups.push((&outcome.policy, outcome.rate, vec![outcome])),
            }
        }
        groups
    }

    /// Whether the world was lived through at several rates.
    fn has_several_rates(&self) -> bool {
        self.outcomes.iter().any(|one| one.rate.total_cmp(&self.outcomes[0].rate).is_ne())
    }

    fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.outcomes.iter().map(|outcome| outcome.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }
}

/// The mean of several runs.
fn mean(runs: &[&Outcome]) -> Summary {
    let summaries: Vec<_> = runs.iter().map(|run| run.lived.summary).collect();
    Summary::mean_of(&summaries)
}
