//! Finds the target of a call: by site once, by service and operation otherwise.
//!
//! Targets are never removed while the process lives, so their number is bounded: beyond it, further operations share
//! one target of their service, because an operation named by user input must not fill the memory.

use crate::cache::Caching;
use crate::clock::Wall;
use crate::config::Config;
use crate::evidence::Vitals;
use crate::learner::{self, Lesson, Subject};
use crate::outcome::TargetId;
use crate::parameter::{ATTEMPT_TIMEOUT, CACHE_TTL, MAX_RETRIES, Values};
use crate::profile::{Profile, Utility};
use crate::recorder::{Directory, Seen};
use crate::runtime::Inner;
use crate::site::{CacheFor, Declaration, Learning};
use crate::store::{ParameterRow, TargetKey};
use crate::target::{ParameterName, Service, Target};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// Targets one process may have, and one more for each service among them.
const MAX_TARGETS: usize = 65_536;
/// The operation, or the service, that stands for all others once there are too many.
const OTHERS: &str = "(others)";

/// Every target of a runtime.
#[derive(Debug)]
pub(crate) struct Registry {
    config: Arc<Config>,
    profiles: Vec<&'static Profile>,
    default_profile: &'static Profile,
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    services: HashMap<String, Entry>,
    by_id: Vec<Arc<Target>>,
    /// Learned rows of targets that nobody has called yet.
    waiting: HashMap<TargetKey, Vec<ParameterRow>>,
}

#[derive(Debug)]
struct Entry {
    service: Arc<Service>,
    operations: HashMap<String, Arc<Target>>,
}

/// What is known of a target that is not in the configuration.
struct Found<'a> {
    service: &'a str,
    operation: &'a str,
    profile: Option<&'static Profile>,
    declaration: Option<&'a Declaration>,
}

impl Registry {
    pub(crate) fn new(config: Arc<Config>, profiles: Vec<&'static Profile>, default_profile: &'static Profile) -> Self {
        Self { config, profiles, default_profile, entries: RwLock::default() }
    }

    /// The target of an annotated function.
    pub(crate) fn site_target(&self, runtime: &Inner, declaration: &Declaration) -> Arc<Target> {
        let found = Found {
            service: declaration.service_name(),
            operation: &declaration.operation_name(),
            profile: declaration.profile,
            declaration: Some(declaration),
        };
        self.target_of(&found, || runtime.clock.now())
    }

    /// The target of a service call.
    pub(crate) fn service_target(
        &self,
        runtime: &Inner,
        service: &str,
        operation: &str,
        profile: &'static Profile,
    ) -> Arc<Target> {
        let found = Found { service, operation, profile: Some(profile), declaration: None };
        self.target_of(&found, || runtime.clock.now())
    }

    /// The target of an operation that is only named, by a call of another one: of the domain its service is configured
    /// for, else of that of who names it.
    pub(crate) fn named_target(
        &self,
        runtime: &Inner,
        service: &str,
        operation: &str,
        profile: &'static Profile,
    ) -> Arc<Target> {
        let configured = self.config.services.get(service).and_then(|service| self.profile(service.domain.as_deref()?));
        self.service_target(runtime, service, operation, configured.unwrap_or(profile))
    }

    fn target_of(&self, found: &Found<'_>, now: impl FnOnce() -> Instant) -> Arc<Target> {
        if let Some(target) = self.read().find(found.service, found.operation) {
            return target;
        }
        let mut entries = self.write();
        let full = entries.by_id.len() >= MAX_TARGETS;
        let operation = if full { OTHERS } else { found.operation };
        let service = if full && !entries.services.contains_key(found.service) { OTHERS } else { found.service };
        if let Some(target) = entries.find(service, operation) {
            return target;
        }
        self.add(&mut entries, &Found { service, ..*found }, operation, now())
    }

