//! What a running process tells of the customers it has processed.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One call to a service, as the database of outcomes tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) service: String,
    pub(crate) succeeded: bool,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
}

/// One customer, as the running process tells of it: one line of JSON on its output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) id: String,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
    pub(crate) elapsed: Duration,
    pub(crate) warnings: Vec<String>,
    pub(crate) moves: Vec<Move>,
}

/// A call that was not simply made: answered from memory, made with others, put off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// The service and its tool.
    pub(crate) call: String,
    /// What was done with it.
    pub(crate) how: String,
    pub(crate) why: String,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) customers: Vec<Finished>,
    pub(crate) calls: Vec<Made>,
    pub(crate) took: Duration,
}
