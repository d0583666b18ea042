//! Signed requests, and servers that check them: written from RFC 9421 and from nothing in the layer.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{self, HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use poet_domains::mcp::{Fault, Limits, McpResource, Session, Signer, Target};
use poet_runtime::config::{ServiceConfig, Signing, SigningAlgorithm, ToolConfig};
use poet_runtime::{Class, Runtime};
use ring::{digest, hmac, signature};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);
/// RFC 9421, B.1.5 and B.1.4.
const SHARED: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
const PRIVATE: &str = "n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=";
const PUBLIC: &str = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Arrived {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Arrived {
    fn header(&self, name: &str) -> Result<&str, String> {
        let value = self.headers.get(name).ok_or_else(|| format!("no {name}"))?;
        value.to_str().map_err(|error| error.to_string())
    }

    fn component(&self, name: &str) -> Result<String, String> {
        Ok(match name {
            "@method" => self.method.to_string(),
            "@authority" => self.header("host")?.to_lowercase(),
            "@path" => self.uri.path().to_owned(),
            "@query" => format!("?{}", self.uri.query().unwrap_or_default()),
            header => self.header(header)?.to_owned(),
        })
    }

    /// The parameters of its signature, or what is wrong with it.
    fn verified(&self) -> Result<Parameters, String> {
        let input = self.header("signature-input")?.strip_prefix("poet=").ok_or("no signature of poet")?;
        let (covered, parameters) = input.trim_start_matches('(').split_once(')').ok_or("no list of components")?;
        let covered: Vec<_> = covered.split(' ').map(|name| name.trim_matches('"')).collect();
        let required = ["@method", "@authority", "@path", "@query"].into_iter();
        let present = self.headers.keys().map(|name| name.as_str()).filter(|name| {
            matches!(*name, "content-type" | "content-digest" | "authorization" | "last-event-id")
                || name.starts_with("mcp-")
        });
        for name in required.chain(present) {
            if !covered.contains(&name) {
                return Err(format!("{name} is not covered"));
            }
        }
        if !self.body.is_empty() {
            let digest = BASE64.encode(digest::digest(&digest::SHA256, &self.body));
            if self.header("content-digest")? != format!("sha-256=:{digest}:") {
                return Err("another body".to_owned());
            }
        }
        let mut base = String::new();
        for name in covered {
            base += &format!("\"{name}\": {}\n", self.component(name)?);
        }
        base += &format!("\"@signature-params\": {input}");
        let parameters = Parameters::read(parameters)?;
        let signature = self.header("signature")?.trim_start_matches("poet=:").trim_end_matches(':');
        let signature = BASE64.decode(signature).map_err(|error| error.to_string())?;
        let is_good = match parameters.algorithm.as_str() {
            "hmac-sha256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(SHARED).unwrap());
                hmac::verify(&key, base.as_bytes(), &signature).is_ok()
            }
            "ed25519" => {
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, BASE64.decode(PUBLIC).unwrap());
                key.verify(base.as_bytes(), &signature).is_ok()
            }
            other => return Err(format!("unknown algorithm {other}")),
        };
        if is_good { Ok(parameters) } else { Err("another signature".to_owned()) }
    }
}

#[derive(Clone, Debug)]
struct Parameters {
    key: String,
    algorithm: String,
    nonce: String,
}

impl Parameters {
    fn read(written: &str) -> Result<Self, String> {
        let one = |name: &str| {
            let found = written.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.map(|value| value.trim_matches('"').to_owned()).ok_or_else(|| format!("no {name}"))
        };
        let time = |name| one(name)?.parse::<u64>().map_err(|error| error.to_string());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        if !(time("created")?..time("expires")?).contains(&now) {
            return Err("not fresh".to_owned());
        }
        Ok(Self { key: one("keyid")?, algorithm: one("alg")?, nonce: one("nonce")? })
    }
}

/// A server that answers what is signed, each signature once.
#[derive(Debug, Default)]
struct World {
    nonces: Mutex<HashSet<String>>,
    /// What `tools/call` brought, and by which signature.
    calls: Mutex<Vec<(Arrived, Parameters)>>,
    refused: Mutex<Vec<String>>,
    /// How many calls are refused for want of time before one is answered.
    busy: AtomicUsize,
    /// Answers that go out on a stream, for HTTP+SSE.
    stream: Mutex<Option<tokio::sync::mpsc::UnboundedSender<String>>>,
}

impl World {
    async fn start() -> (Arc<Self>, String, JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Self::default());
        let router =
            Router::new().route("/mcp", any(mcp)).route("/sse", get(open).post(post)).with_state(world.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (world, format!("http://{address}"), serving)
    }

    fn refuse(&self, problem: String) -> Response {
        self.refused.lock().unwrap().push(problem.clone());
        (StatusCode::UNAUTHORIZED, problem).into_response()
    }

