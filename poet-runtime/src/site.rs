//! A place in the source that makes calls: what its author declared, and what the runtime found for it.

use crate::profile::Profile;
use crate::target::Target;
use once_cell::sync::OnceCell;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What is done with what is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Learning {
    /// Learned values are applied, within their bounds.
    #[default]
    On,
    /// Values are learned and proposed; those that a person approved are applied.
    Review,
    /// Values are learned and reported, never applied.
    Shadow,
    /// Outcomes are recorded; nothing is learned or applied.
    Off,
}

impl Learning {
    /// Whether calls are made with learned values: all of them, or those that were approved.
    pub(crate) const fn applies(self) -> bool {
        matches!(self, Self::On | Self::Review)
    }

    /// The name used in the attribute, in configuration and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Review => "review",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// How much a call matters to whoever waits for it. High and critical calls are never made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// May wait, and is given up first.
    Low,
    /// The ordinary case.
    #[default]
    Normal,
    /// Somebody is waiting.
    High,
    /// Must be tried whatever was learned.
    Critical,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The name used in the attribute, in configuration and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A priority that is none of `low`, `normal`, `high`, `critical`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPriority(String);

impl fmt::Display for UnknownPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no priority; write `low`, `normal`, `high` or `critical`", self.0)
    }
}

impl std::error::Error for UnknownPriority {}

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(name: &str) -> Result<Self, UnknownPriority> {
        Self::ALL.into_iter().find(|p| p.as_str() == name).ok_or_else(|| UnknownPriority(name.to_owned()))
    }
}

/// What the author of a function declared in its attribute. Built by the expansion, in a `static`.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The function's name.
    pub function: &'static str,
    /// The module it stands in.
    pub module: &'static str,
    /// The file it stands in.
    pub file: &'static str,
    /// The line of the attribute.
    pub line: u32,
    /// The domain's profile; `None` means the runtime's default.
    pub profile: Option<&'static Profile>,
    /// The service it is learned under; `None` means the crate's name.
    pub service: Option<&'static str>,
    /// The operation it is learned under; `None` means the function's name in its module.
    pub operation: Option<&'static str>,
    /// What is done with what is learned; `None` means as configured.
    pub learning: Option<Learning>,
    /// The priority of every call; `None` means the caller's.
    pub priority: Option<Priority>,
    /// Whether the function may be executed more than once.
    pub idempotent: bool,
    /// Pinned extra tries.
    pub retries: Option<u8>,
    /// Pinned limit of one attempt.
    pub timeout: Option<Duration>,
    /// Pinned limit of the whole call.
    pub deadline: Option<Duration>,
    /// The price of one call, in the configured currency.
    pub cost: Option<f64>,
    /// Whether the answers of the function are kept, and for how long.
    pub cache: Option<CacheFor>,
    /// Whether the calls inside that are no reads may be put off.
    pub deferrable: bool,
}

/// How long answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheFor {
    /// As long as was learned, from the profile's default on.
    Learned,
    /// As long as the author wrote.
    Fixed(Duration),
}

impl Declaration {
    /// A function of which nothing but its place is declared.
    #[must_use]
    pub const fn new(function: &'static str, module: &'static str, file: &'static str, line: u32) -> Self {
        Self {
            function,
            module,
            file,
            line,
            profile: None,
            service: None,
            operation: None,
            learning: None,
            priority: None,
            idempotent: false,
            retries: None,
            timeout: None,
            deadline: None,
            cost: None,
            cache: None,
            deferrable: false,
        }
    }

    /// The service it is learned under.
    #[must_use]
    pub fn service_name(&self) -> &'static str {
        self.service.unwrap_or_else(|| self.module.split("::").next().unwrap_or(self.module))
    }

    /// The operation it is learned under: the author's word, or the path of the function within its crate, so that two
    /// functions of one name are not taken for one.
    #[must_use]
    pub fn operation_name(&self) -> Cow<'static, str> {
        match (self.operation, self.module.split_once("::")) {
            (Some(operation), _) => Cow::Borrowed(operation),
            (None, Some((_, module))) => Cow::Owned(format!("{module}::{}", self.function)),
            (None, None) => Cow::Borrowed(self.function),
        }
    }
}

/// One annotated function: its declaration, and what was found for it once.
///
/// A site is a place in the source: all instantiations of a generic function share it.
#[derive(Debug)]
pub struct Site {
    /// What its author declared.
    pub declaration: Declaration,
    /// Its target in the runtime of the process; a scoped runtime looks it up instead.
    pub(crate) installed: OnceCell<Arc<Target>>,
    /// The name of the body that was met first, and its hash: of a function that is not generic, the only one.
    pub(crate) body: OnceCell<(&'static str, u64)>,
}

impl Site {
    /// A site that has not been called yet.
    #[must_use]
    pub const fn new(declaration: Declaration) -> Self {
        Self { declaration, installed: OnceCell::new(), body: OnceCell::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_learned_under_its_crate_and_function_unless_told_otherwise() {
        let plain = Declaration::new("fetch", "shop::orders", "src/orders.rs", 7);
        assert_eq!((plain.service_name(), &*plain.operation_name()), ("shop", "orders::fetch"));
        let named = Declaration { service: Some("crm"), operation: Some("get"), ..plain };
        assert_eq!((named.service_name(), &*named.operation_name()), ("crm", "get"));
    }

    #[test]
    fn an_unknown_priority_says_what_is_allowed() {
        let error = Priority::from_str("urgent").unwrap_err().to_string();
        assert_eq!(error, "`urgent` is no priority; write `low`, `normal`, `high` or `critical`");
    }
}
