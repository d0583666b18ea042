//! Opens what is written down about a call, and closes it however the call ends: with an answer, an error, or dropped.
//!
//! Where the audit is strict an answer is given only once its end is on disk. What was answered and cannot be written down
//! is withheld: the caller is told what is known of it, as if no answer had come.

use super::entry::{AuditEntry, Decider, Decision, Declared, Detail, Validation, What, Who};
use super::key::sorted;
use super::redact::{Secrets, cut};
use super::trail::{Said, Trail, by};
use super::who::{Obeyed, seconds};
use crate::config::{AuditLevel, Audited, Config};
use crate::context;
use crate::defer::Reason;
use crate::error::{Error, Kind};
use crate::outcome::Ending;
use crate::parameter::{BATCH_WINDOW, CACHE_TTL, DEFER_HOURS, OPEN_FOR};
use crate::pipeline::service::{Answer, CacheWish, Caller, Request, ServiceCall, Vetting};
use crate::reply::{Disposition, ExecutionId, Reply};
use crate::runtime::Runtime;
use crate::site::Priority;
use crate::store::TargetKey;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most arguments by which an entry can be found.
const MAX_FIELDS: usize = 32;

/// The longest argument that is written down as it is, in characters.
const LONGEST: usize = 200;

/// What an answer waits for its entry beyond the deadline of the call.
const MOMENT: Duration = Duration::from_millis(25);

/// What the audit of a process needs to know beside the configuration.
#[derive(Debug)]
pub(crate) struct Auditor {
    secrets: Secrets,
}

impl Auditor {
    /// `None` where no call is written down.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        config.is_audited().then(|| Self { secrets: Secrets::new(secrets(config)) })
    }
}

/// Every token and variable of a program, and what stands in addresses where people put keys.
fn secrets(config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    for service in config.services.values() {
        all.extend(service.auth_token.as_ref().map(|token| token.expose().to_owned()));
        all.extend(service.env.values().cloned());
        for endpoint in &service.endpoints {
            let rest = endpoint.url.split_once("://").map_or(&*endpoint.url, |(_, rest)| rest);
            let (authority, tail) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
            if let Some((user, _)) = authority.rsplit_once('@') {
                all.extend(user.split(':').map(str::to_owned));
            }
            let query = tail.split_once(['?', '#']).map_or("", |(_, query)| query);
            all.extend(query.split(['&', '#']).filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
        }
    }
    all
}

/// What is written down about one call. Dropped before it is closed, the call was dropped by its caller.
#[derive(Debug)]
pub(crate) struct Account {
    runtime: Runtime,
    trail: Trail,
    began: Instant,
    deadline: Instant,
    /// Whether it may be executed twice.
    repeatable: bool,
    /// Who sends it, to be asked again at the end what was checked.
    sender: Option<(Request, Arc<dyn Caller>)>,
    closed: bool,
}

/// The job that a call is made for.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) job: String,
    /// The execution that was put off.
    pub(crate) execution: Option<String>,
}

/// What a call gave back.
pub(crate) struct Given<'a> {
    disposition: &'a Disposition,
    attempts: u32,
    /// What it cost; `None` inside where no price is configured, outside where it is to be computed.
    cost: Option<Option<f64>>,
    execution: &'a ExecutionId,
    /// When the service wants to be asked what came of the call, where it only took it on.
    ask_in: Option<Duration>,
}

/// What a call may give back.
pub(crate) trait Gives {
    fn given(&self) -> Given<'_>;
}

impl Gives for Reply {
    fn given(&self) -> Given<'_> {
        Given {
            disposition: self.disposition(),
            attempts: self.attempts(),
            cost: Some(self.cost()),
            execution: self.execution_id(),
            ask_in: self.is_accepted().map(|accepted| accepted.ask_in),
        }
    }
}

impl<V> Gives for Answer<V> {
    fn given(&self) -> Given<'_> {
        let Self { disposition, attempts, execution, .. } = self;
        Given { disposition, attempts: *attempts, cost: None, execution, ask_in: None }
    }
}

