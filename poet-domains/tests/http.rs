//! The layer around HTTP clients: in process in virtual time, and over loopback against a real server.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use poet_domains::http::{CallOptions, Cloned, IDEMPOTENCY_KEY, PoetLayer, PoetService, Repeats};
use poet_runtime::config::{Config, ServiceConfig, ToolConfig};
use poet_runtime::{Class, Clock, Error, Priority, Runtime, Wall};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;
use tower::{Layer as _, Service, ServiceBuilder, service_fn};

const SECOND: Duration = Duration::from_secs(1);
/// Seconds since the epoch at which every virtual clock here begins.
const BEGAN: u64 = 1_700_000_000;

fn runtime(config: ServiceConfig) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(i64::try_from(BEGAN).unwrap() * 1000));
    let config = Config::default().service(config);
    Runtime::builder().configuration(config).in_memory().clock(clock).seed(7).build().unwrap()
}

fn crm() -> ServiceConfig {
    ServiceConfig::named("crm")
}

/// A client in process: answers the n-th request (counted from 1) as its script says, and notes what it was sent.
struct Client<B = String> {
    script: fn(usize) -> Says,
    sent: Arc<Mutex<Vec<Sent<B>>>>,
}

impl<B> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self { script: self.script, sent: self.sent.clone() }
    }
}

struct Sent<B> {
    at: Instant,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: B,
}

enum Says {
    /// A status, and its `Retry-After`.
    Status(u16, Option<String>),
    Fails(io::ErrorKind),
    Hangs,
}

fn status(status: u16) -> Says {
    Says::Status(status, None)
}

impl<B: Send + 'static> Client<B> {
    fn new(script: fn(usize) -> Says) -> Self {
        Self { script, sent: Arc::default() }
    }

    fn times(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// When the n-th request was sent, from `began` on.
    fn after(&self, n: usize, began: Instant) -> Duration {
        self.sent.lock().unwrap()[n - 1].at - began
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for it")]
    fn under<R: Repeats<B>>(&self, layer: PoetLayer<R>) -> PoetService<Self, R> {
        layer.layer(self.clone())
    }
}

impl<B: Send + 'static> Service<Request<B>> for Client<B> {
    type Response = Response<String>;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let mut sent = self.sent.lock().unwrap();
        let (at, method, uri, headers) = (Instant::now(), parts.method, parts.uri, parts.headers);
        sent.push(Sent { at, method, uri, headers, body });
        let (n, says) = (sent.len(), (self.script)(sent.len()));
        Box::pin(async move {
            let (status, retry_after) = match says {
                Says::Status(status, retry_after) => (status, retry_after),
                Says::Fails(kind) => return Err(kind.into()),
                Says::Hangs => pending().await,
            };
            let mut response = Response::builder().status(status);
            if let Some(wait) = retry_after {
                response = response.header("retry-after", wait);
            }
            Ok(response.body(format!("answer {n}")).unwrap())
        })
    }
}

fn request(method: Method, uri: &str) -> Request<String> {
    Request::builder().method(method).uri(uri).body("the body".to_owned()).unwrap()
}

fn get() -> Request<String> {
    request(Method::GET, "https://crm.example.com/customers")
}

fn post() -> Request<String> {
    request(Method::POST, "https://crm.example.com/orders")
}

fn keyed(mut request: Request<String>) -> Request<String> {
    request.headers_mut().insert(IDEMPOTENCY_KEY, "order-7".parse().unwrap());
    request
}

fn with(mut request: Request<String>, options: CallOptions) -> Request<String> {
    request.extensions_mut().insert(options);
    request
}

type Outcome = Result<Response<String>, Error>;

/// Sends one request through the layer; returns how often the client was called, and what came back.
async fn send(request: Request<String>, script: fn(usize) -> Says) -> (usize, Outcome) {
    send_in(&runtime(crm()), request, script).await
}

async fn send_in(runtime: &Runtime, request: Request<String>, script: fn(usize) -> Says) -> (usize, Outcome) {
    let client = Client::new(script);
    let outcome = client.under(PoetLayer::new("crm").runtime(runtime.clone())).call(request).await;
    (client.times(), outcome)
}

fn told(outcome: Outcome) -> (u16, String) {
    let response = outcome.unwrap();
    (response.status().as_u16(), response.into_body())
}

