//! Which calls may be made more than once, and which are reads.
//!
//! The caller's word stands first, the configuration's second, and what the server says about its own tool counts only
//! if the service is configured as trusted. Unknown means no.

use super::connection::ToolInfo;
use poet_runtime::config::{Access, ServiceConfig, ToolConfig};
use poet_runtime::service::CacheWish;

/// Whether the server's own claims would decide anything, so that they have to be known before the call.
pub(super) fn asks_the_server(idempotent: bool, config: &ServiceConfig, tool: &ToolConfig) -> bool {
    let repeatable = !idempotent && tool.idempotent.is_none();
    config.trusted && tool.read_only.is_none() && (repeatable || config.access == Access::ReadOnly)
}

/// Whether somebody said that answers may come from memory. That says that nothing is lost if the tool is not asked,
/// so it may be answered for; it does not say that it may be asked twice.
pub(super) fn declares_a_read(wish: CacheWish, tool: &ToolConfig) -> bool {
    let declared = tool.cache.is_some() || matches!(wish, CacheWish::UpTo(_));
    declared && tool.read_only != Some(false) && tool.idempotent != Some(false)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nature {
    pub(super) repeatable: bool,
    pub(super) read_only: bool,
}

/// Who says whether a tool may be called more than once, where the call itself does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    /// The configuration says so, or says that it may not.
    Declared(bool),
    /// The server does, which is trusted.
    Claimed(bool),
    /// Nobody whose word counts; so it may not.
    Unknown,
}

impl Repeatable {
    /// What is known about a tool of a service from its configuration, and from what the server says about it.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_domains::mcp::{Repeatable, ToolInfo};
    /// use poet_runtime::config::ServiceConfig;
    ///
    /// let mut list = ToolInfo::default();
    /// list.read_only = Some(true);
    /// let crm = ServiceConfig::http("crm", "http://localhost:8002/mcp");
    /// assert_eq!(Repeatable::of(&crm, &list), Repeatable::Unknown);
    /// assert_eq!(Repeatable::of(&crm.trusted(), &list), Repeatable::Claimed(true));
    /// ```
    #[must_use]
    pub fn of(service: &ServiceConfig, tool: &ToolInfo) -> Self {
        let unset = ToolConfig::default();
        let configured = service.tools.get(&tool.name).unwrap_or(&unset);
        Self::said(configured, service.trusted.then_some(tool))
    }

    pub(super) fn said(tool: &ToolConfig, claims: Option<&ToolInfo>) -> Self {
        let declared = tool.idempotent.or(tool.read_only.filter(|&read_only| read_only));
        let claimed = claims.filter(|tool| tool.read_only.or(tool.idempotent).is_some());
        match (declared, claimed) {
            (Some(declared), _) => Self::Declared(declared),
            (None, Some(tool)) => Self::Claimed(tool.claims_repeatable()),
            (None, None) => Self::Unknown,
        }
    }

    /// Whether it may be called more than once.
    #[must_use]
    pub fn holds(self) -> bool {
        matches!(self, Self::Declared(true) | Self::Claimed(true))
    }
}

/// What a tool is taken for: the caller's word before the configuration's before the claims of a trusted server.
pub(super) fn nature(idempotent: bool, tool: &ToolConfig, claims: Option<&ToolInfo>) -> Nature {
    let read_only = tool.read_only.unwrap_or_else(|| claims.is_some_and(|tool| tool.read_only == Some(true)));
    let repeatable = idempotent || Repeatable::said(tool, claims).holds();
    // A tool that may not be repeated is not shared either, whatever else was said about it.
    Nature { repeatable, read_only: read_only && repeatable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn claims(read_only: Option<bool>, idempotent: Option<bool>) -> ToolInfo {
        ToolInfo { read_only, idempotent, ..ToolInfo::default() }
    }

    fn is(idempotent: bool, tool: &ToolConfig, claims: Option<&ToolInfo>) -> (bool, bool) {
        let nature = nature(idempotent, tool, claims);
        (nature.repeatable, nature.read_only)
    }

    #[test]
    fn what_nobody_vouches_for_is_a_write() {
        let unset = ToolConfig::default();
        assert_eq!(is(false, &unset, None), (false, false));
        assert_eq!(is(false, &unset, Some(&claims(None, None))), (false, false));
        assert_eq!(is(false, &unset, Some(&claims(Some(false), Some(false)))), (false, false));
    }

    #[test]
    fn the_caller_stands_before_the_configuration_and_that_before_the_server() {
        let unset = ToolConfig::default();
        let never = ToolConfig { idempotent: Some(false), ..ToolConfig::default() };
        let read = claims(Some(true), None);
        assert_eq!(is(false, &unset, Some(&read)), (true, true));
        assert_eq!(is(false, &unset, Some(&claims(None, Some(true)))), (true, false));
        assert_eq!(is(false, &never, Some(&read)), (false, false));
        assert_eq!(is(true, &never, None), (true, false));
        assert_eq!(is(false, &ToolConfig::default().idempotent(), None), (true, false));
        assert_eq!(is(false, &ToolConfig::default().read_only(), None), (true, true));
    }

    #[test]
    fn what_may_be_answered_from_memory_is_a_read_unless_it_is_said_to_be_a_write() {
        let cached = || ToolConfig::default().cacheable();
        assert!(declares_a_read(CacheWish::AsConfigured, &cached()));
        assert!(declares_a_read(CacheWish::UpTo(Duration::from_secs(1)), &ToolConfig::default()));
        assert!(!declares_a_read(CacheWish::AsConfigured, &ToolConfig::default()));
        for write in
            [ToolConfig { read_only: Some(false), ..cached() }, ToolConfig { idempotent: Some(false), ..cached() }]
        {
            assert!(!declares_a_read(CacheWish::UpTo(Duration::from_secs(1)), &write));
        }
        assert!(!nature(false, &cached(), None).repeatable, "nobody said that it may be asked twice");
    }

    #[test]
    fn only_a_trusted_server_that_could_decide_something_is_asked_first() {
        let unset = ToolConfig::default();
        let trusted = ServiceConfig::http("crm", "http://crm").trusted();
        assert!(asks_the_server(false, &trusted, &unset));
        assert!(!asks_the_server(true, &trusted, &unset));
        assert!(!asks_the_server(false, &trusted, &ToolConfig::default().read_only()));
        assert!(!asks_the_server(false, &ServiceConfig::http("crm", "http://crm"), &unset));
        assert!(asks_the_server(true, &trusted.read_only(), &unset));
    }
}
