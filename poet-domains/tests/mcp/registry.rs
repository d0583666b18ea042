//! The tools of several services at one place.

use crate::clock::by;
use poet_domains::mcp::testing::{Server, Tool};
use poet_domains::mcp::{McpResource, Registry, Repeatable};
use poet_runtime::config::{Config, ServiceConfig, ToolConfig};
use poet_runtime::{Error, Runtime};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(5);

fn runtime(services: impl IntoIterator<Item = ServiceConfig>) -> Runtime {
    let config = services.into_iter().fold(Config::default(), Config::service);
    Runtime::builder().configuration(config).in_memory().seed(7).build().unwrap()
}

async fn notion() -> Server {
    Server::start([
        Tool::new("search_pages").read_only().description("Finds pages.").answers(json!({ "found": "a page" })),
        Tool::new("search").read_only(),
    ])
    .await
    .unwrap()
}

async fn helpscout() -> Server {
    Server::start([Tool::new("create_conversation").answers(json!({ "id": 1 })), Tool::new("search").read_only()])
        .await
        .unwrap()
}

async fn slack() -> Server {
    Server::start([Tool::new("send_message").answers(json!({ "sent": true }))]).await.unwrap()
}

/// Notion, a runtime that knows it and slack, and where slack was before it was stopped.
async fn with_slack_down() -> (Server, Runtime, SocketAddr) {
    let (notion, slack) = (notion().await, slack().await);
    let runtime = runtime([notion.service("notion"), slack.service("slack")]);
    let address = slack.stop().await;
    (notion, runtime, address)
}

