//! Puts a runtime together from what its author says, what is configured, and defaults.

use super::{Inner, Runtime};
use crate::audit::{AuditKey, Auditor};
use crate::cache::Answers;
use crate::clock::Clock;
use crate::config::{Config, ServiceConfig};
use crate::defer::{Deferral, DeferralQueue, Desk, MemoryQueue, Place};
use crate::error::Error;
use crate::pipeline::{Fallbacks, Flights, Gatherers};
use crate::profile::Profile;
use crate::recorder::{KeyOf, Recorder, RecorderSettings};
use crate::registry::Registry;
use crate::site::Learning;
use crate::store::{MemoryStore, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Assembles a [`Runtime`].
///
/// Without a word from its author, a runtime reads its configuration from `POET_CONFIG`, `./poet.toml` or `./poet.yaml`
/// where there is one, and keeps its evidence in the database of `POET_DB`, of the configuration, or in the user's state folder.
#[derive(Debug, Default)]
pub struct Builder {
    source: Source,
    services: Vec<ServiceConfig>,
    profiles: Vec<&'static Profile>,
    default_profile: Option<&'static Profile>,
    learning: Option<Learning>,
    keep: Keep,
    queue: Option<Box<dyn DeferralQueue>>,
    clock: Clock,
    seed: Option<u64>,
}

#[derive(Debug, Default)]
enum Source {
    /// The environment and the working directory say where.
    #[default]
    Discovered,
    File(PathBuf),
    Given(Box<Config>),
}

#[derive(Debug, Default)]
enum Keep {
    /// Where the configuration says.
    #[default]
    Configured,
    Database(PathBuf),
    Store(Box<dyn Store>),
    Memory,
}

impl Builder {
    /// Reads the configuration from this file.
    #[must_use]
    pub fn config(mut self, path: impl AsRef<Path>) -> Self {
        self.source = Source::File(path.as_ref().to_owned());
        self
    }

    /// Takes this configuration and reads none.
    #[must_use]
    pub fn configuration(mut self, config: Config) -> Self {
        self.source = Source::Given(Box::new(config));
        self
    }

    /// Adds a service to the configuration, or replaces the one of that name.
    #[must_use]
    pub fn service(mut self, service: ServiceConfig) -> Self {
        self.services.push(service);
        self
    }

    /// Keeps outcomes in the database at this path.
    #[must_use]
    pub fn database(mut self, path: impl AsRef<Path>) -> Self {
        self.keep = Keep::Database(path.as_ref().to_owned());
        self
    }

    /// Keeps outcomes in this store. Nothing is put off then, unless there is a [`queue`](Self::queue) for it too.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.keep = Keep::Store(Box::new(store));
        self
    }

    /// Keeps outcomes in memory, for tests and for programs that want no file; what is learned ends with the process.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.keep = Keep::Memory;
        self
    }

    /// Keeps calls that were put off in this queue, and not in the database.
    #[must_use]
    pub fn queue(mut self, queue: impl DeferralQueue + 'static) -> Self {
        self.queue = Some(Box::new(queue));
        self
    }

    /// Takes time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes a profile known by its name in the configuration.
    #[must_use]
    pub fn profile(mut self, profile: &'static Profile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// The profile of functions and services that name none.
    #[must_use]
    pub fn default_profile(mut self, profile: &'static Profile) -> Self {
        self.default_profile = Some(profile);
        self
    }

    /// What is done with what is learned, where nothing else says so.
    #[must_use]
    pub fn learning(mut self, learning: Learning) -> Self {
        self.learning = Some(learning);
        self
    }

    /// Seeds all chance: the jitter of delays, what is refreshed early and, in virtual time, the numbers of jobs, so that
    /// a run can be repeated. Runtimes that share a queue in virtual time need seeds of their own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Puts the runtime together and loads what was learned before.
    ///
    /// A database that cannot be opened costs learning and is logged; it is no error here.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] with every problem of the configuration and its place.
    pub fn build(mut self) -> Result<Runtime, Error> {
        let config = match std::mem::take(&mut self.source) {
            Source::Discovered => Config::discover(),
            Source::File(path) => Config::load(&path),
            Source::Given(config) => Ok(*config),
        };
        let config = config.map_err(|error| Error::configuration(Box::new(error)))?;
        let config = self.services.drain(..).fold(config, Config::service);
        config.check().map_err(|error| Error::configuration(Box::new(error)))?;
        Ok(self.assemble(config, None))
    }

    fn assemble(self, mut config: Config, config_problem: Option<String>) -> Runtime {
        if let Some(learning) = self.learning {
            config.learning = learning;
        }
        let database = match &self.keep {
            Keep::Store(_) | Keep::Memory => None,
            Keep::Database(path) => Some(path.clone()),
            Keep::Configured => (!config.store.memory).then(|| config.database()),
        };
        let (store, place): (Box<dyn Store>, _) = match (self.keep, &database) {
            (Keep::Store(store), _) => (store, Place::Nowhere),
            (_, Some(path)) => (open(path), Place::File(path.clone())),
            (_, None) => (Box::new(MemoryStore::default()), Place::Queue(Box::new(MemoryQueue::new()))),
        };
        let desk = Desk::new(self.queue.map_or(place, Place::Queue), config.queue, self.clock.clone());
        let config = Arc::new(config);
        let default_profile = self.default_profile.unwrap_or(Profile::GENERAL);
        let deferral = Deferral::new(desk, self.profiles.iter().copied().chain([default_profile]));
        let registry = Arc::new(Registry::new(config.clone(), self.profiles, default_profile));
        let settings = RecorderSettings {
            retention: config.store.retention,
            audit_retention: config.audit.retention,
            audit_entries: config.audit.max_entries,
            audit_key: match &config.audit.key {
                _ if !config.is_audited() => KeyOf::Nobody,
                Some(key) => KeyOf::Configuration(AuditKey::of(key)),
                None => KeyOf::Store,
            },
            ..RecorderSettings::default()
        };
        let recorder = Recorder::start(store, self.clock.clone(), settings, registry.clone());
        let run = recorder.run();
        let auditor = Auditor::of(&config);
        let answers = Answers::new(&config.cache, recorder.epoch(), self.clock.is_virtual());
        Runtime(Arc::new(Inner {
            // Without a seed of the author's, processes must not wait in step.
            seed: self.seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1),
            clock: self.clock,
            database,
            config,
            config_problem,
            registry,
            recorder,
            flights: Flights::default(),
            gatherers: Gatherers::default(),
            fallbacks: Fallbacks::default(),
            answers,
            deferral,
            auditor,
            run,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            // Even; those of fresh answers from the cache are odd.
            executions: AtomicU64::new(2),
            extensions: std::sync::Mutex::default(),
        }))
    }
}

