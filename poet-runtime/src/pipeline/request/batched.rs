//! Operate: whether a call is made together with others.
//!
//! A tool whose configuration names a bulk tool is asked for many items at once: `{ "<items>": [arguments, …] }`, and a
//! list of results of the same length in the same order. The call for many is an ordinary one of the bulk tool: with its
//! own values, circuit, retries and evidence. What it does to the calls it stands for is decided here.
//!
//! * A result that is an object with an `error` which is neither `null` nor `false` is the error of that item alone. The
//!   error is a text, or an object with a `message`; it is permanent unless it says `"retryable": true` or
//!   `"class": "transient" | "throttled"`.
//! * A failed call whose items may be repeated is made again in halves, one after the other, until what is at fault
//!   stands alone and is asked for by the single tool. Halves make no retries of their own. After anything but a
//!   permanent refusal each further half takes from the retry budget: a service that is ill is not asked more often.
//! * What may have been executed and may not be repeated is never started again: the outcome is unknown for each.
//!
//! A call that pins its own attempts, by `timeout` or `retries`, is not one that others can be made with.

use super::{Accepted, Caller, Fetched, Order, Request, accepted, cached};
use crate::audit;
use crate::clock::Wall;
use crate::config::BatchConfig;
use crate::context;
use crate::error::{Error, Kind};
use crate::key::CacheKey;
use crate::outcome::{Class, Ending, Shown};
use crate::parameter::BATCH_WINDOW;
use crate::pipeline::batch::{Entry, Gathered, Gatherer, Key, Patience, after, rules, surroundings};
use crate::pipeline::flight::Flight;
use crate::pipeline::perceive::{Written, learning};
use crate::pipeline::service::{Landing, writing};
use crate::policy::batch::Next;
use crate::reply::{Disposition, ExecutionId, Reply};
use crate::runtime::Runtime;
use crate::service::{Answer, Failure, ServiceCall};
use crate::site::Priority;
use crate::target::Target;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long jobs that are started together wait for each other.
const MOMENT: Duration = Duration::from_millis(50);

type Item = Entry<Arc<Request>, Result<Done, Failed>>;

/// The answer of one item.
struct Done {
    value: Arc<Value>,
    valid_for: Option<Duration>,
    attempts: u32,
    size: usize,
    /// The call for all.
    execution: ExecutionId,
}

/// Why one item has none.
struct Failed {
    kind: Kind,
    words: String,
    attempts: u8,
}

