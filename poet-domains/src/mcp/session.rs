//! Keeps one live connection to a service, shared by all its callers.
//!
//! The SDK neither restarts a child nor notices a session that its server has forgotten. Here a connection that ended
//! is replaced on the next call, one whose session is unknown is replaced at once, and one that swallowed a request is
//! *suspect*: before its next use it is probed, unless another call on it succeeded meanwhile, and replaced if it does
//! not answer. Connecting is done once for all who wait for it, in a task of its own, so that a caller that gives up
//! does not make the next one start again. A replaced connection is closed when its last call has ended.

mod tasks;

use super::checks::Checks;
use super::connection::{Era, Limits, McpConnection, Pending, Target, ToolAnswer, ToolCall, ToolInfo};
use super::fault::{Fault, McpError};
use super::input::Helpers;
use super::task::Called;
use super::{classify, sdk};
use poet_runtime::Clock;
use poet_runtime::service::{AttemptContext, Vetting};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout_at;

/// What a connection comes from: a [`Target`], or a transport the SDK does not have.
pub trait Connector: Send + Sync + fmt::Debug {
    /// Connects to the server, taking it to be of the era it was found to be of before, and lists its tools.
    ///
    /// Whatever fails here, no call was sent.
    fn connect<'a>(&'a self, era: Option<Era>, limits: &'a Limits) -> Pending<'a, (Arc<dyn McpConnection>, Era)>;
}

impl Connector for Target {
    fn connect<'a>(&'a self, era: Option<Era>, limits: &'a Limits) -> Pending<'a, (Arc<dyn McpConnection>, Era)> {
        Box::pin(async move { sdk::connect(self, &Helpers::default(), era, limits).await })
    }
}

/// The supervised connection to one service. Clones share it.
///
/// Nothing is connected before the first call.
#[derive(Clone, Debug)]
pub struct Session(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Box<dyn Connector>,
    limits: Limits,
    checks: Arc<Checks>,
    state: Mutex<State>,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nobody has called yet, or it was closed because nobody did for long.
    Unconnected,
    /// The last try to connect failed; the next call tries again.
    Failed,
    /// It is being made for the first time.
    Connecting,
    /// It was lost or replaced, and is being made again.
    Reconnecting,
    /// It is there, as far as is known.
    Connected,
}

impl ConnectionState {
    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unconnected => "unconnected",
            Self::Failed => "failed",
            Self::Connecting => "connecting",
            Self::Reconnecting => "reconnecting",
            Self::Connected => "connected",
        }
    }

    /// The better it stands the higher.
    pub(super) const fn rank(self) -> u8 {
        self as u8
    }
}

#[derive(Debug, Default)]
struct State {
    slot: Slot,
    /// Whether the last try to connect failed.
    failed: bool,
    era: Option<Era>,
    tools: Option<Arc<[ToolInfo]>>,
    connects: u64,
}

type Outcome = Result<Arc<Live>, McpError>;

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Connecting(watch::Receiver<Option<Outcome>>),
    Live(Arc<Live>),
}

/// A connection in use; the last one to let go of it closes it.
#[derive(Debug)]
struct Live {
    connection: Arc<dyn McpConnection>,
    since: Instant,
    suspect: AtomicBool,
    /// Found not to answer; whoever still holds it looks for another one.
    condemned: AtomicBool,
    checking: tokio::sync::Mutex<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.connection.close();
    }
}

/// A call that ends neither in an answer nor in an error was dropped: nobody knows what became of it.
struct Watched<'a> {
    live: &'a Live,
    ended: bool,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.live.suspect.store(true, Ordering::Relaxed);
        }
    }
}

