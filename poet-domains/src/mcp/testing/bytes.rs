//! HTTP and JSON-RPC as bytes, so that a script can also send what no library would.

use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// The longest head of a request that is read.
const LONGEST_HEAD: usize = 64 << 10;
/// The longest body of a request that is read.
const LONGEST_BODY: usize = 64 << 20;

/// One HTTP request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its headers, by their names in lower case.
    pub headers: HashMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Reads a request; `None` once the client has hung up, or sends what is none.
pub async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return None;
        }
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let method = lines.next()?.split(' ').next()?.to_owned();
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    if length > LONGEST_BODY {
        return None;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, headers, body })
}

/// A JSON-RPC error.
#[must_use]
pub fn rpc_error(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// An HTTP response.
#[must_use]
pub fn http(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        response += &format!("{name}: {value}\r\n");
    }
    let mut response = (response + "\r\n").into_bytes();
    response.extend(body);
    response
}

/// An HTTP response whose body is JSON.
#[must_use]
pub fn json_http(status: u16, headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/json"));
    http(status, &headers, body.to_string().as_bytes())
}

/// The beginning of a response that is a stream of events, and its first events.
#[must_use]
pub fn sse_http(events: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}").into_bytes()
}

/// One event.
#[must_use]
pub fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}