/// The answer of the batch the call joined; `None` where it is to be made by itself.
pub(super) async fn join(order: &Order) -> Option<(Result<Reply, Error>, Landing<'_>)> {
    let Order { runtime, request, caller, target, priority, deadline, began, .. } = order;
    let config = order.tool()?.batch.as_ref()?;
    let pinned = request.retries.is_some() || request.timeout.is_some();
    let itself = config.tool == request.operation;
    if !request.batchable || pinned || itself || tokio::runtime::Handle::try_current().is_err() {
        return None;
    }
    let bulk = runtime.0.registry.service_target(&runtime.0, &request.service, &config.tool, request.profile);
    let learning = learning(target);
    let gatherer = runtime.0.gatherers.of::<Arc<Request>, Result<Done, Failed>>(Key::Tool {
        service: request.service.clone(),
        operation: request.operation.clone(),
        identity: request.identity,
        repeatable: request.repeatable,
        read_only: request.read_only,
        learning,
    })?;
    let call = ServiceCall {
        repeatable: request.repeatable,
        priority: Some(*priority),
        deadline: request.deadline,
        ..ServiceCall::new(&request.service, &request.operation, request.profile)
    };
    let written = Written { began: Some(*began), ..writing(&call) };
    let mut flight = Flight::take_off(&runtime.0, target, None, written, true);
    flight.follow(order.trail.as_ref());
    if let Err(error) = flight.promise().await {
        return Some((Err(error), Landing::of(flight, Ending::Denied)));
    }

    let send = |items: Vec<Item>| {
        let round = Round {
            runtime: runtime.clone(),
            gatherer: gatherer.clone(),
            single: target.clone(),
            bulk: bulk.clone(),
            config: config.clone(),
            caller: caller.clone(),
            template: request.clone(),
        };
        let context = surroundings(&items, learning);
        let deadline = context.deadline;
        // Who sends it may make calls of its own, which are to find the runtime of those it works for.
        let runtime = runtime.clone();
        // Boxed once for all of them, and not copied into the task.
        let making = Box::pin(context::inside(context, round.make(items, deadline)));
        tokio::spawn(async move { runtime.as_current(making).await });
    };
    let mut rules = rules(target, &bulk, learning);
    let mut patience = Patience { deadline: *deadline, priority: *priority, among_others: false };
    if order.left_to_a_worker {
        // The job has waited for others already, whatever it matters, and they are made at the same moment.
        rules.window = rules.window.min(MOMENT);
        patience = Patience { priority: Priority::Normal, among_others: true, ..patience };
    }
    let gathered = gatherer.gather(&runtime.0.clock, rules, request.clone(), patience, send).await;
    flight.look_up();

    let failed = match gathered {
        Gathered::Answer(Ok(done)) => {
            flight.shown = cached::keep(order, &done.value, done.valid_for);
            flight.finish(Ending::Batched);
            if let Some(trail) = &order.trail {
                audit::batched(runtime, trail, done.size, &done.execution);
            }
            return Some((Ok(reply(order, config, &flight, done)), Landing::done()));
        }
        Gathered::Alone(_) => {
            flight.hand_over();
            return None;
        }
        Gathered::Lost if request.repeatable => {
            flight.hand_over();
            return None;
        }
        Gathered::Answer(Err(failed)) => failed,
        Gathered::Late { sent } if sent && !request.repeatable => {
            unknown("the call that was made for several at once had no answer by the deadline")
        }
        Gathered::Late { .. } => {
            let limit = deadline.saturating_duration_since(*began);
            Failed { kind: Kind::Deadline { limit }, words: String::new(), attempts: 0 }
        }
        Gathered::Lost => unknown("the task that made the call for several at once ended without an answer"),
    };
    let Failed { kind, words, attempts } = failed;
    let source = (!words.is_empty()).then(|| words.into());
    let error = Error::new(kind).with_source(source).at(&request.service, &request.operation);
    let error = error.after(attempts, flight.elapsed());
    let ending = error.ending();
    Some((Err(error), Landing::of(flight, ending)))
}

/// Until when a call that nobody waits for is gathered with others before it is made; `None` where it is made by
/// itself, or at once.
///
/// All that are gathered at the same time are due at the same time, so that a worker makes them together. A window that
/// was neither learned nor pinned is made for calls that somebody waits for; here it is the longest there is.
pub(super) fn gathered_until(order: &Order, now: Wall) -> Option<Wall> {
    let Order { runtime, request, target, .. } = order;
    let config = order.tool()?.batch.as_ref().filter(|config| request.batchable && config.tool != request.operation)?;
    let bulk = runtime.0.registry.service_target(&runtime.0, &request.service, &config.tool, request.profile);
    let window = rules(target, &bulk, learning(target)).window;
    let decided = window != request.profile.batch_window
        || [target, &bulk].into_iter().any(|target| target.is_pinned(BATCH_WINDOW.name, None));
    let window = if decided { window } else { Duration::from_secs_f64(BATCH_WINDOW.max) };
    let millis = i64::try_from(window.as_millis()).ok().filter(|millis| *millis > 0)?;
    Some(Wall::from_millis((now.millis().div_euclid(millis) + 1) * millis))
}

fn unknown(words: &str) -> Failed {
    Failed { kind: Kind::OutcomeUnknown, words: words.to_owned(), attempts: 1 }
}

