//! Learns the circuit: when it opens, when it is probed, and when it closes.

mod cascade;
mod closing;
mod opening;
mod probing;
mod seen;

use super::Subject;
use super::guard::Proposal;
use seen::Seen;

pub use cascade::{Cascade, CascadeRisk};

/// Proposes a step of each of its parameters that the evidence speaks about.
pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    let seen = Seen::read(subject);
    let mut proposals = opening::propose(subject, &seen);
    proposals.extend(probing::propose(subject, &seen));
    proposals.extend(closing::propose(subject, &seen));
    proposals
}
