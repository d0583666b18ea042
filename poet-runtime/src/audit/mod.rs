//! The audit: who read or wrote what, when, whether it was allowed, what was decided about it, and by whom.
//!
//! A record of the pipeline is one cache line and says how a call went. An entry of the audit says why, and is made only
//! for calls whose service or tool asks for it: `[audit]` in the configuration. `docs/audit.md` says what an entry holds
//! and what it promises; [`Store::audit`](crate::store::Store::audit) reads them, and so does `poet audit`.

mod account;
#[cfg(test)]
mod deciding;
mod entry;
mod key;
mod redact;
#[cfg(test)]
mod strict;
mod trail;
mod who;

pub use entry::{
    AccessRule, AuditCounts, AuditEntry, AuditFilter, Decider, Decision, Declared, Detail, MAX_DECISIONS, Validation,
    Wait, What, Who,
};
pub use key::AuditKey;

pub(crate) use account::{Account, Auditor, Origin, batched};
pub(crate) use trail::Trail;
pub(crate) use who::{Obeyed, seconds};