/// What the caller of one item gets: its answer, and its share of the price.
fn reply(order: &Order, config: &BatchConfig, flight: &Flight<'_>, done: Done) -> Reply {
    let Done { value, attempts, size, .. } = done;
    let price = order.service().and_then(|service| service.tools.get(&config.tool)?.cost);
    let answer = Answer {
        value,
        disposition: Disposition::Batched { size },
        attempts,
        elapsed: flight.elapsed(),
        execution: order.runtime.0.execution_id(flight.execution()),
    };
    Reply::shared(answer, price.map(|price| price / size.max(1) as f64))
}

/// One item that is asked for, and everybody who asked.
struct Question {
    askers: Vec<Item>,
}

impl Question {
    fn arguments(&self) -> &Map<String, Value> {
        &self.askers[0].item.arguments
    }

    fn is_abandoned(&self) -> bool {
        self.askers.iter().all(Item::is_abandoned)
    }

    fn leave_alone(self) {
        self.askers.into_iter().for_each(Item::leave_alone);
    }

    fn fail(self, kind: Kind, words: &str, attempts: u8) {
        for asker in self.askers {
            asker.answer(Err(Failed { kind, words: words.to_owned(), attempts }));
        }
    }
}

/// One batch and everything it takes to make it; owned, because it outlives any of those who wait for it.
struct Round {
    runtime: Runtime,
    gatherer: Arc<Gatherer<Arc<Request>, Result<Done, Failed>>>,
    single: Arc<Target>,
    bulk: Arc<Target>,
    config: BatchConfig,
    caller: Arc<dyn Caller>,
    /// Any of the requests: what is read from it they have in common.
    template: Arc<Request>,
}

/// What a call for several was answered with.
#[derive(Clone)]
enum Bulk {
    Listed(Listed),
    /// The service took it on.
    Later(Accepted),
}

/// The results of a call for several, one for each.
#[derive(Clone)]
struct Listed {
    values: Vec<Value>,
    valid_for: Option<Duration>,
}

impl Round {
    /// Asks for all, and after a failure for less and less. A call for several stands for two items or more, so that
    /// `n` items never take `2 n` calls, those included that are made by themselves in the end.
    async fn make(self, items: Vec<Item>, deadline: Instant) {
        let mut todo = vec![self.questions(items)];
        let mut retries = None;
        while let Some(mut questions) = todo.pop() {
            questions.retain(|question| !question.is_abandoned());
            if questions.len() < 2 {
                questions.into_iter().for_each(Question::leave_alone);
                continue;
            }
            let error = match self.ask(&questions, deadline, retries.replace(0)).await {
                Ok(answer) => {
                    self.hand_out(questions, answer);
                    continue;
                }
                Err(error) => error,
            };
            match after(&error, self.template.repeatable, &self.bulk, self.runtime.0.clock.now()) {
                Next::Singly => questions.into_iter().for_each(Question::leave_alone),
                Next::Halve { .. } => {
                    let second = questions.split_off(questions.len() / 2);
                    todo.push(second);
                    todo.push(questions);
                }
                Next::Fail(kind) => {
                    let words = format!("the call for {} at once failed: {error}", questions.len());
                    let attempts = u8::try_from(error.attempts()).unwrap_or(u8::MAX);
                    questions.into_iter().for_each(|question| question.fail(kind, &words, attempts));
                }
            }
        }
    }

    /// What is to be asked: identical reads once.
    fn questions(&self, items: Vec<Item>) -> Vec<Question> {
        let mut questions: Vec<Question> = Vec::with_capacity(items.len());
        let mut known: HashMap<CacheKey, usize> = HashMap::new();
        for item in items {
            if self.template.read_only {
                let Request { service, operation, identity, arguments, .. } = &*item.item;
                let key = CacheKey::of_request(service, operation, *identity, arguments);
                if let Some(&place) = known.get(&key) {
                    questions[place].askers.push(item);
                    continue;
                }
                known.insert(key, questions.len());
            }
            questions.push(Question { askers: vec![item] });
        }
        questions
    }

