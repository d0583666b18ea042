//! Assembles the runtime and owns it: clock, configuration, targets, recorder.
//!
//! A process has one runtime, installed by its author or made from the configuration at the first call. A test scopes
//! its own around a future instead; the cost of looking for one is paid only after the first scope was entered.

mod builder;

pub use builder::Builder;

use crate::audit::Auditor;
use crate::cache::{Answers, Moment};
use crate::clock::Clock;
use crate::config::{Config, ServiceConfig};
use crate::defer::{self, Deferral};
use crate::error::Error;
use crate::lock::lock;
use crate::parameter::Values;
use crate::pipeline::{Fallbacks, Flights, Gatherers};
use crate::recorder::{Recorder, RecorderHealth};
use crate::registry::Registry;
use crate::reply::ExecutionId;
use crate::site::Site;
use crate::store::StoreError;
use crate::target::Target;
use once_cell::sync::OnceCell;
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The runtime under every annotated function and service call. Cheap to clone.
///
/// # Examples
///
/// ```
/// use poet_runtime::Runtime;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::builder().in_memory().build()?;
/// runtime
///     .scope(async {
///         // Annotated functions called here use this runtime.
///     })
///     .await;
/// runtime.flush().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    /// Why the configuration could not be read, where it could not; told to whoever misses something in it.
    pub(crate) config_problem: Option<String>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) recorder: Recorder,
    pub(crate) flights: Flights,
    pub(crate) gatherers: Gatherers,
    pub(crate) fallbacks: Fallbacks,
    pub(crate) answers: Answers,
    pub(crate) deferral: Deferral,
    /// What the audit needs to know; `None` where no call is written down, so that this is all that costs.
    pub(crate) auditor: Option<Auditor>,
    pub(crate) seed: u64,
    /// The database in which everything is kept; `None` where the author gave a store of another kind.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "without SQLite there is no database"))]
    pub(crate) database: Option<std::path::PathBuf>,
    run: Arc<str>,
    /// Tells the runtimes of this process apart.
    pub(crate) number: u32,
    executions: AtomicU64,
    extensions: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

static INSTALLED: OnceCell<Runtime> = OnceCell::new();
/// Whether any scope was ever entered; until then nobody looks for one.
static SCOPED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static SCOPE: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

impl Runtime {
    /// Starts to assemble a runtime.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The runtime in force here: the scoped one, else the installed one, else one made now from the configuration.
    #[must_use]
    pub fn current() -> Self {
        scoped().unwrap_or_else(|| installed().clone())
    }

    /// Makes this the runtime of the process.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] if the process has one already, be it because an annotated function was called
    /// before.
    pub fn install(self) -> Result<(), Error> {
        let runtime = self.clone();
        INSTALLED.set(self).map_err(|_| {
            Error::configuration("the process has a runtime already; install before the first annotated call")
        })?;
        defer::ensure(&runtime);
        Ok(())
    }

    /// Runs a future with this runtime in force, in this task; tasks it spawns are outside.
    pub async fn scope<F: Future>(&self, future: F) -> F::Output {
        SCOPED.store(true, Ordering::Release);
        defer::ensure(self);
        let mut future = pin!(future);
        poll_fn(|cx| self.enter(|| future.as_mut().poll(cx))).await
    }

    /// [`scope`](Self::scope) where this is not the runtime in force anyway.
    pub(crate) async fn as_current<F: Future>(&self, future: F) -> F::Output {
        match INSTALLED.get() {
            Some(installed) if Arc::ptr_eq(&installed.0, &self.0) => future.await,
            _ => self.scope(future).await,
        }
    }

    /// Runs a closure with this runtime in force, on this thread.
    pub fn scope_blocking<R>(&self, f: impl FnOnce() -> R) -> R {
        SCOPED.store(true, Ordering::Release);
        self.enter(f)
    }

    fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<Runtime>);
        impl Drop for Restore {
            fn drop(&mut self) {
                SCOPE.with(|scope| *scope.borrow_mut() = self.0.take());
            }
        }
        let _restore = Restore(SCOPE.with(|scope| scope.borrow_mut().replace(self.clone())));
        f()
    }

    /// Waits until everything recorded so far is in the store, and what it taught is in force.
    ///
    /// # Errors
    ///
    /// The store's error, if it could not be written. The outcomes are kept and tried again.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.recorder.flush().await
    }

    /// Lets the worker finish the jobs it is making, then flushes and stops recording, within `timeout`.
    /// Calls go on without learning, and what is put off is left to other processes.
    ///
    /// # Errors
    ///
    /// The store's error, or how many outcomes were left when the time was up.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), StoreError> {
        let began = self.0.clock.now();
        self.0.deferral.shut_down(timeout).await;
        let taken = self.0.clock.now().saturating_duration_since(began);
        self.0.recorder.shutdown(timeout.saturating_sub(taken)).await
    }

    /// How recording goes: what was folded, what failed, what was set aside.
    #[must_use]
    pub fn recorder_health(&self) -> RecorderHealth {
        self.0.recorder.health()
    }

    /// The clock everything here is timed by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What is configured for a service.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] if nothing is, with what can be done about it.
    pub fn service(&self, name: &str) -> Result<&ServiceConfig, Error> {
        self.0.config.services.get(name).ok_or_else(|| {
            let known: Vec<_> = self.0.config.services.keys().map(String::as_str).collect();
            let message = match (&self.0.config_problem, known.is_empty()) {
                (Some(problem), _) => format!("service `{name}`: the configuration could not be read: {problem}"),
                (None, true) => format!(
                    "service `{name}` is not configured: write [services.{name}] in poet.toml (POET_CONFIG names \
                     another file), or give it to Runtime::builder().service(…)"
                ),
                (None, false) => {
                    format!("service `{name}` is not configured; configured are: {}", known.join(", "))
                }
            };
            Error::configuration(message)
        })
    }

    /// The values in force for an operation of a service; `None` if it was never called here.
    #[must_use]
    pub fn values(&self, service: &str, operation: &str) -> Option<Values> {
        self.0.registry.known(service, operation).map(|target| target.values())
    }

    /// Says which schema an operation has, by anything that tells it from others; saying it at every call costs next to
    /// nothing. By a schema that was never seen of it, it is another operation: what was learned about it is taken back,
    /// and what was counted before counts no more. Where it had another one in this process, what is kept of its answers
    /// is worth nothing. Of one that was not called yet nothing is noted.
    pub fn note_schema(&self, service: &str, operation: &str, schema: u64) {
        let known = self.0.registry.known(service, operation);
        // One that stands for many has no schema.
        let named = known.filter(|target| target.key.service == service && target.key.operation == operation);
        let Some(target) = named.filter(|target| target.is_news(schema)) else { return };
        if target.has_a_schema() {
            self.cache().invalidate(service, operation);
        }
        if self.0.recorder.meet(target.key.clone(), schema) {
            target.has_schema(schema);
        }
    }

    /// Something a domain keeps for the life of this runtime, such as its connections; made when first asked for.
    #[must_use]
    pub fn extension<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut extensions = lock(&self.0.extensions);
        let extension = extensions.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())).clone();
        extension.downcast().expect("kept under its own type")
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("run", &self.run).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Inner {
    /// The number of a new execution. Those of [`Answers::next_hit`] are odd, these are even.
    pub(crate) fn next_execution(&self) -> u64 {
        self.executions.fetch_add(2, Ordering::Relaxed)
    }

    /// Makes worthless what is kept of these operations and was asked for at this moment or before it.
    pub(crate) fn invalidate(&self, targets: impl IntoIterator<Item = Arc<Target>>, until: Moment) {
        for target in targets {
            target.caching.invalidate(until);
            self.answers.count_invalidation();
        }
    }

    /// The name under which this process holds jobs.
    pub(crate) fn worker_name(&self) -> String {
        self.run.to_string()
    }

    /// What is written down of the credentials a request is sent with; `None` where there are none.
    pub(crate) fn identify(&self, service: &str, identity: u64) -> Option<String> {
        let without = self.config.services.get(service).is_some_and(|service| service.auth_token.is_none());
        let key = self.recorder.audit_key().filter(|_| identity != 0 && !without)?;
        Some(key.identity(identity))
    }

    pub(crate) fn execution_id(&self, number: u64) -> ExecutionId {
        ExecutionId::new(self.run.clone(), number)
    }
}

fn scoped() -> Option<Runtime> {
    if SCOPED.load(Ordering::Acquire) { SCOPE.with(|scope| scope.borrow().clone()) } else { None }
}

fn installed() -> &'static Runtime {
    INSTALLED.get_or_init(builder::discover)
}

/// Borrowed from the process or shared with a scope.
pub(crate) enum Held<T: 'static> {
    Static(&'static T),
    Shared(Arc<T>),
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Static(held) => Self::Static(held),
            Self::Shared(held) => Self::Shared(held.clone()),
        }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Static(held) => held,
            Self::Shared(held) => held,
        }
    }
}

/// A site with the runtime and the target found for it.
pub(crate) struct Bound {
    pub(crate) runtime: Held<Inner>,
    pub(crate) target: Held<Target>,
}

impl Bound {
    pub(crate) fn to(site: &'static Site) -> Self {
        if let Some(scope) = scoped() {
            let target = scope.0.registry.site_target(&scope.0, &site.declaration);
            return Self { runtime: Held::Shared(scope.0), target: Held::Shared(target) };
        }
        let runtime = &*installed().0;
        let target = site.installed.get_or_init(|| runtime.registry.site_target(runtime, &site.declaration));
        Self { runtime: Held::Static(runtime), target: Held::Static(target) }
    }
}