    fn add(&self, entries: &mut Entries, found: &Found<'_>, operation: &str, now: Instant) -> Arc<Target> {
        let id = TargetId(u32::try_from(entries.by_id.len()).expect("bounded by MAX_TARGETS and the services"));
        let key = TargetKey { service: found.service.to_owned(), operation: operation.to_owned() };
        let configured = self.config.services.get(found.service);
        let domain = configured.and_then(|service| service.domain.as_deref());
        let profile = found.profile.or_else(|| self.profile(domain?)).unwrap_or_else(|| {
            if let Some(domain) = domain {
                let service = found.service;
                let instead = self.default_profile.name;
                tracing::error!(
                    service,
                    domain,
                    instead,
                    "no such domain; Runtime::builder().profile(…) makes one known"
                );
            }
            self.default_profile
        });
        let learning = found
            .declaration
            .and_then(|declaration| declaration.learning)
            .or_else(|| configured.and_then(|service| service.learning))
            .unwrap_or(self.config.learning);
        let (unlearned, pinned) = self.unlearned(found, operation, profile);
        let entry = entries
            .services
            .entry(key.service.clone())
            .or_insert_with(|| Entry { service: Arc::new(Service::new(now)), operations: HashMap::new() });
        let service = entry.service.clone();
        let tool = configured.and_then(|service| service.tools.get(operation));
        let mut target = Target::new(id, key, service, profile, learning, unlearned, pinned);
        let measured = learning != Learning::Off && !target.is_pinned(CACHE_TTL.name, None);
        target.caching = Caching::new(tool, measured);
        target.price = tool.and_then(|tool| tool.cost);
        let target = Arc::new(target);
        entry.operations.insert(operation.to_owned(), target.clone());
        entries.by_id.push(target.clone());
        for row in entries.waiting.remove(&target.key).unwrap_or_default() {
            target.apply(&row);
        }
        target
    }

    /// The values of a target before anything is learned, and which of them a person fixed.
    fn unlearned(&self, found: &Found<'_>, operation: &str, profile: &Profile) -> (Values, Vec<ParameterName>) {
        let mut values = Values::of(profile);
        let mut pinned = Vec::new();
        if let Some(service) = self.config.services.get(found.service) {
            pinned.extend(service.lay_over(operation, &mut values));
        }
        // What stands in the attribute is applied by the call itself; here it only keeps the learner's hands off.
        if let Some(declaration) = found.declaration {
            // Nor is there anything to learn where nothing is started again and the deadline is the only limit.
            if declaration.retries.is_some() || !declaration.idempotent {
                pinned.push((MAX_RETRIES.name.to_owned(), None));
            }
            if declaration.timeout.is_some() || !declaration.idempotent {
                pinned.push((ATTEMPT_TIMEOUT.name.to_owned(), None));
            }
            if let Some(CacheFor::Fixed(_)) = declaration.cache {
                pinned.push((CACHE_TTL.name.to_owned(), None));
            }
        }
        (values, pinned)
    }

    /// The target of the tool that does for many items what this one does for one.
    fn bulk(&self, one: &TargetKey) -> Option<Arc<Target>> {
        let batch = self.config.services.get(&one.service)?.tools.get(&one.operation)?.batch.as_ref()?;
        self.read().find(&one.service, &batch.tool)
    }

    /// The target of an operation that was called before.
    pub(crate) fn known(&self, service: &str, operation: &str) -> Option<Arc<Target>> {
        let entries = self.read();
        // Where there were too many, one stands for the others.
        let others = || entries.find(service, OTHERS).or_else(|| entries.find(OTHERS, OTHERS));
        entries.find(service, operation).or_else(others)
    }

    /// Whether a service is configured or was called before.
    pub(crate) fn knows_service(&self, service: &str) -> bool {
        self.config.services.contains_key(service) || self.read().services.contains_key(service)
    }

    /// The targets of a service that were called before.
    pub(crate) fn of_service(&self, service: &str) -> Vec<Arc<Target>> {
        let entries = self.read();
        let mut found: Vec<_> =
            entries.services.get(service).map(|entry| entry.operations.values().cloned().collect()).unwrap_or_default();
        // What is added up over them shall not depend on how a map hashes.
        found.sort_unstable_by_key(|target: &Arc<Target>| target.id);
        found
    }

    fn profile(&self, name: &str) -> Option<&'static Profile> {
        self.profiles.iter().copied().find(|profile| profile.name == name)
    }

    fn target(&self, id: TargetId) -> Option<Arc<Target>> {
        self.read().by_id.get(usize::try_from(id.0).ok()?).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn find(&self, service: &str, operation: &str) -> Option<Arc<Target>> {
        self.services.get(service)?.operations.get(operation).cloned()
    }
}

impl Directory for Registry {
    fn target(&self, id: TargetId) -> Option<TargetKey> {
        self.target(id).map(|target| target.key.clone())
    }

