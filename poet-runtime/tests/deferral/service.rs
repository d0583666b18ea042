//! A service whose attempts end as a test says, and the runtime around it.

use poet_runtime::calendar::Window;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig, ToolConfig};
use poet_runtime::service::{Accepted, AttemptContext, Caller, Failure, Fetched, News, Request};
use poet_runtime::store::BoxFuture;
use poet_runtime::{Builder, Class, Clock, Disposition, Error, Profile, Reply, Runtime, Wall, defer::Ticket};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// 2026-06-10, a Wednesday, 08:00 UTC.
pub(crate) const MORNING: Wall = Wall::from_millis(1_781_078_400_000);

/// What an attempt does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Answer,
    Fail(Class),
    /// Never answers.
    Hang,
    /// Answers after so long.
    Slow(Duration),
    Panic,
    /// Takes the request on, and wants to be asked after so long.
    TakeOn(Duration),
}

/// What is said about what was taken on, by how often it was asked about before.
type Asked = Box<dyn Fn(usize) -> Result<News, Failure> + Send + Sync>;

type Script = Box<dyn Fn(&Request, usize) -> Act + Send + Sync>;

/// The service of one runtime: everybody who looks for its caller finds this one.
#[derive(Default)]
pub(crate) struct Service {
    script: Mutex<Option<Script>>,
    log: Mutex<Vec<(Instant, Value)>>,
    under_way: Mutex<(usize, usize)>,
    says: Mutex<Option<Asked>>,
    asked: Mutex<Vec<(Instant, String)>>,
    called_off: Mutex<Vec<String>>,
}

/// It is still at it, and wants to be asked again after so long.
pub(crate) fn working(token: &str, ask_in: Duration) -> Result<News, Failure> {
    Ok(News::Working(Accepted { token: token.to_owned(), ask_in }))
}

impl Service {
    /// What it says from now on of what it has taken on.
    pub(crate) fn says(&self, says: impl Fn(usize) -> Result<News, Failure> + Send + Sync + 'static) {
        *self.says.lock().unwrap() = Some(Box::new(says));
    }

    /// When it was asked, and about what.
    pub(crate) fn asked(&self) -> Vec<(Instant, String)> {
        self.asked.lock().unwrap().clone()
    }

    /// What nobody wants any more.
    pub(crate) fn called_off(&self) -> Vec<String> {
        self.called_off.lock().unwrap().clone()
    }

    /// What the attempts from now on do; they are counted from 0 over the life of the service.
    pub(crate) fn does(&self, script: impl Fn(&Request, usize) -> Act + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Some(Box::new(script));
    }

    pub(crate) fn is_well(&self) {
        self.does(|_, _| Act::Answer);
    }

    /// The values of `id` in the attempts that were made.
    pub(crate) fn made(&self) -> Vec<Value> {
        self.log.lock().unwrap().iter().map(|(_, id)| id.clone()).collect()
    }

    pub(crate) fn times(&self) -> Vec<Instant> {
        self.log.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    /// The most attempts that were under way at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.under_way.lock().unwrap().1
    }
}

#[derive(Clone)]
struct Sender(Arc<Service>);

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

/// One attempt under way.
struct UnderWay(Arc<Service>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap().0 -= 1;
    }
}

