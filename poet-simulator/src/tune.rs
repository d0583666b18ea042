//! Finds the best static policy in hindsight: a coordinate search through the real pipeline, on the very world that it
//! is then judged on.

use crate::policy::Policy;
use crate::threads;
use crate::world::{Log, Run, Static, World, run};
use std::fmt::Write as _;
use std::sync::Arc;

/// What may be tried of each parameter, and for which steps it means anything.
const GRID: [(&str, &[f64]); 8] = [
    ("retry.max_retries", &[0.0, 1.0, 2.0, 3.0]),
    ("timeout.attempt", &[1.0, 1.5, 2.0, 3.0, 5.0, 10.0]),
    ("breaker.failure_threshold", &[2.0, 3.0, 4.0, 6.0, 8.0, 12.0]),
    ("breaker.open_for", &[2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0]),
    ("breaker.success_threshold", &[1.0, 2.0, 3.0]),
    ("cache.ttl", &[0.0, 240.0, 480.0, 900.0, 960.0, 1_800.0]),
    ("batch.max_size", &[3.0, 5.0, 10.0, 20.0, 50.0]),
    ("batch.window", &[0.05, 2.0, 10.0, 30.0]),
];

/// Stale answers cost what they cost, and no more of them than this share of the hits are allowed, as the learner has to
/// keep it.
const STALE: f64 = 0.012;

/// How a search is made.
#[derive(Clone, Debug)]
pub struct Search {
    /// The world.
    pub world: Arc<World>,
    /// Days of each run.
    pub days: f64,
    /// The rates it is lived through at; what counts is the mean.
    pub rates: Vec<f64>,
    /// Its seed.
    pub seed: u64,
    /// How often every coordinate is gone through.
    pub rounds: usize,
    /// Runs at once.
    pub threads: usize,
}

/// The best values that were found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The values, as a policy.
    pub held: Static,
    /// What a request was worth with them.
    pub utility: f64,
    /// Runs that it took.
    pub runs: usize,
}

impl Search {
    /// Searches. `tell` is told of each step: how far it is, and what is best by then.
    ///
    /// # Panics
    ///
    /// If a run does.
    #[must_use]
    pub fn run(&self, tell: &dyn Fn(f64, &str)) -> Found {
        let mut held = self
            .world
            .statics
            .get("best_static")
            .or_else(|| self.world.statics.get("source"))
            .cloned()
            .unwrap_or_default();
        held.avoid.clear();
        let coordinates = self.coordinates();
        let mut runs = 1;
        let mut best = self.score(std::slice::from_ref(&held))[0];
        for round in 0..self.rounds {
            let before = best;
            for (index, (service, parameter, values)) in coordinates.iter().enumerate() {
                let tried: Vec<Static> = values.iter().map(|value| with(&held, service, parameter, *value)).collect();
                let scores = self.score(&tried);
                runs += tried.len();
                for (score, tried) in scores.into_iter().zip(tried) {
                    if score > best {
                        (best, held) = (score, tried);
                    }
                }
                let share = (round * coordinates.len() + index + 1) as f64 / (self.rounds * coordinates.len()) as f64;
                tell(share, &format!("{service}.{parameter}: {best:.4}"));
            }
            if best - before < 1e-4 {
                break;
            }
        }
        held.because = format!("found with `poet simulate {} --tune`", self.world.name);
        Found { held, utility: best, runs }
    }

    fn coordinates(&self) -> Vec<(String, &'static str, &'static [f64])> {
        let mut coordinates = Vec::new();
        for (index, model) in self.world.services.iter().enumerate() {
            let mut steps = self.world.steps.iter().filter(|step| step.service == index);
            // What is never called has no best values.
            if steps.clone().next().is_none() {
                continue;
            }
            let (cached, bulk) = (steps.clone().any(|step| step.cacheable), steps.any(|step| step.bulk.is_some()));
            for (parameter, values) in GRID {
                let means = match parameter {
                    "cache.ttl" => cached,
                    "batch.max_size" | "batch.window" => bulk,
                    "timeout.attempt" => !self.world.client.fixed_timeout,
                    _ => true,
                };
                if means {
                    coordinates.push((model.name.clone(), parameter, values));
                }
            }
        }
        coordinates
    }

    fn score(&self, tried: &[Static]) -> Vec<f64> {
        let rates = self.rates.len();
        let order: Vec<usize> = (0..tried.len() * rates).collect();
        let scores = threads::each(&order, self.threads, |index| {
            let mut world = (*self.world).clone();
            world.statics.insert("best_static".to_owned(), tried[index / rates].clone());
            let run_ = Run {
                world: Arc::new(world),
                policy: Policy::Static("best_static"),
                days: self.days,
                rate: self.rates[index % rates],
                seed: self.seed,
                log: Log::default(),
            };
            let summary = run(&run_, |_| {}).summary;
            if summary.stale > STALE { summary.utility - 1.0 } else { summary.utility }
        });
        scores.chunks(rates.max(1)).map(|scores| scores.iter().sum::<f64>() / scores.len() as f64).collect()
    }
}

fn with(held: &Static, service: &str, parameter: &str, value: f64) -> Static {
    let mut held = held.clone();
    held.pins.entry(service.to_owned()).or_default().set(parameter, value);
    held
}

impl Found {
    /// The values as they are written in the file of a world.
    #[must_use]
    pub fn as_toml(&self) -> String {
        let mut text = format!("[static.best_static]\nbecause = \"{}\"\n", self.held.because.replace('"', "'"));
        for (service, pins) in &self.held.pins {
            let _ = writeln!(text, "[static.best_static.pins.{service}]");
            for (parameter, after, value) in pins.iter() {
                let kind = after.map(|kind| format!(".{}", kind.as_str())).unwrap_or_default();
                let _ = writeln!(text, "\"{}{kind}\" = {value}", parameter.name);
            }
        }
        text
    }
}