    fn learn(&self, id: TargetId, seen: &Seen<'_>, now: Wall) -> Lesson {
        let Seen { histories, hourly, siblings } = *seen;
        let target = self.target(id).filter(|target| target.learning != Learning::Off);
        let (Some(target), Some(history)) = (target, histories(id)) else {
            return Lesson::default();
        };
        let bulk = self.bulk(&target.key).and_then(|bulk| histories(bulk.id));
        let values = target.values();
        learner::learn(&Subject {
            target: &target.key,
            history,
            hourly,
            bulk,
            siblings,
            profile: target.profile,
            values: &values,
            learned: &target.learned(),
            pinned: &|name, after| target.is_pinned(name, after),
            timezone: self.config.services.get(&target.key.service).and_then(|service| service.timezone.as_deref()),
            learning: target.learning,
            now,
        })
    }

    fn domain(&self, target: &TargetKey) -> &'static str {
        if let Some(known) = self.read().find(&target.service, &target.operation) {
            return known.profile.name;
        }
        let configured = self.config.services.get(&target.service).and_then(|service| service.domain.as_deref());
        configured.and_then(|domain| self.profile(domain)).unwrap_or(self.default_profile).name
    }

    fn utility(&self, id: TargetId) -> Option<Utility> {
        let target = self.target(id).filter(|target| target.learning != Learning::Off)?;
        Some(target.profile.utility)
    }

    fn tell(&self, id: TargetId, vitals: Vitals) {
        if let Some(target) = self.target(id) {
            target.note_vitals(vitals);
        }
    }

    fn apply(&self, row: &ParameterRow) {
        let known = self.read().find(&row.key.target.service, &row.key.target.operation);
        match known {
            Some(target) => target.apply(row),
            None => {
                let mut entries = self.write();
                // It may have been called for the first time in between.
                match entries.find(&row.key.target.service, &row.key.target.operation) {
                    Some(target) => target.apply(row),
                    None => {
                        let rows = entries.waiting.entry(row.key.target.clone()).or_default();
                        // Another process may move it any number of times.
                        rows.retain(|known| known.key != row.key);
                        rows.push(row.clone());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;
    use crate::store::{ParameterKey, Standing};

    fn registry() -> Registry {
        Registry::new(Arc::default(), Vec::new(), Profile::GENERAL)
    }

    fn find(registry: &Registry, service: &str, operation: &str) -> Arc<Target> {
        let found = Found { service, operation, profile: None, declaration: None };
        registry.target_of(&found, Instant::now)
    }

    fn row(name: &str, after: Option<FailureKind>, value: f64, revision: u64) -> ParameterRow {
        let target = TargetKey { service: "crm".to_owned(), operation: "get".to_owned() };
        ParameterRow {
            key: ParameterKey { target, name: name.to_owned(), after },
            value,
            standing: Standing::Confirmed,
            good: None,
            predicted: None,
            sample: 100,
            interval: (0.0, 1.0),
            confidence: 0.99,
            reason: String::new(),
            evidence: String::new(),
            changed: Wall::default(),
            revision,
        }
    }

    #[test]
    fn neither_operations_nor_services_named_by_input_fill_the_memory() {
        let registry = registry();
        for n in 0..MAX_TARGETS {
            find(&registry, "crm", &n.to_string());
        }
        for n in 0..1_000 {
            find(&registry, &n.to_string(), "get");
            find(&registry, "crm", &format!("new {n}"));
        }
        assert_eq!(registry.read().by_id.len(), MAX_TARGETS + 2);
        assert_eq!(registry.read().services.len(), 2);
    }

    #[test]
    fn a_value_that_moves_before_its_first_call_waits_once() {
        let registry = registry();
        for revision in 1..=100 {
            registry.apply(&row("timeout.attempt", None, 0.1 * revision as f64, revision));
        }
        assert_eq!(registry.read().waiting.values().map(Vec::len).sum::<usize>(), 1);
        assert_eq!(find(&registry, "crm", "get").values().attempt_timeout.as_secs(), 10);
    }

    #[test]
    fn how_long_a_tool_is_cached_is_held_where_it_is_written_and_stands_before_a_pin_of_its_service() {
        use crate::config::{CacheConfig, ServiceConfig, ToolConfig};
        let five = CacheConfig { ttl: Some(std::time::Duration::from_secs(300)), ..CacheConfig::default() };
        let service = ServiceConfig::named("crm")
            .pin("cache.ttl", 60)
            .tool("get", ToolConfig::default().cache(five))
            .tool("list", ToolConfig::default().cacheable());
        let registry = Registry::new(Arc::new(Config::default().service(service)), Vec::new(), Profile::GENERAL);
        for (operation, seconds) in [("get", 300), ("list", 60)] {
            let target = find(&registry, "crm", operation);
            target.apply(&row("cache.ttl", None, 7.0, 1));
            assert_eq!(target.values().cache_ttl.as_secs(), seconds, "{operation}");
            assert!(target.is_pinned("cache.ttl", None), "{operation}");
        }
        let free = find(&registry, "billing", "get");
        assert!(!free.is_pinned("cache.ttl", None));
    }

    #[test]
    fn a_value_for_all_kinds_of_failure_does_not_move_the_pinned_ones() {
        let service = crate::config::ServiceConfig::named("crm").pin("retry.max_retries.connect", 7);
        let config = Arc::new(Config::default().service(service));
        let registry = Registry::new(config, Vec::new(), Profile::GENERAL);
        let target = find(&registry, "crm", "get");
        target.apply(&row("retry.max_retries", None, 9.0, 1));
        let values = target.values();
        assert_eq!(values.max_retries[FailureKind::Connect.index()], 7);
        assert_eq!(values.max_retries[FailureKind::Timeout.index()], 3, "the ceiling of the profile");
    }

    #[test]
    fn what_a_person_pinned_holds_beyond_the_ceiling_of_learning_and_for_writes() {
        let registry = registry();
        let target = find(&registry, "crm", "get");
        let pinned = |name, after, value| ParameterRow { standing: Standing::Pinned, ..row(name, after, value, 1) };
        target.apply(&pinned("retry.max_retries", Some(FailureKind::Connect), 7.0));
        target.apply(&pinned("timeout.attempt", None, 2.0));
        let values = target.values();
        assert_eq!(values.max_retries[FailureKind::Connect.index()], 7);
        assert!(values.attempt_timeout_pinned && values.attempt_timeout.as_secs() == 2);
        assert_eq!(values.held_out, 0, "there is nothing to compare a pin with");
    }

    #[test]
    fn retries_that_a_person_fixed_are_not_explored() {
        let service = crate::config::ServiceConfig::named("crm").pin("retry.max_retries.connect", 0);
        let registry = Registry::new(Arc::new(Config::default().service(service)), Vec::new(), Profile::GENERAL);
        let target = find(&registry, "crm", "get");
        let pin = row("retry.max_retries", Some(FailureKind::Lost), 1.0, 1);
        target.apply(&ParameterRow { standing: Standing::Pinned, ..pin });
        target.apply(&row("retry.max_retries", Some(FailureKind::Transient), 1.0, 2));
        let (values, _) = target.draw(|| 0.999);
        let retries = |kind: FailureKind| values.max_retries[kind.index()];
        assert_eq!([FailureKind::Connect, FailureKind::Lost, FailureKind::Transient].map(retries), [0, 1, 2]);
    }

    #[test]
    fn a_freshness_that_is_configured_is_in_force_and_not_learned() {
        let cache = crate::config::CacheConfig { ttl: Some(std::time::Duration::from_secs(7)), ..Default::default() };
        let service =
            crate::config::ServiceConfig::named("crm").tool("get", crate::config::ToolConfig::default().cache(cache));
        let registry = Registry::new(Arc::new(Config::default().service(service)), Vec::new(), Profile::GENERAL);
        let target = find(&registry, "crm", "get");
        target.apply(&row("cache.ttl", None, 900.0, 1));
        assert_eq!(target.values().cache_ttl.as_secs(), 7);
        assert!(target.is_pinned("cache.ttl", None));
    }

    #[test]
    fn what_the_bulk_tool_showed_is_known_of_the_tool_for_one_item() {
        let tool = crate::config::ToolConfig::default().batch("get_many", "items", "results");
        let service = crate::config::ServiceConfig::named("crm").tool("get", tool);
        let registry = Registry::new(Arc::new(Config::default().service(service)), Vec::new(), Profile::GENERAL);
        let one = find(&registry, "crm", "get");
        assert!(registry.bulk(&one.key).is_none());
        let many = find(&registry, "crm", "get_many");
        assert_eq!(registry.bulk(&one.key).map(|bulk| bulk.id), Some(many.id));
        assert!(registry.bulk(&many.key).is_none());
    }
}