impl Caller for Sender {
    fn attempt<'a>(&'a self, request: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move {
            let service = &self.0;
            let id = request.arguments.get("id").cloned().unwrap_or_default();
            let number = {
                let mut log = service.log.lock().unwrap();
                log.push((Instant::now(), id.clone()));
                log.len() - 1
            };
            {
                let mut under_way = service.under_way.lock().unwrap();
                under_way.0 += 1;
                under_way.1 = under_way.1.max(under_way.0);
            }
            let _under_way = UnderWay(service.clone());
            let act = service.script.lock().unwrap().as_ref().map_or(Act::Answer, |script| script(request, number));
            match act {
                Act::Answer => {}
                Act::Slow(time) => tokio::time::sleep(time).await,
                Act::Fail(class) => return Err(Failure::new(class, "scripted")),
                Act::Hang => std::future::pending().await,
                Act::Panic => panic!("the sender of {id}"),
                Act::TakeOn(ask_in) => return Ok(Accepted { token: format!("task-{number}"), ask_in }.into()),
            }
            Ok(Fetched::from(json!({ "done": id })))
        })
    }

    fn ask<'a>(&'a self, _: &'a Request, token: &'a str, _: AttemptContext) -> BoxFuture<'a, Result<News, Failure>> {
        let before = {
            let mut asked = self.0.asked.lock().unwrap();
            asked.push((Instant::now(), token.to_owned()));
            asked.len() - 1
        };
        let says = self.0.says.lock().unwrap().as_ref().map_or(Ok(News::Forgotten), |says| says(before));
        Box::pin(std::future::ready(says))
    }

    fn call_off<'a>(&'a self, _: &'a Request, token: &'a str, _: std::time::Instant) -> BoxFuture<'a, ()> {
        self.0.called_off.lock().unwrap().push(token.to_owned());
        Box::pin(std::future::ready(()))
    }
}

/// The one service that nobody here can call.
pub(crate) const ELSEWHERE: &str = "elsewhere";

fn find(runtime: &Runtime, service: &str) -> Result<Arc<dyn Caller>, Error> {
    if service == ELSEWHERE {
        return Err(Error::configuration("it is elsewhere"));
    }
    Ok(Arc::new(Sender(runtime.extension::<Service>())))
}

pub(crate) static PROFILE: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

/// A runtime and its service.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) service: Arc<Service>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(ServiceConfig::named("crm"), QueueConfig::default())
    }

    pub(crate) fn with(service: ServiceConfig, queue: QueueConfig) -> Self {
        let config = Config { queue, ..Config::default().service(service) };
        Self::of(Runtime::builder().configuration(config).in_memory())
    }

    pub(crate) fn of(builder: Builder) -> Self {
        Self::timed(builder, Clock::virtual_from(MORNING))
    }

    pub(crate) fn timed(builder: Builder, clock: Clock) -> Self {
        Self::seeded(builder, clock, 7)
    }

    /// Worlds that share a queue at once need seeds of their own, as processes have them.
    pub(crate) fn seeded(builder: Builder, clock: Clock, seed: u64) -> Self {
        let runtime = builder.profile(&PROFILE).clock(clock).seed(seed).build().expect("a correct configuration");
        let service = runtime.extension::<Service>();
        Self { runtime, service }
    }

    pub(crate) fn now(&self) -> Wall {
        self.runtime.clock().wall()
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Reply, Error> {
        let caller = find(&self.runtime, "crm")?;
        self.runtime.request(request, caller).await
    }

    /// Makes a call that is put off.
    pub(crate) async fn put_off(&self, request: Request) -> Ticket {
        let reply = self.call(request).await.unwrap();
        reply.disposition().ticket().cloned().unwrap_or_else(|| panic!("not put off: {:?}", reply.disposition()))
    }

    /// Opens the circuit of `crm.update`, which stays open for a minute, and heals the service again.
    pub(crate) async fn open_the_circuit(&self) {
        self.service.does(|_, _| Act::Fail(Class::Transient));
        for n in 0..5 {
            self.call(write(json!(format!("opens {n}")))).await.unwrap_err();
        }
        self.service.log.lock().unwrap().clear();
        self.service.is_well();
    }
}

pub(crate) fn write(id: Value) -> Request {
    let mut request = Request::new("crm", "update", &PROFILE);
    request.arguments.insert("id".to_owned(), id);
    request
}

pub(crate) fn deferrable(id: Value) -> Request {
    Request { deferrable: Some(true), ..write(id) }
}

pub(crate) fn queued(id: Value) -> Request {
    Request { queued: Some(true), ..write(id) }
}

pub(crate) fn window(written: &str) -> Window {
    written.parse().unwrap()
}

pub(crate) fn tool(tool: ToolConfig) -> ServiceConfig {
    ServiceConfig::named("crm").tool("update", tool)
}

pub(crate) fn is_made(reply: &Reply) -> bool {
    *reply.disposition() == Disposition::Done
}