    /// Whether a request may pass, and who signed it.
    fn admit(&self, request: &Arrived) -> Result<Parameters, Box<Response>> {
        match request.verified() {
            Ok(parameters) if self.nonces.lock().unwrap().insert(parameters.nonce.clone()) => Ok(parameters),
            Ok(_) => Err(Box::new(self.refuse("a nonce that was there before".to_owned()))),
            Err(problem) => Err(Box::new(self.refuse(problem))),
        }
    }

    fn answer(&self, message: &Value) -> Value {
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "signed", "version": "1" },
            }),
            "tools/list" => json!({ "tools": [{ "name": "write", "inputSchema": { "type": "object" } }] }),
            "tools/call" => json!({ "content": [{ "type": "text", "text": "done" }] }),
            _ => {
                let error = json!({ "code": -32601, "message": "Method not found" });
                return json!({ "jsonrpc": "2.0", "id": message["id"], "error": error });
            }
        };
        json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })
    }
}

async fn mcp(State(world): State<Arc<World>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = Arrived { method, uri, headers, body };
    let signed = match world.admit(&request) {
        Ok(signed) => signed,
        Err(refusal) => return *refusal,
    };
    if request.method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let message: Value = serde_json::from_slice(&request.body).unwrap();
    if message["method"] == "tools/call" {
        world.calls.lock().unwrap().push((request, signed));
        let busy = world.busy.load(Ordering::SeqCst);
        if busy > 0 {
            world.busy.store(busy - 1, Ordering::SeqCst);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    if message["id"].is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let session = [("mcp-session-id", "7"), ("content-type", "application/json")];
    (session, world.answer(&message).to_string()).into_response()
}

async fn open(State(world): State<Arc<World>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refusal) = world.admit(&Arrived { method, uri, headers, body: Bytes::new() }) {
        return *refusal;
    }
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<String>();
    sender.send("event: endpoint\ndata: /sse?session=7\n\n".to_owned()).unwrap();
    *world.stream.lock().unwrap() = Some(sender);
    let events = futures_util::stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|event| event.map(Ok::<_, std::convert::Infallible>))
    });
    ([("content-type", "text/event-stream")], axum::body::Body::from_stream(events)).into_response()
}

async fn post(State(world): State<Arc<World>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = Arrived { method, uri, headers, body };
    if let Err(refusal) = world.admit(&request) {
        return *refusal;
    }
    let message: Value = serde_json::from_slice(&request.body).unwrap();
    if !message["id"].is_null() {
        let event = format!("event: message\ndata: {}\n\n", world.answer(&message));
        world.stream.lock().unwrap().as_ref().unwrap().send(event).unwrap();
    }
    StatusCode::ACCEPTED.into_response()
}

async fn call(session: &Session) -> Result<String, poet_domains::mcp::McpError> {
    session.call("write", &Map::new(), Instant::now() + LONG, None).await.map(|answer| answer.text)
}

fn key(algorithm: SigningAlgorithm) -> Signing {
    let secret = if algorithm == SigningAlgorithm::Ed25519 { PRIVATE } else { SHARED };
    Signing::new(algorithm, "poet-1", secret).unwrap()
}

#[tokio::test]
async fn every_request_of_a_call_and_of_each_of_its_retries_is_signed_anew() {
    for algorithm in SigningAlgorithm::ALL {
        let (world, url, serving) = World::start().await;
        let crm = ServiceConfig::http("crm", format!("{url}/mcp?tenant=a%20b"))
            .auth_token("t0ken")
            .signing(key(algorithm))
            .pin("retry.max_retries", 2)
            .pin("retry.base_delay", 0.01)
            .tool("write", ToolConfig::default().idempotent());
        let runtime = Runtime::builder().service(crm).in_memory().build().unwrap();
        world.busy.store(2, Ordering::SeqCst);
        let reply = runtime.scope(async { McpResource::new("crm").call_tool("write", json!({ "id": 7 })).await });
        assert_eq!(reply.await.unwrap().attempts(), 3);
        let calls = world.calls.lock().unwrap();
        assert_eq!((calls.len(), world.refused.lock().unwrap().as_slice()), (3, [].as_slice()));
        let nonces: HashSet<_> = calls.iter().map(|(_, signed)| &signed.nonce).collect();
        assert_eq!(nonces.len(), 3, "a nonce for each attempt");
        let (request, signed) = &calls[2];
        assert_eq!((signed.key.as_str(), signed.algorithm.as_str()), ("poet-1", algorithm.as_str()));
        // The server insists that what is there is covered; both are there.
        assert_eq!((request.header("authorization"), request.header("mcp-session-id")), (Ok("Bearer t0ken"), Ok("7")));
        serving.abort();
    }
}

