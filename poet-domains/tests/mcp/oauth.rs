//! A server that wants a token of its authorization server. What the protocol is, the conformance suite checks; here it
//! is checked who is asked, and how often.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use poet_domains::mcp::{Consent, Consenting, Fault, Limits, McpError, OAuth, Session, Target};
use poet_runtime::Class;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);

/// Both servers in one.
#[derive(Debug)]
struct World {
    url: String,
    /// Tokens that were given out.
    given: AtomicUsize,
    /// The only one that is good.
    good: AtomicUsize,
    executions: AtomicUsize,
}

impl World {
    /// The first token is good if `good` is 1.
    async fn start(good: usize) -> (Arc<Self>, JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            given: AtomicUsize::new(0),
            good: AtomicUsize::new(good),
            executions: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/oauth-protected-resource", get(resource))
            .route("/.well-known/oauth-authorization-server", get(authorization))
            .route("/register", post(register))
            .route("/token", post(token))
            .route("/mcp", post(mcp))
            .with_state(world.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (world, serving)
    }
}

async fn resource(State(world): State<Arc<World>>) -> Json<Value> {
    Json(json!({ "resource": format!("{}/mcp", world.url), "authorization_servers": [world.url] }))
}

async fn authorization(State(world): State<Arc<World>>) -> Json<Value> {
    let at = |path: &str| format!("{}/{path}", world.url);
    Json(json!({
        "issuer": world.url,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "registration_endpoint": at("register"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    }))
}

async fn register(Json(asked): Json<Value>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(json!({ "client_id": "poet", "redirect_uris": asked["redirect_uris"] })))
}

async fn token(State(world): State<Arc<World>>) -> Json<Value> {
    let number = world.given.fetch_add(1, Ordering::SeqCst) + 1;
    Json(json!({ "access_token": format!("hunter{number}"), "token_type": "Bearer", "expires_in": 3600 }))
}

async fn mcp(State(world): State<Arc<World>>, headers: HeaderMap, Json(message): Json<Value>) -> Response {
    let by = headers.get("authorization").and_then(|value| value.to_str().ok());
    if by != Some(&format!("Bearer hunter{}", world.good.load(Ordering::SeqCst))) {
        let ask = format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource\"", world.url);
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", ask)]).into_response();
    }
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-06-18",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "scripted", "version": "1" },
        }),
        "tools/list" => json!({ "tools": [{ "name": "write", "inputSchema": { "type": "object" } }] }),
        "tools/call" => {
            world.executions.fetch_add(1, Ordering::SeqCst);
            json!({ "content": [{ "type": "text", "text": "done" }] })
        }
        _ if message["id"].is_null() => return StatusCode::ACCEPTED.into_response(),
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return Json(json!({ "jsonrpc": "2.0", "id": message["id"], "error": error })).into_response();
        }
    };
    Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })).into_response()
}

/// Consents to everything, or to nothing, and counts.
#[derive(Clone, Debug)]
struct Person {
    consents: bool,
    asked: Arc<AtomicUsize>,
}

impl Consent for Person {
    fn ask<'a>(&'a self, page: &'a str) -> Consenting<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let state = page.split(['?', '&']).find(|part| part.starts_with("state="));
        let sent_to = state.map(|state| format!("http://localhost:3000/callback?code=c&{state}"));
        Box::pin(async move { sent_to.filter(|_| self.consents) })
    }
}

fn session(world: &World, consents: bool) -> (Session, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let person = Person { consents, asked: asked.clone() };
    let oauth = OAuth::new("http://localhost:3000/callback", person);
    let target = Target::http(format!("{}/mcp", world.url)).authorized_by(oauth);
    (Session::new(target, Limits::default()), asked)
}

async fn call(session: &Session) -> Result<String, McpError> {
    session.call("write", &Map::new(), Instant::now() + LONG, None).await.map(|answer| answer.text)
}

#[tokio::test]
async fn a_person_is_asked_once_for_all_who_are_refused_and_no_call_is_made_twice() {
    const CALLS: usize = 16;
    let (world, serving) = World::start(1).await;
    let (session, asked) = session(&world, true);
    assert_eq!(call(&session).await.unwrap(), "done");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The token is worth nothing any more, and all learn it at the same time.
    world.good.store(2, Ordering::SeqCst);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { call(&session).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "done");
    }
    assert_eq!((asked.load(Ordering::SeqCst), world.executions.load(Ordering::SeqCst)), (2, CALLS + 1));
    assert_eq!(session.connects(), 1);
    assert!(!format!("{session:?}").contains("hunter"));
    serving.abort();
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_believed_after_a_few() {
    let (world, serving) = World::start(usize::MAX).await;
    let (session, asked) = session(&world, true);
    let error = call(&session).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Http { status: 401, retry_after: None }, Class::Permanent));
    assert!(!format!("{error:?} {error}").contains("hunter"), "{error:?}");
    assert_eq!((asked.load(Ordering::SeqCst), world.executions.load(Ordering::SeqCst)), (2, 0));
    serving.abort();
}

#[tokio::test]
async fn without_consent_the_refusal_stands() {
    let (world, serving) = World::start(1).await;
    let (session, asked) = session(&world, false);
    let error = call(&session).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Http { status: 401, retry_after: None }, Class::Permanent));
    assert!(error.to_string().contains("there was no consent"), "{error}");
    assert_eq!((asked.load(Ordering::SeqCst), world.given.load(Ordering::SeqCst)), (1, 0));
    serving.abort();
}
