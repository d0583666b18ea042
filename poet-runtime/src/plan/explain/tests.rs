use super::*;
use crate::config::{Config, ServiceConfig};
use crate::context::{Called, Context, inside};
use crate::pipeline::request::{Caller, Fetched, Request};
use crate::pipeline::service::{AttemptContext, Failure};
use crate::plan::{Action, Inputs, Outlook, StepAnswer, StepContext, named};
use crate::site::Learning;
use crate::store::BoxFuture;
use crate::{Class, Clock, Profile};
use serde_json::{Map, json};
use std::sync::Arc;

/// A call of a service that a dry run must not make.
struct Call(&'static str, &'static str, Outlook);

impl Action for Call {
    fn run<'a>(
        &'a self,
        _: &'a Runtime,
        _: Map<String, Value>,
        _: StepContext,
    ) -> BoxFuture<'a, Result<StepAnswer, Error>> {
        panic!("a dry run makes no call")
    }

    fn target(&self) -> Option<(&str, &str)> {
        Some((self.0, self.1))
    }

    fn outlook(&self, _: &Runtime) -> Outlook {
        self.2
    }
}

fn runtime() -> Runtime {
    Runtime::builder().configuration(Config::default()).in_memory().build().unwrap()
}

fn customer_plan() -> Plan {
    let call = |service, operation, outlook| Call(service, operation, outlook);
    let plain = Outlook::default();
    named("customer")
        .step(
            Step::new("crm")
                .call(call("salesforce_crm", "update_contact", plain), json!({ "of": "$customer.id" }))
                .priority(Priority::Low)
                .deferrable(),
        )
        .step(
            Step::new("analytics")
                .call(call("analytics_warehouse", "upsert_customer", plain), json!({ "of": "$customer.id" }))
                .queued(),
        )
        .step(
            Step::new("billing").call(call("billing_system", "sync_customer", plain), json!({ "of": "$customer.id" })),
        )
        .step(
            Step::new("customer").call(
                call("customer_database", "get_customer", Outlook { cacheable: true, ..plain }),
                json!({ "id": 7 }),
            ),
        )
}

#[test]
fn a_dry_run_orders_by_dependency_and_priority_and_says_why() {
    let explanation = customer_plan().explain(&runtime()).unwrap();
    let order: Vec<_> = explanation.steps.iter().map(|step| (step.name.as_str(), step.stage, step.mode)).collect();
    let expected = [
        ("customer", 1, Mode::CacheFirst),
        ("analytics", 2, Mode::Queued),
        ("billing", 2, Mode::Now),
        ("crm", 2, Mode::Now),
    ];
    assert_eq!(order, expected);
    assert_eq!(explanation.steps[3].reasons, ["dependency: customer", "priority low"]);
    assert_eq!((explanation.stages, explanation.at_least), (2, true));
}

#[test]
fn a_dry_run_reads_as_a_table_and_as_json() {
    let explanation = customer_plan().explain(&runtime()).unwrap();
    let table = explanation.to_string();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("#  stage  step"), "{table}");
    assert!(lines[1].contains("customer_database.get_customer"), "{table}");
    assert_eq!(lines[5], "4 steps in 2 stages, at least 0.00 s");
    let json = explanation.to_json();
    assert_eq!(json["sequence"][1]["service"], "analytics_warehouse");
    assert_eq!((&json["sequence"][1]["async"], &json["sequence"][3]["defer"]), (&json!(true), &json!(false)));
    assert_eq!(json["optimizations"]["cache_checks"], 1);
}

#[test]
fn code_is_no_call_and_does_not_make_the_estimate_unknown() {
    let plan = named("code").step(Step::new("a").call(async |_: Inputs| Ok(Value::Null), json!({})));
    let explanation = plan.explain(&runtime()).unwrap();
    assert_eq!((explanation.steps[0].target.clone(), explanation.at_least), (None, false));
}

/// A call through every stage.
struct Moved(Outlook);

static SCRIPTED: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

/// Ends every attempt so.
#[derive(Debug)]
struct Sends(Option<Class>);

impl Caller for Sends {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        let answer = self.0.map_or(Ok(Value::Null.into()), |class| Err(Failure::new(class, "ill")));
        Box::pin(std::future::ready(answer))
    }
}

fn find(_: &Runtime, _: &str) -> Result<Arc<dyn Caller>, Error> {
    Ok(Arc::new(Sends(None)))
}

fn request(outlook: Outlook) -> Request {
    Request {
        repeatable: outlook.repeatable,
        read_only: outlook.read_only,
        deferrable: outlook.deferrable,
        queued: outlook.queued.map(|_| true),
        priority: outlook.priority,
        ..Request::new("crm", "update", &SCRIPTED)
    }
}

impl Action for Moved {
    fn run<'a>(
        &'a self,
        runtime: &'a Runtime,
        _: Map<String, Value>,
        step: StepContext,
    ) -> BoxFuture<'a, Result<StepAnswer, Error>> {
        let mut request = request(self.0);
        request.priority = request.priority.or(step.priority);
        request.deferrable = request.deferrable.or(step.deferrable.then_some(true));
        request.queued = request.queued.or(step.queued.then_some(true));
        let caller = Arc::new(Sends(None));
        Box::pin(async move { runtime.request(request, caller).await.map(StepAnswer::from) })
    }

    fn target(&self) -> Option<(&str, &str)> {
        Some(("crm", "update"))
    }

    fn outlook(&self, _: &Runtime) -> Outlook {
        self.0
    }
}

