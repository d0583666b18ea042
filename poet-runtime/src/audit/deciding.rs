//! Claims about what is written down of a call, and who decided it.

use super::*;
use crate::clock::{Clock, Wall};
use crate::config::{AuditLevel, AuditRules, CacheConfig, Config, ServiceConfig, ToolConfig};
use crate::defer::MemoryQueue;
use crate::error::Error;
use crate::outcome::{Class, Ending};
use crate::pipeline::service::{AttemptContext, CacheWish, Caller, Failure, Fetched, Request, Vetting};
use crate::profile::Profile;
use crate::runtime::Runtime;
use crate::store::{BoxFuture, MemoryStore, Store};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

static PROFILE: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

/// Answers as it is told, and then well.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    answers: Mutex<VecDeque<Class>>,
    vetting: Mutex<Vetting>,
}

#[derive(Debug)]
struct Sends(Arc<Scripted>);

impl Caller for Sends {
    fn attempt<'a>(&'a self, request: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        let class = crate::lock::lock(&self.0.answers).pop_front().unwrap_or(Class::Success);
        let many = request.arguments.get("items").and_then(Value::as_array).map(|items| vec![json!("ok"); items.len()]);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            match class {
                Class::Success => Ok(many.map_or(json!("ok"), Value::from).into()),
                Class::Cancelled => std::future::pending().await,
                class => Err(Failure::new(class, "no luck with hunter2hunter2")),
            }
        })
    }

    fn vetting(&self, _: &Request) -> Vetting {
        crate::lock::lock(&self.0.vetting).clone()
    }
}

fn find(runtime: &Runtime, _: &str) -> Result<Arc<dyn Caller>, Error> {
    Ok(Arc::new(Sends(runtime.extension::<Scripted>())))
}

struct World {
    runtime: Runtime,
    store: MemoryStore,
    service: Arc<Scripted>,
}

impl World {
    fn of(config: Config) -> Self {
        let store = MemoryStore::new();
        // 2026-06-10, a Wednesday, at noon.
        let clock = Clock::virtual_from(Wall::from_millis(1_781_092_800_000));
        let builder = Runtime::builder().configuration(config).store(store.clone()).queue(MemoryQueue::new());
        let runtime = builder.profile(&PROFILE).clock(clock).seed(7).build().unwrap();
        let service = runtime.extension::<Scripted>();
        Self { runtime, store, service }
    }

    fn crm(tool: ToolConfig) -> Self {
        Self::of(audited(ServiceConfig::named("crm").tool("update", tool)))
    }

    fn answers(&self, classes: impl IntoIterator<Item = Class>) {
        crate::lock::lock(&self.service.answers).extend(classes);
    }

    async fn request(&self, request: Request) -> Result<crate::reply::Reply, Error> {
        self.runtime.request(request, find(&self.runtime, "crm").unwrap()).await
    }

    /// All that is written down, oldest first.
    async fn written(&mut self) -> Vec<AuditEntry> {
        self.runtime.flush().await.unwrap();
        let mut entries = self.store.audit(&AuditFilter::default(), 100).await.unwrap();
        entries.reverse();
        entries
    }

    async fn last(&mut self) -> AuditEntry {
        self.written().await.pop().expect("something is written down")
    }
}

fn audited(service: ServiceConfig) -> Config {
    let mut config = Config::default().service(service);
    config.audit.level = AuditLevel::On;
    config.queue.work = false;
    config
}

fn update() -> Request {
    let mut request = Request::new("crm", "update", &PROFILE);
    request.repeatable = true;
    request.arguments.insert("id".to_owned(), json!(7));
    request.arguments.insert("email".to_owned(), json!("ada@example.com"));
    request
}