/// What is known of a call before it begins.
struct Subject<'a> {
    service: &'a str,
    operation: &'a str,
    repeatable: bool,
    priority: Option<Priority>,
    deadline: Option<Duration>,
    said: Said,
}

impl Account {
    /// Opens the account of a request; `None` where it is not written down.
    #[inline]
    pub(crate) fn of_request(runtime: &Runtime, request: &Request, caller: &Arc<dyn Caller>) -> Option<Box<Self>> {
        runtime.0.auditor.as_ref()?;
        Self::open_request(runtime, request, caller)
    }

    #[cold]
    fn open_request(runtime: &Runtime, request: &Request, caller: &Arc<dyn Caller>) -> Option<Box<Self>> {
        let Request { service, operation, repeatable, priority, deadline, identity, arguments, .. } = request;
        let said = Said {
            retries: request.retries.is_some(),
            timeout: request.timeout.is_some(),
            deadline: deadline.is_some(),
            cache: matches!(request.cache, CacheWish::UpTo(_)),
            queued: request.queued == Some(true),
        };
        let subject =
            Subject { service, operation, repeatable: *repeatable, priority: *priority, deadline: *deadline, said };
        let mut account = Self::open(runtime, &subject, Some(arguments))?;
        let vetting = caller.vetting(request);
        account.trail.amend(|entry| {
            entry.detail.read_only = request.read_only;
            entry.detail.identity = runtime.0.identify(service, *identity);
            vet(entry, &vetting);
        });
        account.sender = Some((request.clone(), caller.clone()));
        Some(account)
    }

    /// Opens the account of a call whose arguments are its client's.
    #[inline]
    pub(crate) fn of_call(runtime: &Runtime, call: &ServiceCall<'_>) -> Option<Box<Self>> {
        runtime.0.auditor.as_ref()?;
        Self::open_call(runtime, call)
    }

    #[cold]
    fn open_call(runtime: &Runtime, call: &ServiceCall<'_>) -> Option<Box<Self>> {
        let said = Said {
            retries: call.retries.is_some(),
            timeout: call.timeout.is_some(),
            deadline: call.deadline.is_some(),
            ..Said::default()
        };
        let ServiceCall { service, operation, repeatable, priority, deadline, .. } = *call;
        Self::open(runtime, &Subject { service, operation, repeatable, priority, deadline, said }, None)
    }

    fn open(runtime: &Runtime, subject: &Subject<'_>, arguments: Option<&Map<String, Value>>) -> Option<Box<Self>> {
        let inner = &runtime.0;
        let Subject { service, operation, repeatable, priority, deadline, said } = *subject;
        let configured = inner.config.services.get(service);
        let Audited { level, fields } = inner.config.audit.of(configured, operation);
        if level == AuditLevel::Off {
            return None;
        }
        let began = inner.clock.now();
        let number = inner.next_execution();
        let target = TargetKey { service: service.to_owned(), operation: operation.to_owned() };
        let execution = inner.execution_id(number).to_string();
        let mut entry = AuditEntry::begun(execution, target, inner.clock.anchor().wall(began));
        let (outer, around, surrounding) = context::surrounding(|outer| {
            outer.map_or((None, None, Priority::Normal), |outer| (Some(outer.deadline), outer.around, outer.priority))
        });
        if let Some(around) = around {
            entry.function = Some(format!("{}::{}", around.site.module, around.site.function));
            entry.inside = Some(inner.execution_id(around.execution).to_string());
        }
        entry.detail.level = level.as_str().to_owned();
        entry.detail.priority = priority.unwrap_or(surrounding).as_str().to_owned();
        entry.detail.repeatable = repeatable;
        let key = inner.recorder.audit_key();
        if let Some(arguments) = arguments {
            entry.detail.fingerprint = key.map(|key| key.arguments(service, operation, arguments));
            for name in sorted(arguments) {
                let value = &arguments[name];
                let shown =
                    if fields.contains(name) { Some(shown(value)) } else { key.map(|key| key.field(name, value)) };
                entry.fields.extend(shown.map(|shown| (name.clone(), shown)));
            }
            // Those that are allowed first, because they were asked for.
            entry.fields.sort_by_key(|(name, _)| !fields.contains(name));
            entry.fields.truncate(MAX_FIELDS);
            entry.fields.sort();
        }
        let longest = crate::clock::after(began, deadline.unwrap_or(LONGEST_CALL));
        let trail = Trail::new((number, level), began, said, entry);
        Some(Box::new(Self {
            runtime: runtime.clone(),
            trail,
            began,
            deadline: outer.map_or(longest, |outer| outer.min(longest)),
            repeatable,
            sender: None,
            closed: false,
        }))
    }