/// What may be in the way of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Obstacle {
    Nothing,
    Circuit,
    LongRest,
    Hours,
}

async fn world(obstacle: Obstacle) -> Runtime {
    let mut crm = ServiceConfig::named("crm");
    if obstacle == Obstacle::Hours {
        // 2026-06-10, 08:00 UTC.
        crm = crm.avoid("07:00-20:00".parse().unwrap());
    }
    let clock = Clock::virtual_from(Wall::from_millis(1_781_078_400_000));
    let config = Config::default().service(crm);
    let runtime = Runtime::builder().configuration(config).in_memory().clock(clock).seed(7).build().unwrap();
    let class = match obstacle {
        Obstacle::Circuit => Class::Transient,
        Obstacle::LongRest => Class::Throttled { retry_after: Some(Duration::from_secs(3_000)) },
        Obstacle::Nothing | Obstacle::Hours => return runtime,
    };
    for _ in 0..5 {
        runtime.request(request(Outlook::default()), Arc::new(Sends(Some(class)))).await.unwrap_err();
    }
    runtime
}

#[tokio::test(start_paused = true)]
async fn what_a_dry_run_says_of_a_call_is_what_the_run_then_does() {
    use Obstacle::{Circuit, Hours, LongRest, Nothing};
    let plain = Outlook::default();
    let outlooks = [
        plain,
        Outlook { deferrable: Some(true), ..plain },
        Outlook { deferrable: Some(false), ..plain },
        Outlook { read_only: true, repeatable: true, ..plain },
        Outlook { queued: Some(Priority::Critical), ..plain },
        Outlook { deferrable: Some(true), priority: Some(Priority::High), ..plain },
    ];
    for (obstacle, outlook, around) in every(&[Nothing, Circuit, LongRest, Hours], &outlooks) {
        for (deferrable, queued) in [(false, false), (true, false), (false, true)] {
            if deferrable && outlook.deferrable == Some(false) {
                continue;
            }
            let runtime = world(obstacle).await;
            let mut step = Step::new("crm").call(Moved(outlook), json!({}));
            step.deferrable = deferrable;
            step.queued = queued;
            let plan = named("p").step(step);
            let surrounding = Context { deferrable: around, ..context() };
            let explained = inside(surrounding, async {
                let explained = plan.explain(&runtime).unwrap();
                (explained, plan.run_in(&runtime).await.unwrap())
            });
            let (explained, outcome) = explained.await;
            let (said, did) = (&explained.steps[0], &outcome.steps[0]);
            let what = format!("{obstacle:?}, {outlook:?}, around {around}, {deferrable}, {queued}: {said:?}, {did:?}");
            match (said.mode, &did.put_off) {
                (Mode::Now, None) => {}
                (Mode::Queued, Some(put_off)) => {
                    assert_eq!(put_off.reason, "acknowledged", "{what}");
                    is_near(said.scheduled.unwrap_or(runtime.clock().wall()), put_off.due, &what);
                }
                (Mode::Deferred, Some(put_off)) => {
                    assert!(said.reasons.contains(&put_off.reason), "{what}");
                    is_near(said.scheduled.unwrap(), put_off.due, &what);
                }
                // A refusal for lack of time, which the dry run does not foretell, or what failed and is put off then.
                (Mode::Now, Some(put_off)) => assert_eq!(put_off.reason, "failed", "{what}"),
                _ => panic!("{what}"),
            }
        }
    }
}

fn every<'a, A: Copy, B: Copy>(a: &'a [A], b: &'a [B]) -> impl Iterator<Item = (A, B, bool)> + use<'a, A, B> {
    a.iter().flat_map(move |&a| b.iter().flat_map(move |&b| [(a, b, false), (a, b, true)]))
}

/// What waits for a circuit is spread.
fn is_near(said: Wall, due: Wall, what: &str) {
    assert!(due >= said && said.until(due) <= Duration::from_secs(10), "{what}");
}

fn context() -> Context {
    Context {
        deadline: crate::clock::after(Clock::system().now(), Duration::from_secs(600)),
        priority: Priority::Normal,
        learning: Learning::On,
        deferrable: false,
        retries_left: u8::MAX,
        retries_made: 0,
        failed_inside: false,
        called: Called::default(),
        warnings: Vec::new(),
        around: None,
    }
}

#[test]
fn a_call_is_left_to_a_worker_up_to_the_priority_that_says_so() {
    let queued = Outlook { queued: Some(Priority::Low), batchable: true, ..Outlook::default() };
    let how = |priority| {
        let step = Step::new("crm").call(Call("crm", "update", queued), json!({})).priority(priority);
        named("p").step(step).explain(&runtime()).unwrap().steps[0].mode
    };
    assert_eq!((how(Priority::Low), how(Priority::Normal)), (Mode::Queued, Mode::Batched));
}