enum Step {
    Use(Arc<Live>),
    Check(Arc<Live>),
    Wait(watch::Receiver<Option<Outcome>>),
}

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(connector: impl Connector + 'static, limits: Limits) -> Self {
        Self::checked(connector, limits, Arc::default())
    }

    /// A session whose calls are checked as configured.
    pub(super) fn checked(connector: impl Connector + 'static, limits: Limits, checks: Arc<Checks>) -> Self {
        Self(Arc::new(Shared { connector: Box::new(connector), limits, checks, state: Mutex::default() }))
    }

    /// How often a connection was started; more than once only if one was lost.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.locked().connects
    }

    /// What the server said about a tool when it was last connected; `None` if it never was, or has no such tool.
    #[must_use]
    pub fn known_tool(&self, name: &str) -> Option<ToolInfo> {
        self.locked().tools.as_ref()?.iter().find(|tool| tool.name == name).cloned()
    }

    /// The tools that the server listed when it was last asked; `None` if it never answered.
    #[must_use]
    pub fn known_tools(&self) -> Option<Arc<[ToolInfo]>> {
        self.locked().tools.clone()
    }

    /// Whether the server has said since that its tools have changed. They are listed anew before the next call.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        matches!(&self.locked().slot, Slot::Live(live) if live.connection.is_outdated())
    }

    /// Whether the server's tools are known, from a connection of now or before.
    #[must_use]
    pub fn knows_tools(&self) -> bool {
        self.locked().tools.is_some()
    }

    /// Calls a tool; ends by `until`.
    ///
    /// # Errors
    ///
    /// If there is no connection, or no answer, or the answer is an error. What the tool itself calls an error
    /// (`isError`) is [`Fault::Tool`]; what it does not call one and is, [`Fault::Masked`]. One that the server does in its
    /// own time, by a task, is waited for, and cancelled at the end of the time.
    pub async fn call(
        &self,
        tool: &str,
        arguments: &Map<String, Value>,
        until: Instant,
        meta: Option<Map<String, Value>>,
    ) -> Result<ToolAnswer, McpError> {
        let due = Due::of(until);
        match self.call_once(tool, arguments, &due, meta).await? {
            Called::Answered(answer) => Ok(answer),
            Called::TakenOn(task) => self.wait_for(task, tool, arguments, &due).await,
        }
    }

    /// Asks the server for its tools; ends by `until`.
    ///
    /// # Errors
    ///
    /// If there is no connection, or no answer.
    pub async fn list_tools(&self, until: Instant) -> Result<Arc<[ToolInfo]>, McpError> {
        self.list_once(&Due::of(until)).await
    }

    pub(super) async fn call_once(
        &self,
        tool: &str,
        arguments: &Map<String, Value>,
        due: &Due,
        meta: Option<Map<String, Value>>,
    ) -> Result<Called, McpError> {
        let live = self.live(due.connected).await?;
        let tools = live.connection.tools();
        let known = tools.iter().find(|known| known.name == tool);
        if let Some(problem) = self.0.checks.refuse(tool, known, arguments) {
            return Err(McpError::new(Fault::Refused, problem));
        }
        let call = ToolCall { name: tool, arguments, until: due.answered, meta, tasks: due.tasks };
        let result = match self.watch(&live, live.connection.call(call)).await {
            Ok(Called::TakenOn(task)) => return Ok(Called::TakenOn(task)),
            Ok(Called::Answered(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        let answer = judged(result, known.is_some())?;
        self.0.checks.accept(tool, known, arguments, answer).map(Called::from)
    }

    /// What is checked about a call.
    pub(super) fn vet(&self, tool: &str, known: Option<&ToolInfo>, arguments: &Map<String, Value>) -> Vetting {
        self.0.checks.vetting(tool, known, arguments)
    }

    pub(super) async fn list_once(&self, due: &Due) -> Result<Arc<[ToolInfo]>, McpError> {
        let live = self.live(due.connected).await?;
        let tools = self.watch(&live, live.connection.list_tools(due.answered)).await?;
        self.locked().tools = Some(tools.clone());
        Ok(tools)
    }

    /// Lets go of the connection; it is closed in the background once no call uses it. The next call connects anew.
    pub fn close(&self) {
        let slot = std::mem::take(&mut self.locked().slot);
        drop(slot);
    }

    /// How the connection stands.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        let state = self.locked();
        match &state.slot {
            Slot::Live(live) if !live.connection.is_dead() => ConnectionState::Connected,
            Slot::Connecting(_) if state.connects > 1 => ConnectionState::Reconnecting,
            Slot::Connecting(_) => ConnectionState::Connecting,
            Slot::Empty | Slot::Live(_) if state.failed => ConnectionState::Failed,
            Slot::Empty | Slot::Live(_) => ConnectionState::Unconnected,
        }
    }

    /// Since when it is connected; `None` where it is not.
    pub(super) fn connected_at(&self) -> Option<Instant> {
        match &self.locked().slot {
            Slot::Live(live) if !live.connection.is_dead() => Some(live.since),
            _ => None,
        }
    }

    /// Connects, unless it is connected.
    pub(super) async fn connect(&self, until: Instant) -> Result<(), McpError> {
        self.live(until).await.map(drop)
    }

    /// Asks the server whether it still answers, and connects anew where it does not.
    pub(super) async fn examine(&self, until: Instant) -> Result<(), McpError> {
        if let Slot::Live(live) = &self.locked().slot {
            live.suspect.store(true, Ordering::Relaxed);
        }
        self.connect(until).await
    }

    /// Waits for the answer to a request and learns from how it ended, if only by being dropped.
    async fn watch<T>(&self, live: &Arc<Live>, answer: Pending<'_, T>) -> Result<T, McpError> {
        let mut watched = Watched { live, ended: false };
        let result = answer.await;
        watched.ended = true;
        self.learn(live, result.as_ref().err());
        result
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is believed to be well.
    async fn live(&self, until: Instant) -> Result<Arc<Live>, McpError> {
        loop {
            if Clock::system().now() >= until {
                return Err(McpError::new(Fault::Timeout { sent: false }, ""));
            }
            match self.step() {
                Step::Use(live) => return Ok(live),
                Step::Check(live) => {
                    if live.check(until, self.0.limits.health_probe).await? {
                        self.locked().tools = Some(live.connection.tools());
                        return Ok(live);
                    }
                    self.discard(&live);
                }
                Step::Wait(mut connecting) => {
                    // `None` is an outcome that never came: the runtime the task ran on has ended, and the task with it.
                    let outcome = match timeout_at(until.into(), connecting.wait_for(Option::is_some)).await {
                        Err(_) => return Err(McpError::new(Fault::Timeout { sent: false }, "still connecting")),
                        Ok(outcome) => outcome.ok().and_then(|outcome| outcome.clone()),
                    };
                    match outcome {
                        Some(outcome) => return outcome,
                        None => self.forget(&connecting),
                    }
                }
            }
        }
    }

    fn step(&self) -> Step {
        let mut state = self.locked();
        match &state.slot {
            Slot::Live(live) if live.connection.is_dead() => {}
            Slot::Live(live) if live.is_doubtful() => return Step::Check(live.clone()),
            Slot::Live(live) => return Step::Use(live.clone()),
            Slot::Connecting(connecting) => return Step::Wait(connecting.clone()),
            Slot::Empty => {}
        }
        let (tell, told) = watch::channel(None);
        state.connects += 1;
        let replaced = std::mem::replace(&mut state.slot, Slot::Connecting(told.clone()));
        let era = state.era;
        drop(state);
        drop(replaced);
        let session = self.clone();
        tokio::spawn(async move {
            let result = session.0.connector.connect(era, &session.0.limits).await;
            let outcome = session.connected(result, &tell);
            tell.send_replace(Some(outcome));
        });
        Step::Wait(told)
    }

    fn connected(
        &self,
        result: Result<(Arc<dyn McpConnection>, Era), McpError>,
        tell: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let mut state = self.locked();
        // Closed meanwhile: those who wait may use it, nobody else.
        let mine = matches!(&state.slot, Slot::Connecting(told) if told.same_channel(&tell.subscribe()));
        match result {
            Ok((connection, era)) => {
                state.era = Some(era);
                state.tools = Some(connection.tools());
                state.failed = false;
                let live = Arc::new(Live {
                    connection,
                    since: Clock::system().now(),
                    suspect: false.into(),
                    condemned: false.into(),
                    checking: tokio::sync::Mutex::new(()),
                });
                if mine {
                    state.slot = Slot::Live(live.clone());
                }
                Ok(live)
            }
            Err(error) => {
                if mine {
                    state.slot = Slot::Empty;
                    state.failed = true;
                }
                Err(error)
            }
        }
    }

    fn forget(&self, connecting: &watch::Receiver<Option<Outcome>>) {
        let mut state = self.locked();
        if matches!(&state.slot, Slot::Connecting(told) if told.same_channel(connecting)) {
            state.slot = Slot::Empty;
        }
    }

    fn discard(&self, dead: &Arc<Live>) {
        let mut state = self.locked();
        let replaced = match &state.slot {
            Slot::Live(live) if Arc::ptr_eq(live, dead) => Some(std::mem::take(&mut state.slot)),
            _ => None,
        };
        drop(state);
        drop(replaced);
    }

    fn forget_era(&self, live: &Arc<Live>) {
        self.locked().era = None;
        self.discard(live);
    }

    /// Draws the conclusions about the connection from how a call on it ended.
    fn learn(&self, live: &Arc<Live>, error: Option<&McpError>) {
        const UNSUPPORTED_VERSION: Fault = Fault::Rpc { code: -32022 };
        match error.map(McpError::fault) {
            Some(Fault::Session) => self.discard(live),
            Some(UNSUPPORTED_VERSION) => self.forget_era(live),
            // A server replaced by an older one refuses what it does not understand in ways of its own.
            Some(Fault::Http { status: 400 | 404 | 405, .. }) if self.locked().era == Some(Era::Modern) => {
                self.forget_era(live);
            }
            Some(Fault::Lost | Fault::Connect | Fault::Timeout { .. }) => live.suspect.store(true, Ordering::Relaxed),
            // Whatever it was, the server answered.
            _ => live.suspect.store(false, Ordering::Relaxed),
        }
    }
}

impl Live {
    /// Whether the server has to be asked something before the connection is used again.
    fn is_doubtful(&self) -> bool {
        self.suspect.load(Ordering::Relaxed) || self.connection.is_outdated()
    }

    /// Whether a doubtful connection answers; asked once for all who wait for it.
    async fn check(&self, until: Instant, limit: Duration) -> Result<bool, McpError> {
        let Ok(_asking) = timeout_at(until.into(), self.checking.lock()).await else {
            return Err(McpError::new(Fault::Timeout { sent: false }, "still probing the connection"));
        };
        if self.condemned.load(Ordering::Relaxed) || self.connection.is_dead() {
            return Ok(false);
        }
        if !self.is_doubtful() {
            return Ok(true);
        }
        // Half of what is left at most, so that there is time to connect anew.
        let now = Clock::system().now();
        let asked_by = now + limit.min(until.saturating_duration_since(now) / 2);
        let asked = if self.connection.is_outdated() {
            self.connection.list_tools(asked_by).await.map(|_| ())
        } else {
            self.connection.probe(asked_by).await
        };
        // A refusal is an answer too; the call will get its own.
        let answered = match asked.map_err(|error| error.fault()) {
            Ok(()) => true,
            Err(fault) => matches!(fault, Fault::Http { .. } | Fault::Rpc { .. }),
        };
        self.suspect.store(!answered, Ordering::Relaxed);
        self.condemned.store(!answered, Ordering::Relaxed);
        Ok(answered)
    }
}

/// By when a call has to be connected, and by when it has to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    connected: Instant,
    answered: Instant,
    /// Whether it will do if the server takes it on by then.
    tasks: bool,
}

impl Due {
    /// For a call that ends itself.
    pub(super) fn of(until: Instant) -> Self {
        // A little earlier: that nothing was sent is known here, and lost if whoever waits drops the call first.
        const MARGIN: Duration = Duration::from_millis(5);
        let left = until.saturating_duration_since(Clock::system().now());
        Self { connected: until.checked_sub(MARGIN.min(left / 4)).unwrap_or(until), answered: until, tasks: false }
    }

    /// With less time to connect, so that there is some for another endpoint.
    pub(super) fn connected_by(self, instant: Instant) -> Self {
        Self { connected: self.connected.min(instant), ..self }
    }

    /// By when it has to be connected.
    pub(super) fn connected(&self) -> Instant {
        self.connected
    }

    /// For an attempt that the pipeline drops when its time is up, which progress puts off, and then says itself which of
    /// its limits it was.
    pub(super) fn of_attempt(attempt: AttemptContext) -> Self {
        const NEVER_REACHED: Duration = Duration::from_secs(1);
        let (answered, tasks) = (attempt.deadline + NEVER_REACHED, attempt.may_be_accepted);
        Self { answered, tasks, ..Self::of(attempt.until) }
    }
}

/// What an answer means, given whether the tool is on the server's list.
fn judged(result: Result<ToolAnswer, McpError>, listed: bool) -> Result<ToolAnswer, McpError> {
    let unknown = |text: &str| !listed && classify::reads_as_unknown_tool(text);
    match result {
        Ok(answer) if unknown(&answer.text) => Err(McpError::new(Fault::UnknownTool, answer.text)),
        Ok(answer) if answer.is_error => Err(McpError::tool(answer.text)),
        Err(error) if matches!(error.fault(), Fault::Rpc { .. }) && unknown(error.text()) => {
            Err(McpError::new(Fault::UnknownTool, error.text()))
        }
        result => result,
    }
}

#[cfg(test)]
mod tests;
