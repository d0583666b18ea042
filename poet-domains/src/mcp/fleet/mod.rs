//! The endpoints of a service, and which of them a call goes to.
//!
//! Each endpoint has its own connections (`pool`) and its own vital signs (`vitals`); a strategy chooses between them
//! (`choose`). A call that could not be sent, because there was no connection, is sent to another endpoint within the same
//! attempt: nothing was executed, so that is safe for writes too. What failed after it was sent is not sent again here;
//! whether there is a second attempt is for the pipeline to say, and it goes elsewhere.

mod choose;
mod pool;
#[cfg(test)]
mod tests;
mod vitals;

use self::choose::{Candidate, Rota};
use self::pool::Pool;
use self::vitals::{Sign, Vitals};
use super::checks::Checks;
use super::connection::ToolInfo;
use super::fault::{Fault, McpError};
use super::session::{ConnectionState, Due, Session};
use super::task::{self, Token};
use poet_runtime::config::{BalancerConfig, Endpoint, PoolConfig};
use poet_runtime::service::{AttemptContext, Caller, Failure, Fetched, News, Request, Vetting, fraction};
use poet_runtime::store::BoxFuture;
use poet_runtime::{Class, Clock};
use serde_json::{Map, Value};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How an endpoint of a service stands, as its calls showed it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Its address without the parts in which people put keys, or the name of the program.
    pub endpoint: String,
    /// Its share of the calls, against the weights of the others.
    pub weight: u32,
    /// How well it is connected.
    pub state: ConnectionState,
    /// Its connections.
    pub connections: usize,
    /// Calls under way.
    pub in_flight: u32,
    /// Recent seconds of a call; a rise counts at once, a fall slowly.
    pub latency: Duration,
    /// The recent share of calls that succeeded, 1 before the first one. Half as much is believed of a call after seven
    /// newer ones.
    pub health: f64,
    /// For how long it is still left out, because it kept failing.
    pub left_out_for: Option<Duration>,
}

/// The endpoints of a service. Clones share them.
#[derive(Clone)]
pub(super) struct Fleet(Arc<Inner>);

struct Inner {
    balancer: BalancerConfig,
    checks: Arc<Checks>,
    make: Box<dyn Fn(&Place) -> Pool + Send + Sync>,
    state: Mutex<State>,
    seed: u64,
}

#[derive(Default)]
struct State {
    members: Vec<Arc<Member>>,
    rota: Rota,
    made: u64,
    drawn: u64,
}

/// Where an endpoint is: what tells it from the others, what may be shown of it, and its share.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: String,
    pub(super) shown: String,
    pub(super) weight: u32,
}

impl From<&Endpoint> for Place {
    fn from(endpoint: &Endpoint) -> Self {
        Self { address: endpoint.url.clone(), shown: endpoint.showable(), weight: endpoint.weight }
    }
}

struct Member {
    id: u64,
    place: Place,
    pool: Pool,
    in_flight: AtomicU32,
    vitals: Mutex<Vitals>,
}

impl Member {
    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a request here, and learns from how it ends.
    async fn make<T, F: Future<Output = Result<T, McpError>>>(
        &self,
        may_leave_out: bool,
        request: impl FnOnce(Session) -> F,
    ) -> Result<T, McpError> {
        let mut flight = Flight::begin(self, may_leave_out);
        let held = self.pool.hold();
        let result = request(held.session().clone()).await;
        flight.sign = sign(&result);
        result
    }

    fn candidate(&self, now: Instant) -> Candidate {
        let vitals = self.vitals();
        Candidate {
            id: self.id,
            weight: self.place.weight,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            latency: vitals.latency(now),
            health: vitals.health(),
        }
    }
}

/// One of the tools that a server listed.
pub(super) struct KnownTool {
    tools: Arc<[ToolInfo]>,
    place: usize,
}

impl Deref for KnownTool {
    type Target = ToolInfo;

    fn deref(&self) -> &ToolInfo {
        &self.tools[self.place]
    }
}

/// A call under way at an endpoint; one that is dropped says nothing about it.
struct Flight<'a> {
    member: &'a Member,
    began: Instant,
    may_leave_out: bool,
    sign: Sign,
}

