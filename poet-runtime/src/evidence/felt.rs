//! How executions of a function went that called one operation.

/// Four counts of the executions of a function in which one operation was called. They add up, and from them follows
/// what a failure of the operation does to the function.
///
/// # Examples
///
/// ```
/// use poet_runtime::evidence::Felt;
///
/// let mut felt = Felt::default();
/// // The call failed and the execution with it, twice; then neither did.
/// for failed in [true, true, false] {
///     felt.merge(&Felt::once(failed, failed));
/// }
/// assert_eq!(felt, Felt { called: 3, failed: 2, failed_then: 2, failed_otherwise: 0 });
/// assert_eq!(felt.well(), 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Felt {
    /// Executions that called the operation.
    pub called: u64,
    /// Those of them in which the call failed for good: what the function got of it in the end was an error.
    pub failed: u64,
    /// Of these, the executions that failed.
    pub failed_then: u64,
    /// Executions that failed although the call had not.
    pub failed_otherwise: u64,
}

impl Felt {
    /// One execution: whether the call of the operation failed in it, and whether it failed itself.
    #[must_use]
    pub fn once(call_failed: bool, execution_failed: bool) -> Self {
        Self {
            called: 1,
            failed: u64::from(call_failed),
            failed_then: u64::from(call_failed && execution_failed),
            failed_otherwise: u64::from(!call_failed && execution_failed),
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        self.called = self.called.saturating_add(other.called);
        self.failed = self.failed.saturating_add(other.failed);
        self.failed_then = self.failed_then.saturating_add(other.failed_then);
        self.failed_otherwise = self.failed_otherwise.saturating_add(other.failed_otherwise);
    }

    /// Executions in which the call did not fail.
    #[must_use]
    pub fn well(&self) -> u64 {
        self.called.saturating_sub(self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_that_fails_counts_by_whether_its_call_had_failed() {
        let mut felt = Felt::default();
        for (call, execution) in [(true, true), (true, false), (false, true), (false, false), (false, false)] {
            felt.merge(&Felt::once(call, execution));
        }
        assert_eq!(felt, Felt { called: 5, failed: 2, failed_then: 1, failed_otherwise: 1 });
        assert_eq!(felt.well(), 3);
    }
}
