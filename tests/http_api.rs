//! Functions over an HTTP client, under `#[poet(domain = "http_api")]`: what they fail with is understood without a word,
//! or with one line.

#![cfg(all(feature = "reqwest", feature = "tower"))]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use poet::http::StatusError;
use poet::{Error, Runtime, poet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[poet(domain = "http_api", service = "shop", idempotent)]
async fn read(client: &reqwest::Client, url: String) -> anyhow::Result<String> {
    let response = client.get(url).send().await?;
    poet::http::check(response.status(), response.headers())?;
    Ok(response.text().await?)
}

#[poet(domain = "http_api", service = "shop")]
async fn write(client: &reqwest::Client, url: String) -> anyhow::Result<String> {
    let response = client.post(url).send().await?;
    poet::http::check(response.status(), response.headers())?;
    Ok(response.text().await?)
}

/// With an error of its own and the client's own way to make one of a status.
#[poet(domain = "http_api", service = "shop", idempotent)]
async fn by_reqwest(client: &reqwest::Client, url: String) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(client.get(url).send().await?.error_for_status()?.text().await?)
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("refused")]
    Refused(#[from] Error),
    #[error("not asked")]
    Client(#[from] reqwest::Error),
}

/// Returns the response itself.
#[poet(domain = "http_api", service = "shop", idempotent, failure = poet::http::class_of_answer)]
async fn whole(client: &reqwest::Client, url: String) -> Result<http::Response<reqwest::Body>, Failed> {
    Ok(client.get(url).send().await?.into())
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Fails the first time it is asked for a path, with the status that stands in it.
async fn answer(State(seen): State<Seen>, method: Method, uri: Uri) -> Response {
    let mut seen = seen.lock().unwrap();
    let call = format!("{method} {}", uri.path());
    let is_first = !seen.contains(&call);
    seen.push(call);
    let status = uri.path().rsplit('/').next().and_then(|status| status.parse().ok()).filter(|_| is_first);
    let status = StatusCode::from_u16(status.unwrap_or(200)).unwrap();
    (status, uri.query().map(|wait| [("retry-after", wait.to_owned())]), status.to_string()).into_response()
}

struct World {
    address: String,
    seen: Seen,
    client: reqwest::Client,
    runtime: Runtime,
}

impl World {
    async fn new() -> Self {
        // reqwest without default features takes the provider of cryptography that its program has.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seen = Seen::default();
        let app = Router::new().fallback(answer).with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let runtime = Runtime::builder().configuration(poet::config::Config::default()).in_memory().build().unwrap();
        Self { address, seen, client: reqwest::Client::new(), runtime }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn times(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_status_that_passes_is_asked_again_and_another_is_not() {
    let world = World::new().await;
    let (client, runtime) = (&world.client, &world.runtime);
    assert_eq!(runtime.scope(read(client, world.url("/a/503"))).await.unwrap(), "200 OK");
    assert_eq!(world.times(), 2);
    let error = runtime.scope(read(client, world.url("/a/404"))).await.unwrap_err();
    assert_eq!(error.downcast_ref::<StatusError>().unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(world.times(), 3);
    assert_eq!(runtime.scope(by_reqwest(client, world.url("/b/502"))).await.unwrap(), "200 OK");
    assert_eq!(world.times(), 5);
    let response = runtime.scope(whole(client, world.url("/c/500"))).await.unwrap();
    assert_eq!((response.status(), world.times()), (StatusCode::OK, 7));
}

#[tokio::test]
async fn a_function_that_is_not_idempotent_is_started_once() {
    let world = World::new().await;
    let error = world.runtime.scope(write(&world.client, world.url("/a/500"))).await.unwrap_err();
    assert_eq!(error.downcast_ref::<StatusError>().unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.times(), 1);
}

#[tokio::test]
async fn what_the_service_asks_for_is_waited_for() {
    let world = World::new().await;
    let began = Instant::now();
    assert_eq!(world.runtime.scope(read(&world.client, world.url("/a/429?1"))).await.unwrap(), "200 OK");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(world.times(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_opens_the_circuit() {
    let world = World::new().await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/x", listener.local_addr().unwrap())
    };
    let refused = async {
        let mut last = None;
        for _ in 0..6 {
            last = write(&world.client, gone.clone()).await.err();
        }
        last
    };
    let error = world.runtime.scope(refused).await.unwrap();
    assert!(error.downcast_ref::<Error>().is_some_and(Error::is_circuit_open), "{error}");
}