impl<'a> Flight<'a> {
    fn begin(member: &'a Member, may_leave_out: bool) -> Self {
        member.in_flight.fetch_add(1, Ordering::Relaxed);
        member.vitals().begin();
        Self { member, began: Clock::system().now(), may_leave_out, sign: Sign::None }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let now = Clock::system().now();
        let took = now.saturating_duration_since(self.began);
        self.member.vitals().end(self.sign, took, self.may_leave_out, now);
        self.member.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Fleet {
    /// The endpoints at some places, each with a pool that `connect` makes the connections of.
    pub(super) fn new(
        places: impl IntoIterator<Item = Place>,
        pool: PoolConfig,
        balancer: BalancerConfig,
        checks: Arc<Checks>,
        connect: impl Fn(&Place) -> Session + Send + Sync + 'static,
    ) -> Self {
        let seed = RandomState::new().hash_one(0);
        let connect = Arc::new(connect);
        let make = move |place: &Place| {
            let (connect, place) = (connect.clone(), place.clone());
            Pool::new(pool, seed, move || connect(&place))
        };
        let fleet = Self(Arc::new(Inner { balancer, checks, make: Box::new(make), state: Mutex::default(), seed }));
        places.into_iter().for_each(|place| fleet.add(place));
        fleet
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an endpoint, or gives the one of that address another weight; what is known of it stays.
    pub(super) fn add(&self, place: Place) {
        let mut state = self.state();
        let known = state.members.iter().position(|member| member.place.address == place.address);
        if let Some(at) = known
            && state.members[at].place.weight == place.weight
        {
            return;
        }
        state.made += 1;
        let member = Member {
            id: state.made,
            pool: (self.0.make)(&place),
            place,
            in_flight: AtomicU32::new(0),
            vitals: Mutex::new(known.map_or_else(Vitals::default, |at| *state.members[at].vitals())),
        };
        match known {
            Some(at) => state.members[at] = Arc::new(member),
            None => state.members.push(Arc::new(member)),
        }
    }

    /// Takes an endpoint away; the calls under way at it end undisturbed. `false` where there is none of that address, or no
    /// other one.
    pub(super) fn remove(&self, address: &str) -> bool {
        let mut state = self.state();
        let known = state.members.iter().position(|member| member.place.address == address);
        let Some(at) = known.filter(|_| state.members.len() > 1) else { return false };
        let removed = state.members.remove(at);
        state.rota.forget(removed.id);
        true
    }

    /// How each endpoint stands.
    pub(super) fn status(&self) -> Vec<EndpointStatus> {
        let now = Clock::system().now();
        let members = self.state().members.clone();
        let status = |member: &Arc<Member>| {
            let vitals = *member.vitals();
            EndpointStatus {
                endpoint: member.place.shown.clone(),
                weight: member.place.weight,
                state: member.pool.state(),
                connections: member.pool.sessions().iter().filter(|one| one.connected_at().is_some()).count(),
                in_flight: member.in_flight.load(Ordering::Relaxed),
                latency: Duration::try_from_secs_f64(vitals.latency(now)).unwrap_or_default(),
                health: vitals.health(),
                left_out_for: vitals.out_until().and_then(|until| until.checked_duration_since(now)),
            }
        };
        members.iter().map(status).collect()
    }

    /// What a server said about a tool when it was last connected; `None` if none ever was, or has no such tool.
    pub(super) fn known_tool(&self, name: &str) -> Option<KnownTool> {
        let of = |tools: Arc<[ToolInfo]>| {
            let place = tools.iter().position(|tool| tool.name == name)?;
            Some(KnownTool { tools, place })
        };
        self.sessions().find_map(|session| session.known_tools().and_then(of))
    }

    /// Why a call may not be sent, as far as that is known before a server is asked.
    pub(super) fn refuse(
        &self,
        tool: &str,
        known: Option<&ToolInfo>,
        arguments: &Map<String, Value>,
    ) -> Option<String> {
        self.0.checks.refuse(tool, known, arguments)
    }

    /// What tells a tool from one of the same name that takes or answers something else; `None` if no server has listed it.
    pub(super) fn shape(&self, tool: &str) -> Option<u64> {
        Some(self.0.checks.shape(&*self.known_tool(tool)?))
    }

    /// The tools that a server listed last; `None` if none ever did.
    pub(super) fn known_tools(&self) -> Option<Arc<[ToolInfo]>> {
        self.sessions().find_map(|session| session.known_tools())
    }

    /// Whether a server has said since that its tools have changed.
    pub(super) fn is_outdated(&self) -> bool {
        self.sessions().any(|session| session.is_outdated())
    }

    fn sessions(&self) -> impl Iterator<Item = Session> {
        let members = self.state().members.clone();
        members.into_iter().flat_map(|member| member.pool.sessions())
    }

    /// Whom a call goes to: one that is not left out and was not tried, as long as there is one. Also whether there is
    /// another one to fall back on.
    fn choose(&self, tried: &[u64]) -> Option<(Arc<Member>, bool)> {
        let now = Clock::system().now();
        let mut state = self.state();
        if let [only] = &*state.members {
            return Some((only.clone(), false));
        }
        let State { members, rota, drawn, .. } = &mut *state;
        let places = |keep: &dyn Fn(&Member) -> bool| -> Vec<usize> {
            (0..members.len()).filter(|&place| keep(&members[place])).collect()
        };
        let untried = |member: &Member| !tried.contains(&member.id);
        let fresh = places(&|member| untried(member) && member.vitals().is_open(now));
        let open = if fresh.is_empty() { places(&untried) } else { fresh };
        let open = if open.is_empty() { places(&|_| true) } else { open };
        let candidates: Vec<_> = open.iter().map(|&place| members[place].candidate(now)).collect();
        let chance = || {
            *drawn += 1;
            fraction(self.0.seed, *drawn)
        };
        let chosen = rota.choose(self.0.balancer.strategy, &candidates, chance)?;
        let has_other = members.iter().filter(|member| untried(member)).count() > 1;
        Some((members[open[chosen]].clone(), has_other))
    }

    /// Makes a request of one endpoint, and of the next ones where it could not be sent; says whose answer it is. Those
    /// that failed are noted in `tried`, and avoided.
    async fn send<T, F: Future<Output = Result<T, McpError>>>(
        &self,
        tried: &Mutex<Vec<u64>>,
        due: Due,
        request: impl Fn(Session, Due) -> F,
    ) -> Result<(T, Arc<Member>), McpError> {
        let may_move = self.0.balancer.failover_enabled;
        loop {
            let known = tried.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some((member, has_other)) = self.choose(&known) else {
                return Err(McpError::new(Fault::Connect, "the service has no endpoint"));
            };
            let now = Clock::system().now();
            let left = due.connected().saturating_duration_since(now);
            let own = if may_move && has_other { due.connected_by(now + left / 2) } else { due };
            let error = match member.make(may_move, |session| request(session, own)).await {
                Ok(answer) => return Ok((answer, member)),
                Err(error) => error,
            };
            if speaks_about_the_endpoint(&error) {
                tried.lock().unwrap_or_else(PoisonError::into_inner).push(member.id);
            }
            let is_unsent = matches!(error.class(), Class::Network { sent: false });
            let in_time = Clock::system().now() < due.connected();
            if !(may_move && has_other && is_unsent && in_time) {
                return Err(error);
            }
        }
    }

    pub(super) async fn list(&self, due: Due) -> Result<Arc<[ToolInfo]>, McpError> {
        let list = |session: Session, due: Due| async move { session.list_once(&due).await };
        Ok(self.send(&Mutex::default(), due, list).await?.0)
    }

    /// Asks the endpoint that knows a task, or any where that one is not there any more.
    async fn of_task<T, F: Future<Output = Result<T, McpError>>>(
        &self,
        token: &Token<'_>,
        due: Due,
        request: impl Fn(Session, Due) -> F,
    ) -> Result<T, McpError> {
        let known = self.state().members.iter().find(|member| token.is_of(&member.place.address)).cloned();
        match known {
            Some(member) => member.make(false, |session| request(session, due)).await,
            None => Ok(self.send(&Mutex::default(), due, request).await?.0),
        }
    }

    /// Who makes the attempts of one call.
    pub(super) fn caller(&self) -> Arc<dyn Caller> {
        Arc::new(Voyage { fleet: self.clone(), tried: Mutex::default() })
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.status()).finish()
    }
}

/// One call, and the endpoints at which it failed.
#[derive(Debug)]
struct Voyage {
    fleet: Fleet,
    tried: Mutex<Vec<u64>>,
}

impl Caller for Voyage {
    fn attempt<'a>(&'a self, request: &'a Request, attempt: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move {
            let call = |session: Session, due: Due| async move {
                session.call_once(&request.operation, &request.arguments, &due, None).await
            };
            let sent = self.fleet.send(&self.tried, Due::of_attempt(attempt), call).await;
            let (called, member) = sent.map_err(failure)?;
            Ok(task::fetched(called, |id| Token::write(&member.place.address, id)))
        })
    }

    fn ask<'a>(
        &'a self,
        request: &'a Request,
        token: &'a str,
        attempt: AttemptContext,
    ) -> BoxFuture<'a, Result<News, Failure>> {
        Box::pin(async move {
            let known = Token::read(token);
            let ask = |session: Session, due: Due| async move {
                session.follow_once(known.id, &request.operation, &request.arguments, &due).await
            };
            task::news(self.fleet.of_task(&known, Due::of_attempt(attempt), ask).await, token)
        })
    }

    fn asks_as(&self) -> &'static str {
        task::ASK
    }

    fn call_off<'a>(&'a self, _: &'a Request, token: &'a str, until: Instant) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let known = Token::read(token);
            let forgo = |session: Session, _| async move { session.forgo(known.id, until).await };
            if let Err(error) = self.fleet.of_task(&known, Due::of(until), forgo).await {
                tracing::debug!(%error, "a server could not be told that nobody wants its task any more");
            }
        })
    }

    fn vetting(&self, request: &Request) -> Vetting {
        let known = self.fleet.known_tool(&request.operation);
        self.fleet.0.checks.vetting(&request.operation, known.as_deref(), &request.arguments)
    }
}

pub(super) fn failure(error: McpError) -> Failure {
    Failure::new(error.class(), error)
}

/// What an end says about the endpoint: an answer is one, even where it says that the request was wrong.
fn sign<T>(result: &Result<T, McpError>) -> Sign {
    match result {
        Err(error) if speaks_about_the_endpoint(error) => Sign::Ill,
        Err(error) if error.fault() == Fault::Session => Sign::None,
        Ok(_) | Err(_) => Sign::Well,
    }
}

fn speaks_about_the_endpoint(error: &McpError) -> bool {
    match error.fault() {
        Fault::Start => true,
        Fault::Session => false,
        _ => !matches!(error.class(), Class::Permanent | Class::Cancelled | Class::Success),
    }
}
