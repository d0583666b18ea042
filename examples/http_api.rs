//! An HTTP API that fails in stated ways, called in both ways there are: by functions under the attribute, and by a client
//! under the layer.
//!
//! ```text
//! cargo run --example http_api
//! ```
//!
//! It starts its own little server, keeps nothing on disk, and ends after a few seconds. What is printed is what was
//! asked for, what came of it, and how often the server was asked; it is an error if that is not as often as it should.

#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, Request, StatusCode, Uri};
use poet::http::{CallOptions, IDEMPOTENCY_KEY, PoetLayer};
use poet::{Runtime, poet};
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tower::{Service, ServiceBuilder, service_fn};

/// Reads: asked again until it is answered, within the deadline.
#[poet(domain = "http_api", service = "shop", idempotent, deadline = "5s")]
async fn stock(client: &reqwest::Client, shop: &str, article: u32) -> anyhow::Result<String> {
    let response = client.get(format!("{shop}/stock/{article}")).send().await?;
    // The line that says what the answer was; `reqwest::Error` is recognised without one.
    poet::http::check(response.status(), response.headers())?;
    Ok(response.text().await?)
}

/// Writes: started once, because nobody says that it may be started again.
#[poet(domain = "http_api", service = "shop", deadline = "5s")]
async fn order(client: &reqwest::Client, shop: &str, article: u32) -> anyhow::Result<String> {
    let response = client.post(format!("{shop}/orders")).body(article.to_string()).send().await?;
    poet::http::check(response.status(), response.headers())?;
    Ok(response.text().await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // reqwest without default features takes the provider of cryptography that its program has.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Runtime::builder().in_memory().build()?.install()?;
    let server = Server::start().await?;
    let (shop, client) = (&*server.address, reqwest::Client::new());

    println!("Functions under #[poet(domain = \"http_api\")]");
    server.told("GET stock: 503, then the answer", 2, stock(&client, shop, 7)).await?;
    server.told("POST order: 500, and it may have been placed", 1, order(&client, shop, 7)).await?;
    let busy = format!("{shop}/busy");
    server.told("POST order: 429 with Retry-After: 1", 1, order(&client, &busy, 7)).await?;
    server.told("POST order again: kept waiting for that second", 1, order(&client, &busy, 7)).await?;

    println!("\nA client under PoetLayer::new(\"shop\")");
    // Any tower service from request to response; for reqwest that is one closure.
    let client = service_fn(move |request: Request<String>| {
        let client = client.clone();
        async move { client.execute(request.try_into()?).await.map(http::Response::from) }
    });
    let mut layered = ServiceBuilder::new().layer(PoetLayer::new("shop")).service(client);
    let request = |method: Method, path: &str| Request::builder().method(method).uri(format!("{shop}{path}"));
    let mut send = |request: Request<String>| {
        let answer = layered.call(request);
        async move { anyhow::Ok(answer.await?.status()) }
    };

    let get = request(Method::GET, "/layer/articles").body(String::new())?;
    server.told("GET: 503, then the answer", 2, send(get)).await?;
    let post = request(Method::POST, "/layer/orders").body("7".to_owned())?;
    server.told("POST: 500 comes back as it is", 1, send(post)).await?;
    let keyed = request(Method::POST, "/layer/payments").header(IDEMPOTENCY_KEY, "order-7").body("7".to_owned())?;
    server.told("POST with an Idempotency-Key: 500, then the answer", 2, send(keyed)).await?;
    let missing = request(Method::GET, "/missing/7").body(String::new())?;
    server.told("GET: 404 is the caller's", 1, send(missing)).await?;
    let mut hurried = request(Method::GET, "/slow").body(String::new())?;
    hurried.extensions_mut().insert(CallOptions::new().deadline(Duration::from_millis(300)));
    server.told("GET: no answer within its deadline", 1, send(hurried)).await?;
    for _ in 0..5 {
        let broken = request(Method::POST, "/broken").body(String::new())?;
        send(broken).await?;
    }
    let broken = request(Method::POST, "/broken").body(String::new())?;
    server.told("POST after five failures in a row: refused", 0, send(broken)).await?;

    println!("\nWhat each operation is learned under");
    let runtime = Runtime::current();
    for operation in ["GET /layer/articles", "POST /layer/payments", "GET /missing/{id}"] {
        let values = runtime.values("shop", operation).context("it was called")?;
        println!("  {operation:22} an attempt may take {:?}", values.attempt_timeout);
    }
    runtime.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// A server that fails the first time it is asked for anything, and how often it was asked.
struct Server {
    address: String,
    asked: Asked,
}

type Asked = Arc<Mutex<HashMap<String, u32>>>;

impl Server {
    async fn start() -> anyhow::Result<Self> {
        let asked = Asked::default();
        let app = Router::new().fallback(answer).with_state(asked.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, asked })
    }

    /// Makes a call, and prints what came of it and that it was asked for so many times.
    async fn told<T: Display>(
        &self,
        what: &str,
        times: u32,
        call: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<()> {
        let (before, began) = (self.asked(), Instant::now());
        let answer = call.await.map_or_else(|error| format!("error: {error}"), |answer| answer.to_string());
        let (asked, seconds) = (self.asked() - before, began.elapsed().as_secs_f64());
        println!("  {what}\n      asked {asked} times in {seconds:.1} s: {answer}");
        anyhow::ensure!(asked == times, "asked {asked} times, not {times}: {what}");
        Ok(())
    }

    fn asked(&self) -> u32 {
        self.asked.lock().map(|asked| asked.values().sum()).unwrap_or_default()
    }
}

async fn answer(State(asked): State<Asked>, method: Method, uri: Uri) -> Response {
    let first = asked.lock().is_ok_and(|mut asked| {
        let times = asked.entry(format!("{method} {}", uri.path())).or_default();
        *times += 1;
        *times == 1
    });
    match (uri.path(), method) {
        ("/slow", _) => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            "at last".into_response()
        }
        ("/missing/7", _) => StatusCode::NOT_FOUND.into_response(),
        ("/broken", _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        ("/busy/orders", _) if first => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        (_, Method::POST) if first => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ if first => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        (path, _) => format!("what {path} has").into_response(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_server_is_asked_as_often_as_the_story_says() {
        super::main().unwrap();
    }
}