    async fn ask(
        &self,
        questions: &[Question],
        deadline: Instant,
        retries: Option<u8>,
    ) -> Result<Answer<Listed>, Error> {
        let Self { runtime, config, caller, template, .. } = self;
        let items = questions.iter().map(|question| Value::Object(question.arguments().clone())).collect();
        let mut arguments = Map::new();
        arguments.insert(config.items.clone(), Value::Array(items));
        let request = Request {
            arguments,
            repeatable: template.repeatable,
            read_only: template.read_only,
            identity: template.identity,
            batchable: false,
            fallible: false,
            ..Request::new(&*template.service, &*config.tool, template.profile)
        };
        let call = ServiceCall {
            repeatable: request.repeatable,
            deadline: Some(deadline.saturating_duration_since(runtime.0.clock.now())),
            retries,
            shown: Some(Shown::Batch { items: u16::try_from(questions.len()).unwrap_or(u16::MAX) }),
            ..ServiceCall::new(&request.service, &request.operation, request.profile)
        };
        let request = &request;
        let named = questions.iter().flat_map(|question| &question.askers).flat_map(|asker| &asker.item.invalidates);
        let write = cached::Write::of_several(runtime, template, [&*self.single, &*self.bulk], named, deadline);
        let answer = runtime
            .call(&call, |attempt| async move {
                let fetched = caller.attempt(request, attempt).await?;
                if let Some(accepted) = fetched.accepted {
                    return Ok(Bulk::Later(accepted));
                }
                listed(fetched, &config.results, questions.len())
                    .map(Bulk::Listed)
                    .map_err(|problem| Failure::new(Class::Invalid, problem))
            })
            .await;
        let answer = match answer {
            // Boxed, so that what is answered at once does not carry it about.
            Ok(answer) => Box::pin(self.listed(request, answer, questions.len(), deadline)).await,
            Err(error) => Err(error),
        };
        if let Some(write) = write {
            write.ended(&answer);
        }
        if let Ok(answer) = &answer {
            self.gatherer.observe(answer.elapsed);
        }
        answer
    }

    /// The results, which a service that took the call on is waited for.
    async fn listed(
        &self,
        request: &Request,
        answer: Answer<Bulk>,
        wanted: usize,
        deadline: Instant,
    ) -> Result<Answer<Listed>, Error> {
        let Answer { value, disposition, attempts, mut elapsed, execution } = answer;
        let value = match value {
            Bulk::Listed(value) => value,
            Bulk::Later(mut accepted) => {
                let (began, clock) = (self.runtime.0.clock.now(), &self.runtime.0.clock);
                let end = accepted::follow(&self.runtime, request, &self.caller, &mut accepted, deadline).await;
                elapsed += clock.now().saturating_duration_since(began);
                let attempts = u8::try_from(attempts).unwrap_or(u8::MAX);
                let end = match end {
                    Some(end) => end.and_then(|fetched| {
                        let invalid = |problem| accepted::error_of(request, Failure::new(Class::Invalid, problem));
                        listed(fetched, &self.config.results, wanted).map_err(invalid)
                    }),
                    None => {
                        accepted::call_off(request, &self.caller, &accepted.token).await;
                        Err(accepted::unfinished(request, elapsed))
                    }
                };
                end.map_err(|error| error.after(attempts, elapsed))?
            }
        };
        Ok(Answer { value, disposition, attempts, elapsed, execution })
    }

