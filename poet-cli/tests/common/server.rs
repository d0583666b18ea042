//! An MCP server, the smallest there is.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Serves the tools `update_contact`, which answers with what it was given, `get_contact`, and `vanish`, which is executed
/// and says nothing. Ends with the test.
pub(crate) struct Crm {
    pub(crate) port: u16,
    calls: Arc<AtomicUsize>,
}

impl Crm {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::<AtomicUsize>::default();
        let counted = calls.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let counted = counted.clone();
                thread::spawn(move || while answer(stream.as_ref().unwrap(), &counted).is_some() {});
            }
        });
        Self { port, calls }
    }

    /// How many calls of tools came.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Answers one request; `None` once there are no more.
fn answer(mut stream: &TcpStream, calls: &AtomicUsize) -> Option<()> {
    let mut head = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    head.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        head.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    head.read_exact(&mut body).ok()?;
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = if first.starts_with("POST") { result(&request, calls)? } else { None };
    let (status, body) = match said {
        Some(result) => ("200 OK", json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string()),
        None if first.starts_with("POST") => ("202 Accepted", String::new()),
        None => ("405 Method Not Allowed", String::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).ok()
}

/// The result of a request, if it has one; `None` where nothing is said at all.
pub(crate) fn result(request: &Value, calls: &AtomicUsize) -> Option<Option<Value>> {
    let params = &request["params"];
    Some(match request["method"].as_str() {
        Some("initialize") => Some(json!({
            "protocolVersion": params["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "crm", "version": "1" },
        })),
        Some("tools/list") => Some(json!({ "tools": tools() })),
        Some("tools/call") => {
            calls.fetch_add(1, Ordering::SeqCst);
            if params["name"] == "vanish" {
                return None;
            }
            Some(json!({
                "content": [{ "type": "text", "text": params["arguments"].to_string() }],
                "structuredContent": { "updated": params["arguments"]["id"], "with": params["arguments"] },
            }))
        }
        _ => None,
    })
}

fn tools() -> Value {
    json!([
        { "name": "update_contact", "inputSchema": { "type": "object" } },
        {
            "name": "get_contact",
            "description": "Finds a contact by its number.",
            "annotations": { "readOnlyHint": true },
            "inputSchema": {
                "type": "object",
                "required": ["id"],
                "additionalProperties": false,
                "properties": {
                    "id": { "type": "integer" },
                    "note": { "type": "string" },
                    "verbose": { "type": "boolean" },
                },
            },
        },
        { "name": "vanish", "inputSchema": { "type": "object", "properties": {} } },
    ])
}
