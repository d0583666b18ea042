//! Defaults that go together, by where a program runs.

use super::{CacheBounds, Config, PoolConfig, QueueConfig, StoreConfig};
use crate::site::Learning;
use std::time::Duration;

/// Defaults that go together, by where a program runs. Every key of a configuration stands before its preset.
///
/// # Examples
///
/// ```
/// use poet_runtime::Learning;
/// use poet_runtime::config::{Config, Preset};
///
/// let config = Config::preset(&Preset::TEST);
/// assert_eq!((config.learning, config.cache.enabled), (Learning::Off, false));
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name in configuration.
    pub name: &'static str,
    /// What is done with what is learned.
    pub learning: Learning,
    /// Whether outcomes are kept in memory only.
    pub memory: bool,
    /// How long single outcomes are kept.
    pub retention: Duration,
    /// Whether answers are kept and served from the cache.
    pub cache: bool,
    /// Whether the process runs jobs by itself.
    pub work: bool,
    /// Connections to each endpoint that are kept open once it was called; programs of this machine are not meant.
    pub min_connections: u32,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Preset {
    /// Where calls matter: the defaults, said to be meant, and connections that are there before they are needed.
    pub const PRODUCTION: Self = Self {
        name: "production",
        learning: Learning::On,
        memory: false,
        retention: Duration::from_secs(30 * 86_400),
        cache: true,
        work: true,
        min_connections: 5,
    };
    /// On the machine of a developer, where a program is to behave today as it did yesterday: it learns and reports, and
    /// applies nothing.
    pub const DEVELOPMENT: Self = Self {
        name: "development",
        learning: Learning::Shadow,
        retention: Duration::from_secs(7 * 86_400),
        min_connections: 0,
        ..Self::PRODUCTION
    };
    /// In a test, where one must not know of another: nothing is learned, no answer is kept, no file is written, and jobs
    /// are run when the test says so.
    pub const TEST: Self = Self {
        name: "test",
        learning: Learning::Off,
        memory: true,
        retention: DAY,
        cache: false,
        work: false,
        min_connections: 0,
    };
    /// Every preset. Adding one is a constant and a line here.
    pub const ALL: &'static [&'static Self] = &[&Self::PRODUCTION, &Self::DEVELOPMENT, &Self::TEST];
}

impl Config {
    /// The configuration that a preset stands for, without services.
    #[must_use]
    pub fn preset(preset: &'static Preset) -> Self {
        Self {
            preset: Some(preset),
            learning: preset.learning,
            store: StoreConfig { path: None, memory: preset.memory, retention: preset.retention },
            cache: CacheBounds { enabled: preset.cache, ..CacheBounds::default() },
            queue: QueueConfig { work: preset.work, ..QueueConfig::default() },
            pool: PoolConfig { min_connections: preset.min_connections, ..PoolConfig::default() },
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServiceConfig;
    use std::collections::BTreeSet;

    #[test]
    fn every_preset_has_a_name_of_its_own_and_is_what_a_configuration_may_be() {
        let names: BTreeSet<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), Preset::ALL.len());
        for preset in Preset::ALL {
            assert_eq!(Config::preset(preset).check(), Ok(()), "{}", preset.name);
        }
    }

    #[test]
    fn a_service_that_a_program_adds_has_the_connections_of_all_others_unless_it_says_otherwise() {
        let config = Config::preset(&Preset::PRODUCTION);
        let fewest = |service: ServiceConfig| config.pool_of(&service).min_connections;
        assert_eq!(fewest(ServiceConfig::http("crm", "http://localhost:1")), Preset::PRODUCTION.min_connections);
        assert_eq!(fewest(ServiceConfig::stdio("files", "files")), 0, "of a program there is one copy");
        assert_eq!(fewest(ServiceConfig::named("crm").pool(PoolConfig { min_connections: 2, ..config.pool })), 2);
    }

    #[test]
    fn production_is_what_holds_where_nothing_is_said_but_for_connections_that_are_kept_open() {
        let production = Config { preset: None, pool: PoolConfig::default(), ..Config::preset(&Preset::PRODUCTION) };
        assert_eq!(production, Config::default());
    }
}