    fn hand_out(&self, questions: Vec<Question>, answer: Answer<Listed>) {
        let Answer { value: Listed { values, valid_for }, attempts, execution, .. } = answer;
        let size = questions.iter().map(|question| question.askers.len()).sum();
        for (question, value) in questions.into_iter().zip(values) {
            match item_error(&value) {
                None => {
                    let value = Arc::new(value);
                    for asker in question.askers {
                        asker.answer(Ok(Done {
                            value: value.clone(),
                            valid_for,
                            attempts,
                            size,
                            execution: execution.clone(),
                        }));
                    }
                }
                Some((Class::Transient, _)) if self.template.repeatable => question.leave_alone(),
                Some((class, words)) => {
                    let kind = match class {
                        Class::Throttled { retry_after } => Kind::Throttled { retry_after },
                        _ => Kind::Service { class },
                    };
                    question.fail(kind, &words, u8::try_from(attempts).unwrap_or(u8::MAX));
                }
            }
        }
    }
}

/// The list of results in an answer.
fn listed(fetched: Fetched, path: &str, wanted: usize) -> Result<Listed, String> {
    let Fetched { mut value, valid_for, .. } = fetched;
    let mut place = &mut value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        place = place.get_mut(name).ok_or_else(|| format!("the answer for {wanted} items has no `{path}`"))?;
    }
    match place.take() {
        Value::Array(values) if values.len() == wanted => Ok(Listed { values, valid_for }),
        Value::Array(values) => Err(format!("{wanted} items were asked for and {} results came", values.len())),
        _ => Err(format!("`{path}` of the answer for {wanted} items is no list")),
    }
}

/// The error that stands in the place of a result.
fn item_error(value: &Value) -> Option<(Class, String)> {
    let error = value.as_object()?.get("error")?;
    if error.is_null() || *error == Value::Bool(false) {
        return None;
    }
    let says = |name: &str| error.get(name).or_else(|| value.get(name));
    let class = match says("class").and_then(Value::as_str) {
        Some("transient") => Class::Transient,
        Some("throttled") => Class::Throttled { retry_after: None },
        _ if says("retryable") == Some(&Value::Bool(true)) => Class::Transient,
        _ => Class::Permanent,
    };
    let words = match (error, says("message")) {
        (Value::String(words), _) | (_, Some(Value::String(words))) => words.clone(),
        (other, _) => other.to_string(),
    };
    Some((class, words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_are_found_where_the_configuration_says_and_have_to_be_one_for_each() {
        let values = |value: Value, path| listed(Fetched::from(value), path, 2).map(|listed| listed.values);
        assert_eq!(values(json!([1, 2]), ""), Ok(vec![json!(1), json!(2)]));
        assert_eq!(values(json!({ "data": { "items": [1, 2] } }), "data.items"), Ok(vec![json!(1), json!(2)]));
        assert_eq!(values(json!([1]), "").unwrap_err(), "2 items were asked for and 1 results came");
        assert_eq!(values(json!({}), "data.items").unwrap_err(), "the answer for 2 items has no `data.items`");
        assert_eq!(values(json!({ "data": 1 }), "data").unwrap_err(), "`data` of the answer for 2 items is no list");
    }

    #[test]
    fn an_error_in_the_place_of_a_result_is_permanent_unless_it_says_otherwise() {
        for value in [json!(1), json!({ "error": null }), json!({ "error": false, "id": 1 }), json!({ "id": 1 })] {
            assert_eq!(item_error(&value), None);
        }
        let permanent = |words: &str| Some((Class::Permanent, words.to_owned()));
        assert_eq!(item_error(&json!({ "error": "no such customer" })), permanent("no such customer"));
        assert_eq!(item_error(&json!({ "error": { "message": "gone", "code": 410 } })), permanent("gone"));
        assert_eq!(item_error(&json!({ "error": { "code": 410 } })), permanent(r#"{"code":410}"#));
        let class = |value: Value| item_error(&value).unwrap().0;
        assert_eq!(class(json!({ "error": "busy", "retryable": true })), Class::Transient);
        assert_eq!(class(json!({ "error": { "class": "transient" } })), Class::Transient);
        assert_eq!(class(json!({ "error": { "class": "throttled" } })), Class::Throttled { retry_after: None });
    }
}
