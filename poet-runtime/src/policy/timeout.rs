//! Decides how long one attempt may take.
//!
//! An attempt is ended by dropping it. For what is known to be repeatable that costs at most a retry. For what is not,
//! giving up early turns a late success into an unknown outcome, so there a learned limit only ever lengthens the
//! default, and a limit that nobody wrote does not cut the only attempt of a function short of its deadline.

use std::time::Duration;

/// What there is to choose from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// The value in force: learned, configured or default.
    pub(crate) value: Duration,
    /// What it would be if nothing had been learned.
    pub(crate) unlearned: Duration,
    /// Written by a person, in the attribute, the call or the configuration.
    pub(crate) pinned: Option<Duration>,
    pub(crate) repeatable: bool,
    /// A function whose body is the attempt, as opposed to a call of a service.
    pub(crate) function: bool,
}

/// The limit of an attempt; `None` means the deadline of the call alone.
pub(crate) fn limit(choice: Choice) -> Option<Duration> {
    match choice {
        Choice { pinned: Some(pinned), .. } => Some(pinned),
        Choice { repeatable: true, value, .. } => Some(value),
        Choice { function: true, .. } => None,
        Choice { value, unlearned, .. } => Some(value.max(unlearned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(10);
    const WRITE: Choice = Choice { value: SHORT, unlearned: LONG, pinned: None, repeatable: false, function: false };

    #[test]
    fn a_learned_limit_shortens_only_what_may_be_repeated() {
        assert_eq!(limit(Choice { repeatable: true, ..WRITE }), Some(SHORT));
        assert_eq!(limit(WRITE), Some(LONG));
        assert_eq!(limit(Choice { value: LONG * 2, ..WRITE }), Some(LONG * 2));
    }

    #[test]
    fn the_only_attempt_of_a_function_may_use_its_whole_deadline() {
        assert_eq!(limit(Choice { function: true, ..WRITE }), None);
    }

    #[test]
    fn a_pin_always_holds() {
        assert_eq!(limit(Choice { pinned: Some(SHORT), function: true, ..WRITE }), Some(SHORT));
    }
}