    /// Says that the call is made for a job.
    pub(crate) fn made_for(&self, origin: Origin) {
        self.trail.amend(|entry| {
            entry.job = Some(origin.job);
            entry.detail.made_for = origin.execution;
        });
    }

    /// A hand for those who decide something about the call.
    pub(crate) fn trail(&self) -> Trail {
        self.trail.clone()
    }

    /// Writes down how the call ended, and gives what it gave; an error says under which number it is found.
    ///
    /// # Errors
    ///
    /// That of the call. Where the audit is strict and the end cannot be written down, an error in the place of the answer.
    pub(crate) async fn close<T: Gives>(mut self: Box<Self>, result: Result<T, Error>) -> Result<T, Error> {
        let now = self.runtime.0.clock.now();
        self.trail.woke(now);
        match &result {
            Ok(value) => self.answered(&value.given(), now),
            Err(error) => self.failed(error, now),
        }
        self.vet();
        self.closed = true;
        let entry = self.trail.entry();
        let id = self.runtime.0.execution_id(self.trail.number());
        if self.trail.level() != AuditLevel::Strict {
            self.runtime.0.recorder.write_down(entry);
            return result.map_err(|error| error.in_audit(id));
        }
        let until = self.deadline.max(now + MOMENT);
        match by(until, self.runtime.0.recorder.promise(entry.clone())).await {
            Ok(()) => result.map_err(|error| error.in_audit(id)),
            Err(problem) => Err(self.withheld(result.err(), entry, &problem).in_audit(id)),
        }
    }

    fn answered(&self, given: &Given<'_>, now: Instant) {
        let inner = &self.runtime.0;
        let entry = self.trail.entry();
        let TargetKey { service, operation } = &entry.target;
        let (configured, target) = (inner.config.services.get(service), inner.registry.known(service, operation));
        let said = self.trail.said();
        let decided = |parameter| match &target {
            Some(target) => Obeyed::now(target, parameter, None).decider(target, configured),
            None => Who::Default.into(),
        };
        let (ending, disposition) = match given.disposition {
            Disposition::Done if given.ask_in.is_some() => {
                let job = entry.job.clone().unwrap_or_default();
                let due = inner.clock.wall().after(given.ask_in.unwrap_or_default());
                let reason = Reason::Accepted.as_str().to_owned();
                self.trail.note(now, What::PutOff { reason, job, due: due.to_string() }, Who::Service);
                (Ending::Queued, "queued")
            }
            Disposition::Done => (Ending::Done, "done"),
            Disposition::Cached { age } => {
                let by = match &target {
                    Some(_) if said.cache => Who::Call.into(),
                    _ => decided(&CACHE_TTL),
                };
                self.trail.note(now, What::Cached { age: seconds(*age) }, by);
                (Ending::Cached, "cached")
            }
            // These are noted where it is known which call it was.
            Disposition::Coalesced => (Ending::Coalesced, "coalesced"),
            Disposition::Batched { .. } => (Ending::Batched, "batched"),
            Disposition::Fallback { .. } => (Ending::Fallback, "fallback"),
            Disposition::Deferred(ticket) | Disposition::Queued(ticket) => {
                let avoids = configured.is_some_and(|service| !service.avoid.is_empty());
                let by: Decider = match ticket.reason() {
                    Reason::ServiceDegraded => decided(&OPEN_FOR),
                    Reason::RetryAfter | Reason::Failed | Reason::Accepted => Who::Service.into(),
                    Reason::AvoidedHours if !avoids => decided(&DEFER_HOURS),
                    Reason::Acknowledged if said.queued => Who::Call.into(),
                    Reason::AvoidedHours | Reason::Maintenance | Reason::Acknowledged => Who::Configuration.into(),
                };
                let (reason, job) = (ticket.reason().as_str().to_owned(), ticket.id().to_owned());
                self.trail.amend(|entry| entry.job = Some(job.clone()));
                self.trail.note(now, What::PutOff { reason, job, due: ticket.due().to_string() }, by);
                match given.disposition {
                    Disposition::Queued(_) => (Ending::Queued, "queued"),
                    _ => (Ending::Deferred, "deferred"),
                }
            }
        };
        let promised = self.trail.is_promised();
        self.trail.amend(|entry| {
            // What is kept is found under a number of its own.
            if !promised {
                entry.execution = given.execution.to_string();
            }
            entry.detail.disposition = Some(disposition.to_owned());
            entry.detail.attempts = given.attempts;
            entry.detail.cost = given.cost.unwrap_or_else(|| self.price(entry, given.attempts));
        });
        self.ended(ending, now);
    }

