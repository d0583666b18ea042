//! What a world is: its services, the work that is asked of them, what that work is worth, and what shall come of it.

use super::service::Model;
use poet_runtime::config::Pins;
use std::collections::BTreeMap;

/// A world, as its file states it.
#[derive(Clone, Debug)]
pub struct World {
    /// The name it is chosen by.
    pub name: String,
    /// What it is about, in a sentence.
    pub about: String,
    /// How long it lives where nobody says otherwise, in days.
    pub days: f64,
    /// Requests for each second, in the mean.
    pub rate: f64,
    /// The rates it is lived through at, one after the other, where a figure is to hold at each.
    pub sweep: Vec<f64>,
    /// Its seeds where nobody says otherwise.
    pub seeds: Vec<u64>,
    /// The policies it is lived through under where nobody says otherwise.
    pub policies: Vec<String>,
    /// Its first moment, in milliseconds since 1970 UTC.
    pub begin: i64,
    /// From which share of its life on what happens is measured.
    pub measured_from: f64,
    /// Who comes, and when.
    pub arrivals: Arrivals,
    /// What the work is worth and costs.
    pub worth: Worth,
    /// What every client knows of its services without having learned it.
    pub client: Client,
    /// Its services.
    pub services: Vec<Model>,
    /// What is done for one request, in order.
    pub steps: Vec<Step>,
    /// What becomes different while it lives, in order.
    pub changes: Vec<Change>,
    /// When the wall clock of its clients is corrected, in seconds of the world, and by how many seconds.
    pub corrections: Vec<(f64, f64)>,
    /// The pins of policies that hold every parameter at a value, by the names of the policies.
    pub statics: BTreeMap<String, Static>,
    /// What shall come of it.
    pub goals: Vec<Goal>,
}

/// Who comes, and when.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// Requests relative to the mean, by hour of the day.
    pub hours: [f64; 24],
    /// The moments of requests in seconds from the beginning, where they are not drawn.
    pub trace: Option<Vec<f64>>,
    /// How many items (customers) there are.
    pub items: usize,
    /// How much more often some are asked for than others (the exponent of Zipf's law).
    pub skew: f64,
    /// The share of requests that somebody waits for.
    pub high: f64,
}

/// The prices by which all policies are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// What a request is worth of which everything was done at once.
    pub now: f64,
    /// What a request is worth of which everything was done in the end.
    pub eventually: f64,
    /// What a call costs.
    pub call: f64,
    /// What a second of waiting costs.
    pub second: f64,
    /// What an answer costs that held no longer.
    pub stale: f64,
    /// What a call costs in dollars.
    pub dollars: f64,
}

/// What every client of a world knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client {
    /// The longest one attempt may take where nothing is learned about it, in seconds.
    pub timeout: f64,
    /// Whether that holds also for those that could learn another.
    pub fixed_timeout: bool,
    /// The longest one call of a service may take, in seconds.
    pub deadline: f64,
    /// How long the end of what was put off is waited for, in seconds.
    pub patience: f64,
}

/// One thing that is done for a request.
#[derive(Clone, Debug)]
pub struct Step {
    /// The service, by its place in [`World::services`].
    pub service: usize,
    /// The operation.
    pub operation: String,
    /// How likely a request wants it.
    pub share: f64,
    /// Whether it changes nothing.
    pub read: bool,
    /// Whether its answer may come from a cache.
    pub cacheable: bool,
    /// Whether it may be put off.
    pub deferrable: bool,
    /// Whether it is acknowledged before it is done.
    pub queued: bool,
    /// The operation that does the same for many.
    pub bulk: Option<String>,
    /// The share of calls that are wrong, which the service says of each.
    pub wrong: f64,
}

/// Something that becomes different.
#[derive(Clone, Debug)]
pub struct Change {
    /// When, as a share of the world's life.
    pub at: f64,
    /// The service, by its place in [`World::services`].
    pub service: usize,
    /// What it is like from then on.
    pub becomes: Model,
}

/// A policy that holds parameters at values.
#[derive(Clone, Debug, Default)]
pub struct Static {
    /// Where the values come from.
    pub because: String,
    /// Hours of the day in which what may wait is put off, by service.
    pub avoid: BTreeMap<String, String>,
    /// The values, by service.
    pub pins: BTreeMap<String, Pins>,
}

/// A figure, and what it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// Its name in [`FIGURES`](crate::judge::FIGURES).
    pub figure: String,
    /// Whose.
    pub policy: String,
    /// The service, for figures that are about one.
    pub service: Option<String>,
    /// The operation, for figures that are about one.
    pub operation: Option<String>,
    /// The parameter, for figures that are about one.
    pub parameter: Option<String>,
    /// What is true in the world, for figures that are compared with it.
    pub truth: Option<f64>,
    /// The least it shall be.
    pub at_least: Option<f64>,
    /// The most it shall be.
    pub at_most: Option<f64>,
    /// The share of runs in which it shall be so; where nothing is said, the mean of the runs shall be.
    pub in_runs: Option<f64>,
    /// What the figure cannot be better than, and why.
    pub bound: String,
}