#[tokio::test]
async fn a_signature_is_good_for_no_other_body_token_address_or_time_than_its_own() {
    let (world, url, serving) = World::start().await;
    let signer = Signer::ed25519("poet-1", PRIVATE).unwrap();
    let session = Session::new(Target::http(format!("{url}/mcp")).signed_by(signer), Limits::default());
    assert_eq!(call(&session).await.unwrap(), "done");
    let (sent, _) = world.calls.lock().unwrap()[0].clone();
    assert!(sent.verified().is_ok());

    let mut another = sent.clone();
    another.body = String::from_utf8(sent.body.to_vec()).unwrap().replace("write", "purge").into();
    assert_eq!(another.verified().unwrap_err(), "another body");
    // With a digest that fits, it is the signature that does not.
    let digest = BASE64.encode(digest::digest(&digest::SHA256, &another.body));
    another.headers.insert("content-digest", format!("sha-256=:{digest}:").parse().unwrap());
    assert_eq!(another.verified().unwrap_err(), "another signature");

    for (name, value) in [("mcp-session-id", "8"), ("host", "evil.test"), ("content-type", "text/plain")] {
        let mut another = sent.clone();
        another.headers.insert(name, value.parse().unwrap());
        assert_eq!(another.verified().unwrap_err(), "another signature", "{name}");
    }
    let another = Arrived { uri: "/mcp?admin=1".parse().unwrap(), ..sent.clone() };
    assert_eq!(another.verified().unwrap_err(), "another signature");
    let mut another = sent.clone();
    another.headers.insert("authorization", "Bearer stolen".parse().unwrap());
    assert_eq!(another.verified().unwrap_err(), "authorization is not covered");

    // And over the wire: the request that was answered is refused a second time, and so is one with another body.
    let refused = async |request: &Arrived| {
        let url = format!("{url}{}", request.uri);
        let again = reqwest::Client::builder().tls_backend_preconfigured(no_tls()).build().unwrap();
        let again = again.post(url).headers(request.headers.clone()).body(request.body.to_vec()).send().await.unwrap();
        (again.status().as_u16(), again.text().await.unwrap())
    };
    assert_eq!(refused(&sent).await, (401, "a nonce that was there before".to_owned()));
    let mut longer = Arrived { body: [&sent.body[..], b" "].concat().into(), ..sent };
    longer.headers.remove("content-length");
    assert_eq!(refused(&longer).await, (401, "another body".to_owned()));
    assert_eq!(world.calls.lock().unwrap().len(), 1);
    serving.abort();
}

fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

#[tokio::test]
async fn who_signs_by_another_key_or_not_at_all_is_refused_and_not_repeated() {
    let (world, url, serving) = World::start().await;
    let target = || Target::http(format!("{url}/mcp"));
    let stranger = Signer::hmac_sha256("poet-1", "c2l4dGVlbiBieXRlcyEhIQ==").unwrap();
    for (session, problem) in [
        (Session::new(target().signed_by(stranger), Limits::default()), "another signature"),
        (Session::new(target(), Limits::default()), "no signature-input"),
    ] {
        world.refused.lock().unwrap().clear();
        let error = call(&session).await.unwrap_err();
        assert_eq!((error.fault(), error.class()), (Fault::Http { status: 401, retry_after: None }, Class::Permanent));
        assert_eq!(*world.refused.lock().unwrap(), [problem]);
    }
    assert!(world.calls.lock().unwrap().is_empty());
    serving.abort();
}

#[tokio::test]
async fn the_stream_and_the_messages_of_http_sse_are_signed() {
    let (world, url, serving) = World::start().await;
    let signer = Signer::hmac_sha256("poet-1", SHARED).unwrap();
    let session = Session::new(Target::sse(format!("{url}/sse")).signed_by(signer), Limits::default());
    assert_eq!(call(&session).await.unwrap(), "done");
    assert!(world.refused.lock().unwrap().is_empty());
    assert!(world.nonces.lock().unwrap().len() >= 4, "the stream, the handshake, the list, the call");
    serving.abort();
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn the_handshake_of_a_web_socket_is_signed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let (seen, arrived) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut seen = Some(seen);
        #[expect(clippy::result_large_err, reason = "the type is the library's")]
        let greet = |request: &tokio_tungstenite::tungstenite::handshake::server::Request,
                     mut response: http::Response<()>| {
            let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
            let _ = seen.take().unwrap().send(Arrived { method, uri, headers, body: Bytes::new() });
            response.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static("mcp"));
            Ok(response)
        };
        let _socket = tokio_tungstenite::accept_hdr_async(stream, greet).await.unwrap();
    });
    let signer = Signer::ed25519("poet-1", PRIVATE).unwrap();
    let session = Session::new(Target::websocket(url).signed_by(signer), Limits::default());
    // The server leaves after the handshake, which is all that is looked at.
    assert!(call(&session).await.is_err());
    assert_eq!(arrived.await.unwrap().verified().unwrap().key, "poet-1");
    serving.abort();
}