    fn failed(&self, error: &Error, now: Instant) {
        if self.trail.amend(|entry| entry.detail.decisions.is_empty()) {
            let (what, by) = unexplained(error);
            self.trail.note(now, what, by);
        }
        let shown = self.redacted(error);
        self.trail.amend(|entry| {
            entry.detail.attempts = error.attempts();
            entry.detail.cost = self.price(entry, error.attempts());
            entry.detail.error = Some(shown);
        });
        self.ended(error.ending(), now);
    }

    /// What so many attempts cost; `None` where no price is configured.
    fn price(&self, entry: &AuditEntry, attempts: u32) -> Option<f64> {
        let TargetKey { service, operation } = &entry.target;
        let price = self.runtime.0.config.services.get(service)?.tools.get(operation)?.cost?;
        Some(price * f64::from(attempts))
    }

    fn ended(&self, ending: Ending, now: Instant) {
        let wall = self.runtime.0.clock.anchor().wall(now);
        let took = now.saturating_duration_since(self.began);
        self.trail.amend(|entry| {
            (entry.ended, entry.ending) = (Some(wall), Some(ending));
            entry.detail.seconds = seconds(took);
        });
    }

    /// What an error says, without the secrets of the program and the arguments of the call that are not allowed.
    fn redacted(&self, error: &Error) -> String {
        let inner = &self.runtime.0;
        let known = inner.auditor.as_ref().map(|auditor| auditor.secrets.clone()).unwrap_or_default();
        let secrets = match &self.sender {
            Some((request, _)) => {
                let configured = inner.config.services.get(&request.service);
                known.and_arguments(&request.arguments, inner.config.audit.of(configured, &request.operation).fields)
            }
            None => known,
        };
        secrets.redact(&error.to_string())
    }

    /// Asks again what was checked: what the service declares may have been known only once it was connected to.
    fn vet(&self) {
        let Some((request, caller)) = &self.sender else { return };
        let vetting = caller.vetting(request);
        self.trail.amend(|entry| {
            vet(entry, &vetting);
            let invalid = entry.detail.decisions.iter().rev().find_map(|decision| match &decision.what {
                What::Attempted { class, .. } => Some(class == "invalid"),
                _ => None,
            });
            entry.detail.answer = match (invalid, entry.ending) {
                (Some(true), _) => Validation::Failed,
                (_, Some(Ending::Done | Ending::Batched)) => vetting.answers,
                _ => Validation::NotChecked,
            };
        });
    }