/// The number of the next runtime.
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// The runtime of a process whose author said nothing.
pub(super) fn discover() -> Runtime {
    let builder = Runtime::builder();
    match Config::discover() {
        Ok(config) => builder.assemble(config, None),
        Err(problem) => {
            tracing::error!(%problem, "the configuration could not be read; going on with defaults");
            builder.assemble(Config::default(), Some(problem.to_string()))
        }
    }
}

/// A database that cannot be opened now is tried again at every flush; until then its evidence waits in memory.
#[cfg(feature = "sqlite")]
fn open(path: &Path) -> Box<dyn Store> {
    tracing::info!(path = %path.display(), "outcomes are kept in this database");
    Box::new(crate::store::SqliteStore::at(path))
}

#[cfg(not(feature = "sqlite"))]
fn open(_path: &Path) -> Box<dyn Store> {
    tracing::info!("outcomes are kept in memory; the feature `sqlite` keeps them in a database");
    Box::new(MemoryStore::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn what_is_configured_to_stay_in_memory_is_in_no_file() {
        let database = |config| Runtime::builder().configuration(config).build().unwrap().0.database.clone();
        assert_eq!(database(Config::preset(&Preset::TEST)), None);
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::preset(&Preset::DEVELOPMENT);
        config.store.path = Some(folder.path().join("poet.db"));
        assert!(database(config).is_some());
    }
}
