//! A tower layer: any HTTP client that is a service, through every stage of the runtime.
//!
//! The layer knows when a request may be repeated (its method, an `Idempotency-Key`, what the author or the configuration
//! says, and whether its body can be sent again) and what an answer says about the service. The rest is the runtime's.
//! What the service answered last is the caller's, whatever its status; an error is what there was no answer for.

mod body;
mod operation;
mod options;

pub use body::{Cloned, CopiedBy, Repeats, Streaming};
pub use options::CallOptions;

use self::body::Bodies;
use self::operation::Names;
use super::classify::{class_of, class_of_error};
use super::repeat::is_repeatable;
use crate::HTTP_API;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use poet_runtime::service::{Failure, ServiceCall};
use poet_runtime::{Class, Error, Runtime, Wall};
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

type BoxError = Box<dyn StdError + Send + Sync>;
type RouteOf = dyn Fn(&Parts) -> Option<String> + Send + Sync;
type AnswerSays = dyn Fn(StatusCode, &HeaderMap) -> Option<Class> + Send + Sync;
type ErrorSays = dyn Fn(&(dyn StdError + 'static)) -> Option<Class> + Send + Sync;

/// The response of a call that passes every stage, or why there was none.
pub type ResponseFuture<Out> = Pin<Box<dyn Future<Output = Result<Response<Out>, Error>> + Send>>;

/// Makes the calls of an HTTP client reliable: deadline, safe retries, circuit breaker, places, learning.
///
/// It goes around any `tower` service from `http::Request<B>` to `http::Response<_>`, clients of hyper-util and tonic
/// among them. The service that is learned of is the name given here; the operation is the method and the route, which
/// the author says ([`CallOptions::route`], [`route`](Self::route)) or which is read off the path.
///
/// # What the caller gets
///
/// `Ok` is what the service answered **last**, a 404 or the 503 after the last retry among them. `Err` is an [`Error`]:
/// the call was refused (circuit open, deadline, no place), or the last attempt had no answer; then the client's own
/// error is its source, and [`Error::is_outcome_unknown`] says that a request that may not be repeated may have been
/// executed.
///
/// # What is repeated
///
/// Requests whose method is idempotent or that carry an `Idempotency-Key`; see [`is_repeatable`]. The author's word for a
/// request or the layer ([`CallOptions::idempotent`]) stands before what is configured for the operation, and that before
/// the method. Any other request is started again only where it was surely not executed: not connected, 429, 503 with
/// `Retry-After`. A body has to be sent again, too: it is cloned. One that cannot be is [`streaming`](Self::streaming),
/// and never repeated.
///
/// An attempt ends with the head of its response: what is read of the body later is neither timed nor repeated.
///
/// # Examples
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use poet_domains::http::PoetLayer;
/// use poet_runtime::Runtime;
/// use std::convert::Infallible;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower::{Service as _, ServiceBuilder, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// static ASKED: AtomicU32 = AtomicU32::new(0);
/// // Whatever client you use; this one fails the first time.
/// let client = service_fn(|_: Request<String>| async {
///     let mut response = Response::new("7 customers");
///     if ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
///         *response.status_mut() = StatusCode::BAD_GATEWAY;
///     }
///     Ok::<_, Infallible>(response)
/// });
/// let mut crm = ServiceBuilder::new().layer(PoetLayer::new("crm")).service(client);
///
/// let runtime = Runtime::builder().in_memory().build()?;
/// let request = Request::get("https://crm.example.com/v1/customers").body(String::new())?;
/// let response = runtime.scope(async { crm.call(request).await }).await?;
/// assert_eq!(*response.body(), "7 customers");
/// assert_eq!(ASKED.load(Ordering::Relaxed), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PoetLayer<R = Cloned> {
    settings: Settings,
    repeats: R,
}

#[derive(Clone)]
struct Settings {
    /// `None`: the host of each request.
    service: Option<Cow<'static, str>>,
    options: CallOptions,
    route: Option<Arc<RouteOf>>,
    answer: Option<Arc<AnswerSays>>,
    error: Option<Arc<ErrorSays>>,
    runtime: Option<Runtime>,
    names: Arc<Names>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("service", &self.service)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl PoetLayer {
    /// A layer around the client of one service, by the name it is learned and configured under.
    pub fn new(service: impl Into<Cow<'static, str>>) -> Self {
        Self::named(Some(service.into()))
    }

    /// A layer around a client of many services: each host, with the port where one is written, is one.
    ///
    /// For hosts that a program names, not for those that its users do: no service is ever forgotten.
    pub fn by_host() -> Self {
        Self::named(None)
    }

    fn named(service: Option<Cow<'static, str>>) -> Self {
        Self {
            settings: Settings {
                service,
                options: CallOptions::new(),
                route: None,
                answer: None,
                error: None,
                runtime: None,
                names: Arc::default(),
            },
            repeats: Cloned,
        }
    }

    /// For bodies that cannot be cloned: every request is sent once.
    pub fn streaming(self) -> PoetLayer<Streaming> {
        PoetLayer { settings: self.settings, repeats: Streaming }
    }

    /// For bodies of which some can be copied: those in memory, and not those that are read as they are sent. What there
    /// is no copy of is sent once.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::body::HttpBody as _;
    /// use poet_domains::http::PoetLayer;
    ///
    /// // Nothing is lost of a body that is empty.
    /// let layer = PoetLayer::new("crm").repeat_with(|body: &axum::body::Body| {
    ///     body.is_end_stream().then(axum::body::Body::empty)
    /// });
    /// # drop(layer);
    /// ```
    pub fn repeat_with<F>(self, copy: F) -> PoetLayer<CopiedBy<F>> {
        PoetLayer { settings: self.settings, repeats: CopiedBy(copy) }
    }
}

impl<R> PoetLayer<R> {
    /// What holds for every request that says nothing else in its extensions.
    pub fn options(mut self, options: CallOptions) -> Self {
        self.settings.options = options;
        self
    }

    /// Says the route of a request; `None`: it is read off the path. One of those that an API has, never a path itself.
    pub fn route(mut self, route: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.settings.route = Some(Arc::new(route));
        self
    }

    /// Says what an answer means before its status does; `None`: its status says it.
    pub fn answer_class(
        mut self,
        class: impl Fn(StatusCode, &HeaderMap) -> Option<Class> + Send + Sync + 'static,
    ) -> Self {
        self.settings.answer = Some(Arc::new(class));
        self
    }

    /// Says what an error of the client means before its sources do; `None`: they say it.
    ///
    /// Worth it where only the client knows that it has not connected: a request that was not sent can be sent again,
    /// whatever it is.
    pub fn error_class(
        mut self,
        class: impl Fn(&(dyn StdError + 'static)) -> Option<Class> + Send + Sync + 'static,
    ) -> Self {
        self.settings.error = Some(Arc::new(class));
        self
    }

    /// The runtime of these calls. Without it, the one that is in force where a call is made.
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.settings.runtime = Some(runtime);
        self
    }
}

impl<S, R: Clone> Layer<S> for PoetLayer<R> {
    type Service = PoetService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        PoetService { inner, settings: Arc::new(self.settings.clone()), repeats: self.repeats.clone() }
    }
}

/// A client under a [`PoetLayer`].
///
/// It is always ready: waiting for the client below is a part of each attempt, and so is bounded by its limit.
#[derive(Clone, Debug)]
pub struct PoetService<S, R = Cloned> {
    inner: S,
    settings: Arc<Settings>,
    repeats: R,
}

impl<S, R, B, Out> Service<Request<B>> for PoetService<S, R>
where
    S: Service<Request<B>, Response = Response<Out>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    R: Repeats<B>,
    B: Send + 'static,
    Out: Send + 'static,
{
    type Response = Response<Out>;
    type Error = Error;
    type Future = ResponseFuture<Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let runtime = self.settings.runtime.clone().unwrap_or_else(Runtime::current);
        Box::pin(send(runtime, self.clone(), request))
    }
}

async fn send<S, R, B, Out>(
    runtime: Runtime,
    client: PoetService<S, R>,
    request: Request<B>,
) -> Result<Response<Out>, Error>
where
    S: Service<Request<B>, Response = Response<Out>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    R: Repeats<B>,
    B: Send + 'static,
    Out: Send + 'static,
{
    let PoetService { inner, settings, repeats } = client;
    let (parts, body) = request.into_parts();
    let mut bodies = Bodies::of(body, &repeats);
    let order = settings.order(&runtime, &parts);
    let options = order.options;
    let call = ServiceCall {
        // A copy may be sent while the first is under way, so what cannot be copied is not repeatable here.
        repeatable: order.repeatable && bodies.repeat(),
        retries: if bodies.repeat() { options.retries } else { Some(0) },
        priority: options.priority,
        deadline: options.deadline,
        timeout: options.timeout,
        ..ServiceCall::new(&order.service, &order.operation, &HTTP_API)
    };
    let (parts, settings, clock) = (&parts, &settings, runtime.clock());
    let result = runtime
        // Owns the client, which need not be `Sync`.
        .call(&call, move |attempt| {
            let request = bodies.next(attempt.last, &repeats).map(|body| Request::from_parts(parts.clone(), body));
            let mut inner = inner.clone();
            async move {
                let request = request.ok_or_else(|| Failure::new(Class::Permanent, "the body cannot be sent again"))?;
                let failure = |error: S::Error, unknown| settings.failure(error.into(), unknown);
                let ready = poll_fn(|cx| inner.poll_ready(cx)).await;
                ready.map_err(|error| failure(error, Some(Class::Network { sent: false })))?;
                let response = inner.call(request).await.map_err(|error| failure(error, None))?;
                match settings.class(&response, clock.wall()) {
                    Class::Success => Ok(Arc::new(Answered::of(response))),
                    class => Err(Failure::new(class, Answered::of(response))),
                }
            }
        })
        .await;
    let answered = match &result {
        Ok(answer) => answer.value.take(),
        Err(error) => error.source().and_then(|source| source.downcast_ref::<Answered<Out>>()?.take()),
    };
    match (answered, result) {
        (Some(response), _) => Ok(response),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => unreachable!("the answer of a call that is shared with nobody is taken once"),
    }
}

/// What is known of a request before it is sent.
struct Order {
    service: String,
    operation: String,
    repeatable: bool,
    options: CallOptions,
}

impl Settings {
    fn order(&self, runtime: &Runtime, parts: &Parts) -> Order {
        let options = parts.extensions.get::<CallOptions>().cloned().unwrap_or_default().or(&self.options);
        let service = self.service.as_ref().map_or_else(|| operation::host(parts), |name| name.clone().into_owned());
        let said = options.route.clone().map(Cow::into_owned).or_else(|| self.route.as_ref()?(parts));
        let operation = match said {
            Some(route) => format!("{} {route}", parts.method),
            None => self.names.operation(&service, parts),
        };
        let configured = runtime.config().services.get(&service).and_then(|service| service.tools.get(&operation));
        let configured = configured.and_then(|tool| tool.idempotent.or(tool.read_only.filter(|&reads| reads)));
        let repeatable =
            options.idempotent.or(configured).unwrap_or_else(|| is_repeatable(&parts.method, &parts.headers));
        Order { service, operation, repeatable, options }
    }

    fn class<Out>(&self, response: &Response<Out>, now: Wall) -> Class {
        let (status, headers) = (response.status(), response.headers());
        let said = self.answer.as_ref().and_then(|says| says(status, headers));
        said.or_else(|| by_grpc(status, headers)).unwrap_or_else(|| class_of(status, headers, now))
    }

    /// A failure without an answer; `unknown` is its class where nobody knows the error.
    fn failure(&self, error: BoxError, unknown: Option<Class>) -> Failure {
        let said = self.error.as_ref().and_then(|says| says(&*error));
        let class = said.or(unknown).unwrap_or_else(|| class_of_error(&*error));
        Failure::new(class, error)
    }
}

/// What a gRPC server says of a call that failed before it had anything to answer: then its status is in the head.
/// The status of one that failed later stands behind the body, where it is for the client to see.
fn by_grpc(status: StatusCode, headers: &HeaderMap) -> Option<Class> {
    let code = headers.get("grpc-status").filter(|_| status == StatusCode::OK)?;
    Some(match code.as_bytes() {
        b"0" => Class::Success,
        // Deadline exceeded.
        b"4" => Class::Timeout,
        // Unknown, resource exhausted, aborted, internal, unavailable.
        b"2" | b"8" | b"10" | b"13" | b"14" => Class::Transient,
        _ => Class::Permanent,
    })
}

/// A response on its way through the runtime, as a value or as the source of a failure.
struct Answered<Out> {
    status: StatusCode,
    response: Mutex<Option<Response<Out>>>,
}

impl<Out> Answered<Out> {
    fn of(response: Response<Out>) -> Self {
        Self { status: response.status(), response: Mutex::new(Some(response)) }
    }

    fn take(&self) -> Option<Response<Out>> {
        self.response.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<Out> fmt::Debug for Answered<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).finish_non_exhaustive()
    }
}

impl<Out> fmt::Display for Answered<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service answered {}", self.status)
    }
}

impl<Out> StdError for Answered<Out> {}