#[tokio::test]
async fn every_server_of_the_configuration_is_asked_and_its_tools_are_grouped_by_service() {
    let (notion, helpscout) = (notion().await, helpscout().await);
    let tool = ToolConfig::default().idempotent();
    let runtime = runtime([
        notion.service("notion").trusted(),
        helpscout.service("helpscout").tool("create_conversation", tool),
        ServiceConfig::http("shop", "http://127.0.0.1:1/").domain("http_api"),
        ServiceConfig::named("rates"),
    ]);
    runtime
        .scope(async {
            let registry = Registry::discover(LIMIT).await.unwrap();
            let listed: Vec<_> = registry
                .services()
                .into_iter()
                .map(|listing| (listing.service, listing.tools.len(), listing.problem.is_some()))
                .collect();
            assert_eq!(listed, [("helpscout".to_owned(), 2, false), ("notion".to_owned(), 2, false)]);
            let pages = registry.tool("notion", "search_pages").unwrap();
            assert_eq!(pages.qualified_name(), "notion.search_pages");
            assert_eq!(pages.info.description.as_deref(), Some("Finds pages."));
            assert_eq!(pages.info.input_schema, json!({ "type": "object" }));
            let said: Vec<_> = registry.tools().iter().map(|tool| tool.repeatable).collect();
            let (declared, claimed) = (Repeatable::Declared(true), Repeatable::Claimed(true));
            assert_eq!(said, [declared, Repeatable::Unknown, claimed, claimed]);
        })
        .await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_no_error_and_is_asked_again_when_it_is_needed() {
    let (_notion, runtime, address) = with_slack_down().await;
    runtime
        .scope(async {
            let registry = Registry::discover(LIMIT).await.unwrap();
            let [_, slack] = &registry.services()[..] else { panic!("two services") };
            assert!(slack.tools.is_empty() && slack.problem.is_some());
            assert_eq!(registry.tools().len(), 2, "the other one is usable");
            registry.call_any_tool("search_pages", json!({})).await.unwrap();

            let error = registry.tool("slack", "send_message").unwrap_err();
            assert!(error.is_service() && error.to_string().contains("`slack`"), "{error}");
            let server = Server::start_at(address, [Tool::new("send_message")]).await.unwrap();
            // Not found among what is known, so those who were silent are asked once more.
            registry.call_any_tool("send_message", json!({ "text": "hello" })).await.unwrap();
            assert_eq!(server.executed("send_message", &json!({ "text": "hello" })), 1);
            assert!(registry.services()[1].problem.is_none());
        })
        .await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_no_longer_than_was_said() {
    let notion = notion().await;
    // Its connections are accepted by the system, and by nobody else.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let slack = ServiceConfig::http("slack", format!("http://{}/mcp", silent.local_addr().unwrap()));
    runtime([notion.service("notion"), slack])
        .scope(async {
            let limit = Duration::from_millis(500);
            let registry = by(Instant::now() + limit, Registry::discover(limit)).await.unwrap();
            let [notion, slack] = &registry.services()[..] else { panic!("two services") };
            assert_eq!((notion.tools.len(), slack.tools.len()), (2, 0));
            assert!(slack.problem.as_ref().is_some_and(|problem| problem.to_string().contains("still connecting")));
        })
        .await;
}

#[tokio::test]
async fn a_name_that_two_services_offer_is_refused_until_the_service_is_named() {
    let (notion, helpscout) = (notion().await, helpscout().await);
    runtime([notion.service("notion"), helpscout.service("helpscout")])
        .scope(async {
            let registry = Registry::discover(LIMIT).await.unwrap();
            let error = registry.call_any_tool("search", json!({})).await.unwrap_err();
            assert!(error.is_denied(), "{error}");
            assert!(error.to_string().contains("write `helpscout.search` or `notion.search`"), "{error}");
            assert_eq!(notion.calls("search") + helpscout.calls("search"), 0);
            registry.call_any_tool("notion.search", json!({})).await.unwrap();
            assert_eq!((notion.calls("search"), helpscout.calls("search")), (1, 0));
            let reply = registry.call_any_tool("create_conversation", json!({})).await.unwrap();
            assert_eq!(reply.value(), &json!({ "id": 1 }));
        })
        .await;
}

#[tokio::test]
async fn names_that_stand_for_nothing_are_answered_with_a_guess() {
    let notion = notion().await;
    runtime([notion.service("notion")])
        .scope(async {
            let registry = Registry::discover(LIMIT).await.unwrap();
            let refused = |error: Error, guess: &str| {
                assert!(error.is_denied() && error.to_string().contains(guess), "{error}");
            };
            refused(registry.route("serach_pages").await.unwrap_err(), "did you mean `notion.search_pages`?");
            refused(registry.tool("notion", "serach").unwrap_err(), "did you mean `notion.search`?");
            let error = registry.tool("motion", "search").unwrap_err();
            assert!(error.is_configuration() && error.to_string().contains("did you mean `notion`?"), "{error}");
            let error = Registry::discover_of(["motion"], LIMIT).await.unwrap_err();
            assert!(error.is_configuration() && error.to_string().contains("`motion`"), "{error}");
        })
        .await;
}

#[tokio::test]
async fn where_no_server_is_configured_there_is_nothing_to_discover() {
    let error = runtime([]).scope(Registry::discover(LIMIT)).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("no MCP server"), "{error}");
}

#[tokio::test]
async fn tools_that_were_announced_to_have_changed_are_found_by_their_new_names() {
    let server = notion().await;
    runtime([server.service("notion")])
        .scope(async {
            let registry = Registry::discover(LIMIT).await.unwrap();
            server.replace_tools([Tool::new("find_pages").answers(json!({ "found": 2 }))]);
            assert!(registry.route("find_pages").await.is_err(), "nobody has been told yet");
            // Its answer brings the news.
            let _ = McpResource::new("notion").call_tool("find_pages", json!({})).await;
            let reply = registry.call_any_tool("find_pages", json!({})).await.unwrap();
            assert_eq!(reply.value(), &json!({ "found": 2 }));
            assert!(registry.route("search_pages").await.unwrap_err().is_denied());
        })
        .await;
}

#[tokio::test]
async fn what_is_known_is_refreshed_only_where_it_is_old() {
    let (notion, runtime, address) = with_slack_down().await;
    runtime
        .scope(async {
            let registry = Registry::discover(LIMIT).await.unwrap();
            let before = notion.lists();
            let _slack = Server::start_at(address, [Tool::new("send_message")]).await.unwrap();
            registry.refresh(LIMIT).await;
            assert_eq!(registry.tool("slack", "send_message").unwrap().service, "slack");
            assert_eq!(notion.lists(), before);
        })
        .await;
}

#[tokio::test]
async fn a_tool_that_was_called_tells_how_it_did() {
    let notion = notion().await;
    runtime([notion.service("notion")])
        .scope(async {
            let registry = Registry::discover(LIMIT).await.unwrap();
            assert!(registry.tool("notion", "search_pages").unwrap().usage.is_none());
            registry.call_any_tool("search_pages", json!({})).await.unwrap();
            assert!(registry.tool("notion", "search_pages").unwrap().usage.is_some());
            assert!(registry.tool("notion", "search").unwrap().usage.is_none());
        })
        .await;
}

#[tokio::test]
async fn a_schema_that_changes_has_another_hash_whatever_the_order_of_its_keys() {
    let hash = async |schema: Value| {
        let server = Server::start([Tool::new("search").takes(schema)]).await.unwrap();
        let runtime = runtime([server.service("notion")]);
        let tools = runtime.scope(McpResource::new("notion").list_tools()).await.unwrap();
        tools[0].schema_hash()
    };
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let one = read(r#"{"type": "object", "properties": {"query": {"type": "string"}}}"#);
    let same = read(r#"{"properties": {"query": {"type": "string"}}, "type": "object"}"#);
    let other = read(r#"{"properties": {"query": {"type": "integer"}}, "type": "object"}"#);
    assert_eq!(hash(one.clone()).await, hash(same).await);
    assert_ne!(hash(one).await, hash(other).await);
}

#[test]
fn a_function_that_cannot_wait_finds_tools_by_name_too() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let notion = servers.block_on(notion());
    runtime([notion.service("notion")]).scope_blocking(|| {
        let registry = Registry::discover_blocking(LIMIT).unwrap();
        let reply = registry.call_any_tool_blocking("search_pages", json!({})).unwrap();
        assert_eq!(reply.value(), &json!({ "found": "a page" }));
    });
}