fn names(entry: &AuditEntry) -> Vec<String> {
    let name = |decision: &Decision| {
        let said = serde_json::to_value(decision).unwrap();
        let detail = ["class", "why", "reason", "to", "after"].iter().find_map(|key| said[key].as_str());
        let who = said["by"]["who"].as_str().unwrap();
        match detail {
            Some(detail) => format!("{} {detail} by {who}", said["decision"].as_str().unwrap()),
            None => format!("{} by {who}", said["decision"].as_str().unwrap()),
        }
    };
    entry.detail.decisions.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_tried_again_says_why_how_long_it_waited_and_who_decided_each() {
    let mut world = World::crm(ToolConfig::default().pin("retry.max_retries", 1).cost(0.02));
    world.answers([Class::Transient]);
    let reply = world.request(update()).await.unwrap();
    let entry = world.last().await;
    assert_eq!(
        names(&entry),
        [
            "attempted transient by service",
            "retried transient by configuration",
            "waited backoff by default",
            "attempted success by service",
        ]
    );
    assert_eq!(entry.execution, reply.audit_id().to_string());
    assert_eq!((entry.ending, entry.detail.attempts, entry.detail.cost), (Some(Ending::Done), 2, Some(0.04)));
    assert_eq!(entry.detail.disposition.as_deref(), Some("done"));
    let Decision { by, .. } = &entry.detail.decisions[1];
    assert_eq!((by.parameter.as_deref(), by.value), (Some("retry.max_retries.transient"), Some(1.0)));
    let What::Waited { seconds, .. } = entry.detail.decisions[2].what else { panic!("{entry:?}") };
    assert!((entry.detail.seconds - 0.02 - seconds).abs() < 2e-3, "{entry:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_run_says_that_the_rule_ended_it() {
    let mut world = World::crm(ToolConfig::default().timeout(Duration::from_millis(50)));
    world.answers([Class::Cancelled]);
    let error = world.request(Request { repeatable: false, ..update() }).await.unwrap_err();
    assert!(error.is_outcome_unknown());
    let entry = world.last().await;
    assert_eq!(names(&entry), ["attempted timeout by configuration", "gave_up not_repeatable by rule"]);
    assert_eq!(entry.ending, Some(Ending::OutcomeUnknown));
    assert_eq!(error.audit_id().unwrap().to_string(), entry.execution);
}

#[tokio::test(start_paused = true)]
async fn what_the_service_asks_for_is_waited_for_on_its_word() {
    let mut world = World::crm(ToolConfig::default());
    world.answers([Class::Throttled { retry_after: Some(Duration::from_secs(3)) }]);
    world.request(update()).await.unwrap();
    let entry = world.last().await;
    assert_eq!(names(&entry)[2], "waited retry_after by service");
    let What::Waited { seconds, .. } = entry.detail.decisions[2].what else { panic!("{entry:?}") };
    assert!((3.0..3.1).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_the_call_wrote_is_the_calls() {
    let mut world = World::crm(ToolConfig::default());
    world.answers([Class::Cancelled]);
    let limited = Request { timeout: Some(Duration::from_millis(50)), retries: Some(0), ..update() };
    world.request(limited).await.unwrap_err();
    assert_eq!(names(&world.last().await), ["attempted timeout by call", "gave_up attempts by call"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_and_a_wait_for_a_place_are_decisions_too() {
    let mut world = World::crm(ToolConfig::default().pin("hedge.delay", 0.05).pin("concurrency.limit", 1));
    // The only place is taken by another call, and is given back after ten milliseconds.
    let waits = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.request(update()).await
    };
    let (first, second) = tokio::join!(world.request(update()), waits);
    first.unwrap();
    second.unwrap();
    let last = world.last().await;
    assert_eq!(names(&last), ["waited concurrency by configuration", "attempted success by service"]);

    let mut world = World::crm(ToolConfig::default().pin("hedge.delay", 0.05));
    for _ in 0..60 {
        world.request(update()).await.unwrap();
    }
    world.answers([Class::Cancelled]);
    world.request(update()).await.unwrap();
    let raced = world.last().await;
    assert_eq!(names(&raced), ["raced by configuration", "attempted success by service"]);
    assert_eq!(raced.detail.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_shares_another_one_says_so() {
    let mut world = World::crm(ToolConfig::default());
    let read = || Request { read_only: true, ..update() };
    let (first, second) = tokio::join!(world.request(read()), world.request(read()));
    first.unwrap();
    let joined = second.unwrap().audit_id().to_string();
    let written = world.written().await;
    let entry = written.iter().find(|entry| entry.execution == joined).unwrap();
    assert_eq!((written.len(), names(entry)), (2, vec!["joined by rule".to_owned()]));
    assert_eq!((entry.ending, entry.detail.attempts), (Some(Ending::Coalesced), 0));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_shares_a_failure_and_a_call_that_cannot_be_sent_say_so_too() {
    let mut world = World::crm(ToolConfig::default().pin("retry.max_retries", 0));
    world.answers([Class::Permanent]);
    let read = || Request { read_only: true, ..update() };
    let (first, second) = tokio::join!(world.request(read()), world.request(read()));
    let ids = [first, second].map(|result| result.unwrap_err().audit_id().unwrap().to_string());
    let written = world.written().await;
    let of = |id: &String| written.iter().find(|entry| entry.execution == *id).unwrap();
    assert_eq!(names(of(&ids[0])), ["attempted permanent by service", "gave_up permanent by service"]);
    assert_eq!(names(of(&ids[1])), ["joined by rule"]);

    let mut pending = update();
    pending.arguments.insert("customer".to_owned(), json!({ "$poet.pending": {} }));
    world.request(pending).await.unwrap_err();
    let entry = world.last().await;
    assert_eq!((names(&entry), entry.ending), (vec!["refused arguments by rule".to_owned()], Some(Ending::Denied)));
}

#[tokio::test(start_paused = true)]
async fn retries_that_are_used_up_say_whose_they_were() {
    let mut world = World::crm(ToolConfig::default().pin("retry.max_retries", 10).pin("breaker.failure_threshold", 50));
    world.answers([Class::Invalid; 200]);
    let error = world.request(update()).await.unwrap_err();
    assert!(error.is_budget_exhausted(), "{error}");
    let entry = world.last().await;
    assert!(names(&entry).last().unwrap().ends_with("gave_up execution_budget by rule"), "{:?}", names(&entry));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_was_learned_is_named_with_the_move_that_made_it() {
    let mut world = World::crm(ToolConfig::default());
    world.request(update()).await.unwrap();
    let target = world.runtime.0.registry.known("crm", "update").unwrap();
    let mut row = crate::store::conformance::change("crm", "timeout.attempt", None, 0.5).new;
    (row.key.target.operation, row.revision) = ("update".to_owned(), 7);
    target.apply(&row);
    world.answers([Class::Cancelled; 3]);
    world.request(Request { priority: Some(crate::Priority::High), ..update() }).await.unwrap_err();
    let entry = world.last().await;
    let Decision { by, what, .. } = &entry.detail.decisions[0];
    assert!(matches!(what, What::Attempted { limit: 0.5, .. }), "{what:?}");
    assert_eq!((by.who, by.parameter.as_deref(), by.revision), (Who::Learned, Some("timeout.attempt"), Some(7)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_memory_says_its_age_and_who_said_how_long_it_is_good() {
    let mut world = World::crm(
        ToolConfig::default().cache(CacheConfig { ttl: Some(Duration::from_secs(60)), ..CacheConfig::default() }),
    );
    let read = || Request { read_only: true, ..update() };
    world.request(read()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let reply = world.request(read()).await.unwrap();
    let entry = world.last().await;
    assert_eq!(entry.execution, reply.audit_id().to_string());
    assert_eq!((entry.ending, entry.detail.attempts), (Some(Ending::Cached), 0));
    let Decision { what: What::Cached { age }, by, .. } = &entry.detail.decisions[0] else { panic!("{entry:?}") };
    assert!((5.0..5.1).contains(age), "{age}");
    assert_eq!((by.who, by.parameter.as_deref()), (Who::Configuration, Some("cache.ttl")));
    let wish = Request { cache: CacheWish::UpTo(Duration::from_secs(30)), ..read() };
    world.request(wish).await.unwrap();
    assert_eq!(names(&world.last().await), ["cached by call"]);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_and_says_for_how_long() {
    let mut world = World::crm(ToolConfig::default().pin("retry.max_retries", 0));
    world.answers([Class::Transient; 8]);
    let refused = loop {
        let error = world.request(update()).await.unwrap_err();
        if error.is_circuit_open() {
            break error;
        }
    };
    let entry = world.last().await;
    assert_eq!(names(&entry), ["refused circuit_open by default"]);
    assert_eq!(entry.ending, Some(Ending::CircuitOpen));
    assert_eq!(refused.audit_id().unwrap().to_string(), entry.execution);
    let Decision { what: What::Refused { retry_in, .. }, by, .. } = &entry.detail.decisions[0] else { panic!() };
    assert!(retry_in.is_some_and(|rest| rest > 0.0));
    assert_eq!(by.parameter.as_deref(), Some("breaker.open_for"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_put_off_and_the_call_of_its_job_name_each_other() {
    let tool = ToolConfig::default().deferrable();
    let service = ServiceConfig::named("crm").maintenance("11:00-13:00".parse().unwrap()).tool("update", tool);
    let mut world = World::of(audited(service));
    let reply = world.request(update()).await.unwrap();
    let job = reply.ticket().unwrap().id().to_owned();
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    let runtime = world.runtime.clone();
    runtime.scope(async { runtime.queue().run_due().await }).await.unwrap();
    let [put_off, made] = <[AuditEntry; 2]>::try_from(world.written().await).unwrap();
    assert_eq!(names(&put_off), ["put_off maintenance by configuration"]);
    assert_eq!((put_off.ending, put_off.job.as_ref()), (Some(Ending::Deferred), Some(&job)));
    assert_eq!(put_off.execution, reply.audit_id().to_string());
    assert_eq!((made.job.as_ref(), made.detail.made_for.as_ref()), (Some(&job), Some(&put_off.execution)));
    assert_eq!(names(&made), ["attempted success by service"]);
    let both = AuditFilter { job: Some(job), ..AuditFilter::default() };
    assert_eq!(world.store.audit(&both, 10).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_refused_before_it_was_made_says_by_which_rule() {
    let mut world = World::crm(ToolConfig::default());
    let rule = "`deny` of the service has `up*`".to_owned();
    *crate::lock::lock(&world.service.vetting) =
        Vetting { access: Some(AccessRule { allowed: false, rule: rule.clone() }), ..Vetting::default() };
    let caller = find(&world.runtime, "crm").unwrap();
    let error = world.runtime.refused(&update(), &caller, Error::denied("calling update of crm: denied")).await;
    assert!(error.is_denied() && error.audit_id().is_some());
    let entry = world.last().await;
    assert_eq!(
        (entry.ending, names(&entry)),
        (Some(Ending::Denied), vec!["refused access by configuration".to_owned()])
    );
    assert_eq!(entry.detail.access, Some(AccessRule { allowed: false, rule }));
    assert_eq!(entry.detail.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_caller_dropped_is_written_down_with_what_was_under_way() {
    let mut world = World::crm(ToolConfig::default());
    world.answers([Class::Cancelled]);
    let dropped = tokio::time::timeout(Duration::from_millis(500), world.request(update())).await;
    assert!(dropped.is_err());
    let entry = world.last().await;
    assert_eq!(entry.ending, Some(Ending::Cancelled));
    assert_eq!(entry.detail.decisions.last().unwrap().what, What::Dropped { under_way: true });
    assert!((0.5..0.6).contains(&entry.detail.seconds), "{entry:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_made_together_name_the_call_for_all() {
    let tool = ToolConfig::default().batch("update_all", "items", "").pin("batch.threshold", 2);
    let mut world = World::crm(tool);
    let other = {
        let mut other = update();
        other.arguments.insert("id".to_owned(), json!(8));
        other
    };
    let (first, second) = tokio::join!(world.request(update()), world.request(other));
    assert!(matches!(first.unwrap().disposition(), crate::Disposition::Batched { size: 2 }));
    second.unwrap();
    let written = world.written().await;
    let bulk = written.iter().find(|entry| entry.target.operation == "update_all").unwrap();
    let singles: Vec<_> = written.iter().filter(|entry| entry.target.operation == "update").collect();
    assert_eq!((singles.len(), written.len()), (2, 3));
    for single in singles {
        let What::Batched { size, execution } = &single.detail.decisions[0].what else { panic!("{single:?}") };
        assert_eq!((*size, execution.as_ref()), (2, Some(&bulk.execution)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_named_with_the_call_of_the_other_service() {
    let tool = ToolConfig::default().fallback("backup", "update").pin("retry.max_retries", 0);
    let backup = ServiceConfig::named("backup").audit(AuditLevel::On);
    let mut world = World::of(audited(ServiceConfig::named("crm").tool("update", tool)).service(backup));
    world.answers([Class::Transient]);
    world.request(Request { read_only: true, ..update() }).await.unwrap();
    let mut written = world.written().await;
    written.sort_by(|a, b| a.target.service.cmp(&b.target.service));
    let [other, entry] = <[AuditEntry; 2]>::try_from(written).unwrap();
    assert_eq!(
        names(&entry),
        ["attempted transient by service", "gave_up attempts by configuration", "fell_back service by configuration"]
    );
    let What::FellBack { execution, .. } = &entry.detail.decisions[2].what else { panic!("{entry:?}") };
    assert_eq!((execution.as_ref(), other.target.service.as_str()), (Some(&other.execution), "backup"));
}

#[tokio::test(start_paused = true)]
async fn arguments_are_hashes_but_for_those_that_are_allowed() {
    let mut world = World::crm(ToolConfig::default().audit(AuditRules::default().field("id")));
    world.answers([Class::Permanent]);
    let mut request = update();
    request.arguments.insert("note".to_owned(), json!("hunter2hunter2"));
    world.request(request).await.unwrap_err();
    let entry = world.last().await;
    let key = world.store.audit_key().await.unwrap().unwrap();
    let hash = |name: &str, value: &str| (name.to_owned(), key.field(name, &json!(value)));
    let fields = [hash("email", "ada@example.com"), ("id".to_owned(), "7".to_owned()), hash("note", "hunter2hunter2")];
    assert_eq!(entry.fields, fields);
    assert_eq!(entry.detail.fingerprint.as_ref().map(String::len), Some(32));
    let error = entry.detail.error.as_deref().unwrap();
    assert!(error.contains("no luck with [redacted]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_off_is_neither_written_down_nor_kept_in_mind() {
    let mut world = World::of(Config::default().service(ServiceConfig::named("crm")));
    assert!(world.runtime.0.auditor.is_none(), "all that an unaudited call looks at");
    world.request(update()).await.unwrap();
    assert_eq!(world.written().await, []);
    let partly = ServiceConfig::named("crm").tool("update", ToolConfig::default().audit(AuditLevel::Off));
    let mut world = World::of(audited(partly));
    world.request(update()).await.unwrap();
    assert_eq!(world.written().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_request_is_written_down_without_arguments() {
    let mut world = World::crm(ToolConfig::default());
    let call = crate::service::ServiceCall::new("crm", "get", &PROFILE);
    let answer = world.runtime.call(&call, |_| async { Ok::<_, Failure>(7) }).await.unwrap();
    let entry = world.last().await;
    assert_eq!(entry.execution, answer.execution.to_string());
    assert_eq!((entry.detail.fingerprint.as_ref(), entry.fields.len()), (None, 0));
    assert_eq!(entry.ending, Some(Ending::Done));
}
