//! What the configuration says about the parameters of one operation.

use super::service::ServiceConfig;
use crate::outcome::FailureKind;
use crate::parameter::{ATTEMPT_TIMEOUT, CACHE_TTL, Parameter, Values};
use crate::profile::Profile;
use std::time::Duration;

/// A parameter that is held, by name and kind of failure.
type Held = (String, Option<FailureKind>);

impl ServiceConfig {
    /// The value a parameter of an operation is held at, in its unit, by a pin, a retry strategy, `timeout` or `cache`;
    /// `None` where it is not.
    #[must_use]
    pub fn held(&self, operation: &str, parameter: &Parameter, after: Option<FailureKind>) -> Option<f64> {
        let limit = |own: Option<Duration>, of: &Parameter| {
            own.filter(|_| parameter.name == of.name).map(|own| own.as_secs_f64())
        };
        let tool = self.tools.get(operation).and_then(|tool| {
            limit(tool.timeout, &ATTEMPT_TIMEOUT)
                .or_else(|| limit(tool.cache.and_then(|cache| cache.ttl), &CACHE_TTL))
                .or_else(|| tool.pin.get(parameter, after))
                .or_else(|| tool.retry?.get(parameter))
        });
        tool.or_else(|| limit(self.timeout, &ATTEMPT_TIMEOUT))
            .or_else(|| self.pin.get(parameter, after))
            .or_else(|| self.retry?.get(parameter))
    }

    /// The values of an operation before anything is learned.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::Profile;
    /// use poet_runtime::config::{RetryStrategy, ServiceConfig};
    ///
    /// let crm = ServiceConfig::named("crm").retry(&RetryStrategy::NETWORK).pin("retry.max_retries", 1);
    /// let values = crm.values("update_contact", Profile::GENERAL);
    /// assert_eq!((values.most_retries(), values.base_delay.as_millis()), (1, 500));
    /// ```
    #[must_use]
    pub fn values(&self, operation: &str, profile: &Profile) -> Values {
        let mut values = Values::of(profile);
        self.lay_over(operation, &mut values);
        values
    }

    /// Lays what is configured for an operation over values, and returns the parameters that are held by it.
    pub(crate) fn lay_over(&self, operation: &str, values: &mut Values) -> Vec<Held> {
        let mut held = Vec::new();
        let mut hold = |parameter: &Parameter, after| held.push((parameter.name.to_owned(), after));
        let tool = self.tools.get(operation);
        // The tool after the service, and the single value after the strategy, so that it wins.
        let layers = [(self.retry, &self.pin, self.timeout)];
        for (retry, pins, timeout) in layers.into_iter().chain(tool.map(|tool| (tool.retry, &tool.pin, tool.timeout))) {
            for parameter in retry.map(|retry| retry.apply(values)).into_iter().flatten() {
                hold(parameter, None);
            }
            pins.apply(values);
            for (parameter, after, _) in pins.iter() {
                hold(parameter, after);
            }
            if let Some(timeout) = timeout {
                values.attempt_timeout = timeout;
                values.attempt_timeout_pinned = true;
                hold(&ATTEMPT_TIMEOUT, None);
            }
        }
        if let Some(ttl) = tool.and_then(|tool| tool.cache?.ttl) {
            values.cache_ttl = ttl;
            hold(&CACHE_TTL, None);
        }
        if let Some(extends) = tool.and_then(|tool| tool.progress_extends).or(self.progress_extends) {
            values.progress_extends = extends;
        }
        if let Some(deadline) = tool.and_then(|tool| tool.deadline).or(self.deadline) {
            values.deadline = deadline;
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RetryStrategy, ToolConfig};
    use super::*;
    use crate::parameter::{BASE_DELAY, MAX_RETRIES};

    #[test]
    fn a_tool_stands_before_its_service_and_a_single_value_before_a_strategy() {
        let service = ServiceConfig::named("crm")
            .retry(&RetryStrategy::STANDARD)
            .pin("retry.max_retries.timeout", 0)
            .tool("list", ToolConfig::default().retry(&RetryStrategy::QUICK))
            .tool("read", ToolConfig::default().pin("retry.base_delay", 3));
        let after = FailureKind::Timeout;
        let retries = |operation: &str| {
            let values = service.values(operation, Profile::GENERAL);
            let said = service.held(operation, &MAX_RETRIES, Some(after));
            assert_eq!(said, values.get(MAX_RETRIES.name, Some(after)), "{operation}");
            (values.max_retries[after.index()], values.most_retries(), values.base_delay)
        };
        assert_eq!(retries("update"), (0, 4, Duration::from_secs(1)));
        assert_eq!(retries("list"), (2, 2, Duration::from_millis(100)));
        assert_eq!(retries("read"), (0, 4, Duration::from_secs(3)));
        assert_eq!(service.held("update", &BASE_DELAY, None), Some(1.0));
    }

    #[test]
    fn what_is_held_is_what_learning_does_not_move() {
        let service = ServiceConfig::named("crm").retry(&RetryStrategy::THROTTLE).timeout(Duration::from_secs(1));
        let held = service.lay_over("update", &mut Values::of(Profile::GENERAL));
        let names: Vec<_> = held.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["retry.max_retries", "retry.base_delay", "timeout.attempt"]);
    }
}
