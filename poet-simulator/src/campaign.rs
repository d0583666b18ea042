//! Lives a world through under several policies and seeds, on several threads, each with a time of its own.

use crate::policy::Policy;
use crate::threads;
use crate::world::{Lived, Log, Run, World, run};
use std::sync::{Arc, Mutex, PoisonError};

/// What is to be lived through.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The world.
    pub world: Arc<World>,
    /// The policies, by their names.
    pub policies: Vec<String>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The rates.
    pub rates: Vec<f64>,
    /// How many days each run is.
    pub days: f64,
    /// Where everything is written; for one run only.
    pub log: Log,
    /// Runs at once.
    pub threads: usize,
}

/// One run, and what came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The policy's name.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// The rate.
    pub rate: f64,
    /// What came of it.
    pub lived: Lived,
}

/// How far a campaign is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The share of all runs that is done.
    pub share: f64,
    /// The run that moved last.
    pub policy: String,
    /// Its seed.
    pub seed: u64,
    /// The day it is at.
    pub day: f64,
}

impl Campaign {
    /// Lives it through. The outcomes stand in the order of policies, rates and seeds, whichever came first.
    ///
    /// # Errors
    ///
    /// A policy that there is not, or whose values the world does not state.
    ///
    /// # Panics
    ///
    /// If a run does.
    pub fn run(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<Vec<Outcome>, String> {
        let mut runs = Vec::new();
        for name in &self.policies {
            let policy = Policy::find(name)?;
            if let Policy::Static(held) = policy
                && !self.world.statics.contains_key(held)
            {
                return Err(format!(
                    "world `{}` states no values for `{name}`: write [static.{name}]",
                    self.world.name
                ));
            }
            for rate in &self.rates {
                for seed in &self.seeds {
                    let run = Run {
                        world: self.world.clone(),
                        policy,
                        days: self.days,
                        rate: *rate,
                        seed: *seed,
                        log: self.log.clone(),
                    };
                    runs.push((name.clone(), run));
                }
            }
        }
        // The longest first, so that no thread is left alone with one.
        let mut order: Vec<usize> = (0..runs.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(weight(runs[*index].1.policy)));
        let all: f64 = runs.iter().map(|(_, run)| f64::from(weight(run.policy)) * run.rate).sum();
        let done = Mutex::new(vec![0.0; runs.len()]);
        let lived = threads::each(&order, self.threads, |index| {
            let (name, run_) = &runs[index];
            let tell = |share: f64| {
                let sum: f64 = {
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done[index] = share * f64::from(weight(run_.policy)) * run_.rate;
                    done.iter().sum()
                };
                let (policy, seed) = (name.clone(), run_.seed);
                progress(Progress { share: sum / all, policy, seed, day: share * run_.days });
            };
            let lived = run(run_, tell);
            tell(1.0);
            lived
        });
        let outcome =
            |((policy, run), lived): ((String, Run), Lived)| Outcome { policy, seed: run.seed, rate: run.rate, lived };
        Ok(runs.into_iter().zip(lived).map(outcome).collect())
    }
}

/// About how long a run takes beside others.
fn weight(policy: Policy) -> u32 {
    match policy {
        Policy::Peer(_) => 1,
        Policy::Clairvoyant => 2,
        Policy::Static(_) => 12,
        Policy::Learned(_) => 20,
    }
}
