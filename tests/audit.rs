//! What the audit holds of calls of MCP tools inside an annotated function, against a real server.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]

use poet::audit::{AuditEntry, AuditFilter, Declared, Validation, What, Who};
use poet::config::{AuditLevel, AuditRules};
use poet::mcp::McpResource;
use poet::mcp::testing::{Answer, Server, Tool};
use poet::store::{MemoryStore, Store};
use poet::{Ending, Error, Reply, Runtime, poet};
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;

#[poet]
async fn process(tool: &str, arguments: Value) -> Result<Reply, Error> {
    McpResource::new("crm").call_tool(tool, arguments).await
}

struct World {
    _server: Server,
    runtime: Runtime,
    store: MemoryStore,
}

impl World {
    async fn new(level: AuditLevel) -> Self {
        let takes = json!({ "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"] });
        let gives = json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] });
        let server = Server::start([
            Tool::new("get").read_only().takes(takes.clone()).gives(gives.clone()).answers(json!({ "name": "Ada" })),
            Tool::new("list").read_only().takes(takes.clone()).gives(gives).answers(json!({ "name": 7 })),
            Tool::new("note").takes(takes).script([Answer::Lost]),
            Tool::new("delete").answers(json!({})),
        ])
        .await
        .unwrap();
        let mut crm = server.service("crm").trusted().audit(AuditRules::from(level).field("id"));
        crm.deny = vec!["del*".to_owned()];
        let store = MemoryStore::new();
        let runtime = Runtime::builder().service(crm).store(store.clone()).build().unwrap();
        Self { _server: server, runtime, store }
    }

    /// Makes a call inside the function, and gives its entry.
    async fn entry(&mut self, tool: &str, arguments: Value) -> (Result<Reply, Error>, AuditEntry) {
        let result = self.runtime.scope(process(tool, arguments)).await;
        self.runtime.flush().await.unwrap();
        let filter = AuditFilter { operation: Some(tool.to_owned()), ..AuditFilter::default() };
        (result, self.store.audit(&filter, 1).await.unwrap().remove(0))
    }
}

#[tokio::test]
async fn a_call_names_the_function_around_it_the_rule_that_allowed_it_and_what_was_checked() {
    for level in [AuditLevel::On, AuditLevel::Strict] {
        let mut world = World::new(level).await;
        let (reply, entry) = world.entry("get", json!({ "id": 7 })).await;
        assert_eq!(entry.execution, reply.unwrap().audit_id().to_string());
        assert!(entry.function.as_deref().is_some_and(|name| name.ends_with("::process")), "{entry:?}");
        let outcomes = world.store.outcomes(None, 10).await.unwrap();
        let around = outcomes.iter().find(|row| row.function.is_some()).unwrap();
        assert_eq!(entry.inside, Some(format!("{}-{}", around.run, around.execution)));
        assert_eq!(entry.fields, [("id".to_owned(), "7".to_owned())]);
        let detail = &entry.detail;
        assert_eq!((detail.declared, detail.read_only), (Some(Declared::TrustedServer), true));
        assert_eq!((detail.arguments, detail.answer), (Validation::Passed, Validation::Passed));
        assert!(detail.access.as_ref().is_some_and(|access| access.allowed), "{entry:?}");
    }
}

#[tokio::test]
async fn what_may_not_be_called_is_in_the_audit_with_the_rule_and_was_not_sent() {
    let mut world = World::new(AuditLevel::Strict).await;
    let (error, entry) = world.entry("delete", json!({ "id": 7 })).await;
    let error = error.unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert_eq!(error.audit_id().unwrap().to_string(), entry.execution);
    assert_eq!((entry.ending, entry.detail.attempts), (Some(Ending::Denied), 0));
    assert_eq!(entry.detail.access.unwrap().rule, "`deny` of the service has `del*`");
    assert_eq!(entry.detail.decisions[0].by.who, Who::Configuration);
}