    /// What the caller gets in the place of an answer whose end cannot be written down. It is tried again beside the call.
    fn withheld(&self, failed: Option<Error>, mut entry: AuditEntry, problem: &str) -> Error {
        let error = failed.unwrap_or_else(|| {
            let kind = match (self.trail.is_promised(), self.repeatable) {
                (true, false) => Kind::OutcomeUnknown,
                (sent, _) => Kind::Unrecorded { sent },
            };
            Error::new(kind)
                .with_source(Some(format!("its end could not be written into its audit: {problem}").into()))
                .at(&entry.target.service, &entry.target.operation)
                .after(u8::try_from(entry.detail.attempts).unwrap_or(u8::MAX), self.elapsed())
        });
        if entry.detail.disposition.take().is_some() {
            entry.ending = Some(error.ending());
            entry.detail.error = Some(self.redacted(&error));
        }
        tracing::error!(
            service = entry.target.service,
            operation = entry.target.operation,
            problem,
            "the end of a call whose audit is strict could not be written down in time"
        );
        self.runtime.0.recorder.write_down(entry);
        error
    }

    fn elapsed(&self) -> Duration {
        self.runtime.0.clock.now().saturating_duration_since(self.began)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let now = self.runtime.0.clock.now();
        self.trail.woke(now);
        let is_dropped = |decision: &Decision| matches!(decision.what, What::Dropped { .. });
        if !self.trail.amend(|entry| entry.detail.decisions.iter().any(is_dropped)) {
            self.trail.note(now, What::Dropped { under_way: false }, Who::Caller);
        }
        self.ended(Ending::Cancelled, now);
        self.vet();
        // What is dropped cannot wait; that it was about to be made is on disk where the audit is strict.
        self.runtime.0.recorder.write_down(self.trail.entry());
    }
}

/// What is said of an error about which no stage has said anything.
fn unexplained(error: &Error) -> (What, Who) {
    if error.attempts() > 0 {
        return (What::GaveUp { why: "batch".to_owned() }, Who::Service);
    }
    let (why, by) = match error.kind() {
        Kind::Deadline { .. } => ("deadline", Who::Caller),
        Kind::OutcomeUnknown => ("queue", Who::Rule),
        Kind::Configuration => ("configuration", Who::Configuration),
        _ => ("arguments", Who::Rule),
    };
    (What::Refused { why: why.to_owned(), retry_in: None }, by)
}

/// How long a call without a deadline of its own waits for the store at most.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// Says what was checked.
fn vet(entry: &mut AuditEntry, vetting: &Vetting) {
    entry.detail.declared = vetting.declared.or(entry.detail.repeatable.then_some(Declared::Call));
    entry.detail.access.clone_from(&vetting.access);
    entry.detail.arguments = vetting.arguments;
}

/// An argument that is allowed, as it is written down.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    cut(text, LONGEST)
}

/// Who asked for a batch, as the one who was answered writes it down.
pub(crate) fn batched(runtime: &Runtime, trail: &Trail, size: usize, execution: &ExecutionId) {
    let entry = trail.entry();
    let TargetKey { service, operation } = &entry.target;
    let by = match runtime.0.registry.known(service, operation) {
        Some(target) => {
            Obeyed::now(&target, &BATCH_WINDOW, None).decider(&target, runtime.0.config.services.get(service))
        }
        None => Who::Configuration.into(),
    };
    let execution = Some(execution.to_string());
    trail.note(runtime.0.clock.now(), What::Batched { size, execution }, by);
}

impl Runtime {
    /// Writes down that a client refused a request before it was made, where its audit is on.
    ///
    /// Returns the error, which says under which number it is found.
    pub async fn refused(&self, request: &Request, caller: &Arc<dyn Caller>, error: Error) -> Error {
        let Some(account) = Account::of_request(self, request, caller) else { return error };
        let Detail { arguments, access, .. } = account.trail.entry().detail;
        let contradicts = arguments == Validation::Failed && access.is_none_or(|access| access.allowed);
        let (why, by) = match (error.is_denied(), error.is_configuration()) {
            (true, _) if contradicts => ("arguments", Who::Service),
            (true, _) => ("access", Who::Configuration),
            (_, true) => ("configuration", Who::Configuration),
            (false, false) => ("unreachable", Who::Service),
        };
        account.trail.note(self.0.clock.now(), What::Refused { why: why.to_owned(), retry_in: None }, by);
        let result: Result<Reply, Error> = account.close(Err(error)).await;
        result.expect_err("a refusal stays one")
    }
}
