//! The server of these tests: it has a `write` and a `read`, and its answer to every `tools/call` is scripted to the
//! byte.

pub(crate) use poet_domains::mcp::testing::bytes::{Request, event, http, json_http, read, rpc_error, sse_http};
pub(crate) use poet_domains::mcp::testing::wire::{Action, Asked, Speaks, Unknown};

use poet_domains::mcp::testing::wire::{self, Nature};
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;

pub(crate) struct Server(wire::Server);

impl Deref for Server {
    type Target = wire::Server;

    fn deref(&self) -> &wire::Server {
        &self.0
    }
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Action + Send + Sync + 'static) -> Self {
        Self::start_with(Unknown::NotFound, script).await
    }

    pub(crate) async fn start_with(
        unknown: Unknown,
        script: impl Fn(&Asked) -> Action + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), unknown, script).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        unknown: Unknown,
        script: impl Fn(&Asked) -> Action + Send + Sync + 'static,
    ) -> Self {
        let schema = json!({ "type": "object" });
        let mut nature = Nature::default();
        nature.address = address;
        nature.unknown = unknown;
        nature.tools = vec![
            json!({ "name": "write", "inputSchema": schema }),
            json!({ "name": "read", "inputSchema": schema, "annotations": { "readOnlyHint": true } }),
            json!({
                "name": "count",
                "inputSchema": { "type": "object", "properties": { "key": { "type": "string" } } },
                "outputSchema": { "type": "object", "properties": { "total": { "type": "number" } } },
            }),
        ];
        Self(wire::Server::start_with(nature, script).await.unwrap())
    }

    pub(crate) async fn stop(self) -> SocketAddr {
        self.0.stop().await
    }

    /// How many calls arrived.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls().len()
    }

    /// How often each `key` argument arrived, and was executed unless the script says otherwise.
    pub(crate) fn executions(&self) -> HashMap<String, usize> {
        let mut executions = HashMap::new();
        for (_, arguments) in self.0.calls() {
            let key = arguments.get("key").and_then(|key| key.as_str()).unwrap_or_default();
            *executions.entry(key.to_owned()).or_default() += 1;
        }
        executions
    }
}