#[tokio::test]
async fn arguments_and_answers_that_are_not_as_declared_are_told_apart() {
    let mut world = World::new(AuditLevel::On).await;
    let (error, entry) = world.entry("get", json!({ "id": "hunter2" })).await;
    assert!(error.unwrap_err().is_denied());
    assert_eq!((entry.detail.arguments, entry.detail.answer), (Validation::Failed, Validation::NotChecked));
    assert!(matches!(&entry.detail.decisions[0].what, What::Refused { why, .. } if why == "arguments"), "{entry:?}");
    let (error, entry) = world.entry("list", json!({ "id": 7 })).await;
    assert!(error.unwrap_err().is_invalid_response());
    assert_eq!((entry.detail.arguments, entry.detail.answer), (Validation::Passed, Validation::Failed));
}

#[tokio::test]
async fn arguments_that_are_no_object_are_in_the_audit_and_were_not_sent() {
    let mut world = World::new(AuditLevel::On).await;
    let (error, entry) = world.entry("get", json!(["hunter2"])).await;
    let error = error.unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("are a list and have to be an object"), "{error}");
    assert_eq!(error.audit_id().unwrap().to_string(), entry.execution);
    assert_eq!((entry.ending, entry.detail.attempts), (Some(Ending::Denied), 0));
    assert_eq!((entry.detail.arguments, entry.detail.answer), (Validation::Failed, Validation::NotChecked));
    assert!(matches!(&entry.detail.decisions[0].what, What::Refused { why, .. } if why == "arguments"), "{entry:?}");
    // What may not be called at all is refused for that.
    let (_, entry) = world.entry("delete", json!(7)).await;
    assert_eq!(entry.detail.access.unwrap().rule, "`deny` of the service has `del*`");
}

/// What is logged in this process.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_the_logs_or_the_entry_of_a_call_that_failed() {
    let logs = Logs::default();
    let writer = logs.clone();
    let filter = EnvFilter::new("poet_runtime=trace,poet_domains=trace");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).init();
    let text = "401: Bearer token-hunter2 may not ask for argument-hunter2";
    let server = Server::start([Tool::new("get").script([Answer::tool_error(text)])]).await.unwrap();
    let crm = server.service("crm").auth_token("token-hunter2").audit(AuditLevel::Strict);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.db");
    let runtime = Runtime::builder().service(crm).database(&path).build().unwrap();
    let error = runtime.scope(process("get", json!({ "email": "argument-hunter2" }))).await.unwrap_err();
    assert!(error.to_string().contains("hunter2"), "the program itself is told what the service said");
    let mut store = poet::store::SqliteStore::open_read_only(&path).unwrap();
    let entry = store.audit(&AuditFilter::default(), 1).await.unwrap().remove(0);
    assert_eq!(error.audit_id().unwrap().to_string(), entry.execution);
    assert!(!format!("{entry:?}").contains("hunter2"), "{entry:?}");
    assert!(entry.detail.identity.is_some() && entry.detail.error.is_some_and(|error| error.contains("[redacted]")));
    runtime.shutdown(std::time::Duration::from_secs(10)).await.unwrap();
    let logged = String::from_utf8(logs.0.lock().unwrap().clone()).unwrap();
    assert!(!logged.is_empty() && !logged.contains("hunter2"), "{logged}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_says_that_nobody_may_repeat_it() {
    let mut world = World::new(AuditLevel::Strict).await;
    let (error, entry) = world.entry("note", json!({ "id": 7 })).await;
    assert!(error.unwrap_err().is_outcome_unknown());
    assert_eq!((entry.ending, entry.detail.repeatable), (Some(Ending::OutcomeUnknown), false));
    let last = entry.detail.decisions.last().unwrap();
    assert_eq!((&last.what, last.by.who), (&What::GaveUp { why: "not_repeatable".to_owned() }, Who::Rule));
}