#[tokio::test(start_paused = true)]
async fn what_may_be_repeated_is_and_nothing_else() {
    // How often a request that is answered with 500 is sent.
    let fails = |_| status(500);
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(send(request(method.clone(), "/orders"), fails).await.0, 3, "{method}");
    }
    for method in [Method::POST, Method::PATCH] {
        assert_eq!(send(request(method.clone(), "/orders"), fails).await.0, 1, "{method}");
        assert_eq!(send(keyed(request(method.clone(), "/orders")), fails).await.0, 3, "{method} with a key");
    }
    assert_eq!(send(request(Method::from_bytes(b"LOCK").unwrap(), "/orders"), fails).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_the_same_request_again() {
    let client = Client::new(|n| status(if n < 3 { 503 } else { 201 }));
    let mut service = client.under(PoetLayer::new("crm").runtime(runtime(crm())));
    assert_eq!(told(service.call(keyed(post())).await), (201, "answer 3".to_owned()));
    for sent in client.sent.lock().unwrap().iter() {
        assert_eq!((&sent.method, sent.uri.path(), &*sent.body), (&Method::POST, "/orders", "the body"));
        assert_eq!(sent.headers[IDEMPOTENCY_KEY], "order-7");
    }
}

#[tokio::test(start_paused = true)]
async fn the_word_of_the_author_stands_before_the_configuration_and_that_before_the_method() {
    let fails = |_| status(500);
    let said = |idempotent| CallOptions::new().idempotent(idempotent);
    assert_eq!(send(with(post(), said(true)), fails).await.0, 3);
    assert_eq!(send(with(get(), said(false)), fails).await.0, 1);

    let never = ToolConfig { idempotent: Some(false), ..ToolConfig::default() };
    let config =
        || crm().tool("POST /orders", ToolConfig::default().idempotent()).tool("GET /customers", never.clone());
    assert_eq!(send_in(&runtime(config()), post(), fails).await.0, 3);
    assert_eq!(send_in(&runtime(config()), get(), fails).await.0, 1);
    assert_eq!(send_in(&runtime(config()), with(get(), said(true)), fails).await.0, 3);
    assert_eq!(send_in(&runtime(config()), with(post(), said(false)), fails).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn the_caller_gets_what_the_service_answered_last() {
    let (times, outcome) = send(get(), |n| status(if n < 3 { 500 } else { 502 })).await;
    assert_eq!((times, told(outcome)), (3, (502, "answer 3".to_owned())));
    let (times, outcome) = send(get(), |_| status(404)).await;
    assert_eq!((times, told(outcome)), (1, (404, "answer 1".to_owned())));
    let (times, outcome) = send(post(), |_| status(504)).await;
    assert_eq!((times, told(outcome)), (1, (504, "answer 1".to_owned())), "answered, though unknown whether it ran");
    let (times, outcome) = send(post(), |_| status(302)).await;
    assert_eq!((times, told(outcome)), (1, (302, "answer 1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_no_time_is_left_to_better_is_the_callers() {
    // The backoff would go past the deadline.
    let hurried = || with(get(), CallOptions::new().deadline(Duration::from_millis(1)));
    assert_eq!(told(send(hurried(), |_| status(503)).await.1), (503, "answer 1".to_owned()));
    // So many retries are allowed in a few seconds without a success, so some of these get none.
    let client = Client::new(|_| status(503));
    let layer = PoetLayer::new("crm").runtime(runtime(crm().pin("retry.base_delay", 0.01)));
    let mut service = client.under(layer);
    let letters = || 'a'..='j';
    for path in letters().flat_map(|a| letters().map(move |b| format!("/{a}{b}"))) {
        assert_eq!(told(service.call(request(Method::GET, &path)).await).0, 503);
    }
    assert!(client.times() < 100 * 3, "{}", client.times());
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    let seconds: fn(usize) -> Says = |n| if n == 1 { Says::Status(429, Some("3".to_owned())) } else { status(200) };
    let date: fn(usize) -> Says = |n| {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(BEGAN + 3));
        if n == 1 { Says::Status(503, Some(date)) } else { status(200) }
    };
    for (script, name) in [(seconds, "seconds"), (date, "date")] {
        // A refusal was not executed, so even what may not be repeated is sent again.
        for request in [get(), post()] {
            let (began, client) = (Instant::now(), Client::new(script));
            let mut service = client.under(PoetLayer::new("crm").runtime(runtime(crm())));
            assert_eq!(told(service.call(request).await), (200, "answer 2".to_owned()), "{name}");
            let waited = client.after(2, began);
            assert!((3 * SECOND..4 * SECOND).contains(&waited), "{name}: {waited:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_service_asks_for_holds_back_every_caller() {
    let runtime = runtime(crm());
    let client = Client::new(|n| if n == 1 { Says::Status(429, Some("60".to_owned())) } else { status(200) });
    let mut service = client.under(PoetLayer::new("crm").runtime(runtime));
    // More than the deadline leaves: the answer is the caller's, and the next one is not even sent.
    assert_eq!(told(service.call(get()).await).0, 429);
    let refused = service.call(get()).await.unwrap_err();
    assert!(refused.is_throttled() && refused.attempts() == 0, "{refused}");
    assert_eq!(client.times(), 1);
    tokio::time::sleep(61 * SECOND).await;
    assert_eq!(told(service.call(get()).await).0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_mistake_of_the_callers_is_not_retried_and_opens_no_circuit() {
    for code in [400, 401, 403, 404, 409, 422] {
        let client = Client::<String>::new(match code {
            400 => |_| status(400),
            401 => |_| status(401),
            403 => |_| status(403),
            404 => |_| status(404),
            409 => |_| status(409),
            _ => |_| status(422),
        });
        let mut service = client.under(PoetLayer::new("crm").runtime(runtime(crm())));
        for _ in 0..30 {
            assert_eq!(told(service.call(get()).await).0, code);
        }
        assert_eq!(client.times(), 30, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_and_sends_nothing() {
    let client = Client::new(|_| status(500));
    let mut service = client.under(PoetLayer::new("crm").runtime(runtime(crm())));
    for _ in 0..5 {
        assert_eq!(told(service.call(post()).await).0, 500);
    }
    let refused = service.call(post()).await.unwrap_err();
    assert!(refused.is_circuit_open(), "{refused}");
    assert_eq!((refused.service_name(), refused.operation()), ("crm", "POST /orders"));
    assert_eq!(client.times(), 5);
    // Another operation of the service has a circuit of its own.
    assert_eq!(told(service.call(get()).await).0, 500);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_a_write_has_an_unknown_outcome_and_is_sent_once() {
    for script in
        [|_| Says::Hangs, |_| Says::Fails(io::ErrorKind::ConnectionReset), |_| Says::Fails(io::ErrorKind::Other)]
    {
        let (times, outcome) = send(post(), script).await;
        let error = outcome.unwrap_err();
        assert!(error.is_outcome_unknown() && times == 1, "{error} after {times}");
    }
    let (times, outcome) =
        send(post(), |n| if n == 1 { Says::Fails(io::ErrorKind::ConnectionRefused) } else { status(200) }).await;
    assert_eq!((times, told(outcome).0), (2, 200), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_client_is_the_source() {
    let (times, outcome) = send(get(), |_| Says::Fails(io::ErrorKind::ConnectionReset)).await;
    let error = outcome.unwrap_err();
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!((times, source.kind()), (3, io::ErrorKind::ConnectionReset));
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_by_its_deadline() {
    let began = Instant::now();
    let options = CallOptions::new().deadline(5 * SECOND).timeout(3 * SECOND).priority(Priority::High);
    let (times, outcome) = send(with(get(), options), |_| Says::Hangs).await;
    assert!(outcome.unwrap_err().is_deadline());
    assert_eq!(times, 2);
    assert!(began.elapsed() <= 5 * SECOND + Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn the_options_of_a_request_stand_before_those_of_the_layer() {
    let client = Client::new(|_| status(500));
    let layer = PoetLayer::new("crm").runtime(runtime(crm())).options(CallOptions::new().retries(1));
    let mut service = client.under(layer);
    service.call(get()).await.unwrap();
    assert_eq!(client.times(), 2);
    service.call(with(get(), CallOptions::new().retries(0))).await.unwrap();
    assert_eq!(client.times(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_id_in_the_path_makes_no_operation_of_its_own() {
    let runtime = runtime(crm());
    let client = Client::new(|_| status(200));
    let mut service = client.under(PoetLayer::new("crm").runtime(runtime.clone()));
    for id in 1..=50 {
        service.call(request(Method::GET, &format!("https://crm.example.com/v1/customers/{id}?page=2"))).await.unwrap();
    }
    assert!(runtime.values("crm", "GET /v1/customers/{id}").is_some());
    assert!(runtime.values("crm", "GET /v1/customers/7").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_author_says_the_route_for_a_request_or_for_all() {
    let runtime = runtime(crm());
    let client = Client::new(|_| status(200));
    let layer = PoetLayer::new("crm")
        .runtime(runtime.clone())
        .route(|parts| parts.uri.path().starts_with("/users/").then(|| "/users/{name}".to_owned()));
    let mut service = client.under(layer);
    service.call(request(Method::GET, "/users/ann")).await.unwrap();
    service.call(request(Method::GET, "/teams/7")).await.unwrap();
    service.call(with(request(Method::GET, "/users/bob"), CallOptions::new().route("/users/me"))).await.unwrap();
    for operation in ["GET /users/{name}", "GET /teams/{id}", "GET /users/me"] {
        assert!(runtime.values("crm", operation).is_some(), "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_many_services_learns_of_each_host() {
    let runtime = runtime(crm());
    let client = Client::new(|_| status(200));
    let mut service = client.under(PoetLayer::by_host().runtime(runtime.clone()));
    service.call(get()).await.unwrap();
    service.call(request(Method::GET, "http://127.0.0.1:8080/items")).await.unwrap();
    assert!(runtime.values("crm.example.com", "GET /customers").is_some());
    assert!(runtime.values("127.0.0.1:8080", "GET /items").is_some());
}

/// A body that is read as it is sent.
#[derive(Debug)]
struct Stream(bool);

#[tokio::test(start_paused = true)]
async fn a_streaming_body_is_never_sent_again() {
    let fails: [fn(usize) -> Says; 4] = [
        |_| status(503),
        |_| Says::Status(429, Some("1".to_owned())),
        |_| Says::Fails(io::ErrorKind::ConnectionRefused),
        |_| Says::Hangs,
    ];
    for script in fails {
        let client = Client::new(script);
        let mut service = client.under(PoetLayer::new("crm").runtime(runtime(crm())).streaming());
        for _ in 0..3 {
            let _ = service.call(Request::put("/files/x").body(Stream(false)).unwrap()).await;
            tokio::time::sleep(5 * SECOND).await;
        }
        assert_eq!(client.times(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_body_that_can_be_sent_again_is_raced_by_a_copy() {
    // An operation that has earned copies, and hangs once.
    let script: fn(usize) -> Says = |n| if n == 251 { Says::Hangs } else { status(200) };
    let layer = || PoetLayer::new("crm").runtime(runtime(crm().pin("hedge.delay", 1.0).pin("timeout.attempt", 10.0)));

    let raced = Client::new(script);
    let mut service = raced.under(layer());
    for _ in 0..250 {
        service.call(request(Method::PUT, "/files/x")).await.unwrap();
    }
    assert_eq!(told(service.call(request(Method::PUT, "/files/x")).await), (200, "answer 252".to_owned()));

    let alone = Client::new(script);
    let mut service = alone.under(layer().streaming());
    for _ in 0..250 {
        service.call(Request::put("/files/x").body(Stream(false)).unwrap()).await.unwrap();
    }
    let error = service.call(Request::put("/files/x").body(Stream(false)).unwrap()).await.unwrap_err();
    assert!(error.is_outcome_unknown() && alone.times() == 251, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_some_can_be_copied_of_is_sent_again_where_it_can() {
    let client = Client::new(|_| status(500));
    let layer = PoetLayer::new("crm").runtime(runtime(crm()));
    let mut service = client.under(layer.repeat_with(|body: &Stream| body.0.then_some(Stream(true))));
    service.call(Request::put("/files/x").body(Stream(false)).unwrap()).await.unwrap();
    assert_eq!(client.times(), 1);
    service.call(Request::put("/files/x").body(Stream(true)).unwrap()).await.unwrap();
    assert_eq!(client.times(), 4);
    assert!(client.sent.lock().unwrap()[1..].iter().all(|sent| sent.body.0));
}

#[tokio::test(start_paused = true)]
async fn the_author_says_what_an_answer_and_an_error_mean() {
    // An API that answers 403 where others answer 429, and a client whose error says that it has not connected.
    let layer = || {
        PoetLayer::new("crm")
            .runtime(runtime(crm()))
            .answer_class(|status, _| {
                (status == StatusCode::FORBIDDEN).then_some(Class::Throttled { retry_after: None })
            })
            .error_class(|error| {
                let io = error.downcast_ref::<io::Error>()?;
                (io.kind() == io::ErrorKind::Other).then_some(Class::Network { sent: false })
            })
    };
    for script in [
        |n| status(if n == 1 { 403 } else { 200 }),
        |n| if n == 1 { Says::Fails(io::ErrorKind::Other) } else { status(200) },
    ] {
        let client = Client::new(script);
        assert_eq!(told(client.under(layer()).call(post()).await), (200, "answer 2".to_owned()));
    }
}

/// A client that is not ready the first time it is asked.
#[derive(Clone)]
struct Late(Client, Arc<Mutex<u32>>);

impl Service<Request<String>> for Late {
    type Response = Response<String>;
    type Error = io::Error;
    type Future = <Client as Service<Request<String>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        let mut asked = self.1.lock().unwrap();
        *asked += 1;
        Poll::Ready(if *asked == 1 { Err(io::ErrorKind::Other.into()) } else { Ok(()) })
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_not_ready_has_sent_nothing() {
    let client = Late(Client::new(|_| status(200)), Arc::default());
    let layer: PoetLayer<Cloned> = PoetLayer::new("crm").runtime(runtime(crm()));
    assert_eq!(told(layer.layer(client).call(post()).await), (200, "answer 1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_status_of_grpc_stands_in_the_head_of_a_call_that_failed_at_once() {
    // How often what may be repeated is sent that is answered with each code.
    for (code, times) in [("0", 1), ("5", 1), ("12", 1), ("14", 3), ("4", 3)] {
        let sent = Arc::new(Mutex::new(0));
        let client = service_fn({
            let sent = sent.clone();
            move |_: Request<String>| {
                *sent.lock().unwrap() += 1;
                async move { Ok::<_, Infallible>(Response::builder().header("grpc-status", code).body(()).unwrap()) }
            }
        });
        let mut service = ServiceBuilder::new().layer(PoetLayer::new("crm").runtime(runtime(crm()))).service(client);
        let call = request(Method::POST, "/helloworld.v1.Greeter/SayHello");
        service.call(with(call, CallOptions::new().idempotent(true))).await.unwrap();
        assert_eq!(*sent.lock().unwrap(), times, "{code}");
    }
}

/// Over loopback: a real server that fails the first time it is asked for each path, and a real client.
mod loopback {
    use super::*;
    use axum::Router;
    use axum::extract::State;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    type Seen = Arc<Mutex<Vec<(Method, String)>>>;

    async fn answer(State(seen): State<Seen>, method: Method, uri: Uri, body: String) -> (StatusCode, String) {
        let mut seen = seen.lock().unwrap();
        let call = (method, uri.path().to_owned());
        let status = if seen.contains(&call) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        seen.push(call);
        (status, format!("{} {body}", status.as_u16()))
    }

    async fn server() -> (String, Seen) {
        let seen = Seen::default();
        let app = Router::new().fallback(answer).with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (address, seen)
    }

    /// The status and the body of what comes back.
    async fn send(address: &str, request: http::request::Builder) -> Result<(u16, String), Error> {
        let runtime = Runtime::builder().configuration(Config::default()).in_memory().build().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let mut service = ServiceBuilder::new().layer(PoetLayer::new("crm").runtime(runtime)).service(client);
        let request = request.header("x-from", address).body(Full::from("ann")).unwrap();
        let response = service.call(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn a_get_is_asked_again_until_it_succeeds() {
        let (address, seen) = server().await;
        let answer = send(&address, Request::get(format!("{address}/customers"))).await.unwrap();
        assert_eq!((answer, seen.lock().unwrap().len()), ((200, "200 ann".to_owned()), 2));
    }

    #[tokio::test]
    async fn a_post_is_sent_once_and_with_a_key_again() {
        let (address, seen) = server().await;
        let answer = send(&address, Request::post(format!("{address}/orders"))).await.unwrap();
        assert_eq!((answer, seen.lock().unwrap().len()), ((503, "503 ann".to_owned()), 1));
        let keyed = Request::post(format!("{address}/payments")).header(IDEMPOTENCY_KEY, "7");
        assert_eq!(send(&address, keyed).await.unwrap(), (200, "200 ann".to_owned()));
        assert_eq!(seen.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_known_to_have_got_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = send(&address, Request::post(format!("{address}/orders"))).await.unwrap_err();
        assert!(!error.is_outcome_unknown() && error.attempts() == 3, "{error}");
    }
}
