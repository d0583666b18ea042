//! Plans and chains over real servers.

use crate::server::{Action, Asked, Server, json_http, rpc_error};
use poet_domains::mcp::{Chain, McpResource};
use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::plan::{self, State, Status, Step};
use poet_runtime::{Disposition, Runtime};
use serde_json::{Value, json};

fn runtime(services: &[(&str, &Server)]) -> Runtime {
    let add =
        |config: Config, (name, server): &(&str, &Server)| config.service(ServiceConfig::http(*name, server.url()));
    let config = services.iter().fold(Config::default(), add);
    Runtime::builder().configuration(config).in_memory().seed(7).build().expect("a correct configuration")
}

fn answers(text: &'static str) -> impl Fn(&Asked) -> Action {
    move |asked| Action::Send(json_http(200, &[], &asked.result(text)))
}

fn refuses(asked: &Asked) -> Action {
    Action::Send(json_http(200, &[], &rpc_error(&asked.id, -32602, "no such customer")))
}

/// Source 001's custom chain, whose condition was a comment there.
fn customer_milestone() -> Chain {
    serde_json::from_value(json!({
        "name": "customer_milestone",
        "steps": [
            { "name": "count", "server": "supabase", "tool": "read", "params": { "key": "count" } },
            {
                "server": "github",
                "tool": "write",
                "params": { "key": "Customer Milestone Reached: $last_result.count", "repo": "$repo" },
                "when": "$count.count >= 1000",
            },
        ],
    }))
    .unwrap()
}

#[tokio::test]
async fn a_milestone_opens_an_issue_only_once_it_is_reached() {
    for (count, opened) in [(r#"{"count": 999}"#, false), (r#"{"count": 1000}"#, true)] {
        let supabase = Server::start(answers(count)).await;
        let github = Server::start(Asked::done).await;
        let runtime = runtime(&[("supabase", &supabase), ("github", &github)]);
        let plan = customer_milestone().plan([("repo".to_owned(), json!("shop"))]).unwrap();
        let outcome = plan.run_in(&runtime).await.unwrap();
        assert!(outcome.success, "{outcome:?}");
        assert_eq!(github.executions().get("Customer Milestone Reached: 1000"), opened.then_some(&1));
        let expected = if opened { State::Done } else { State::Skipped };
        assert_eq!(outcome.step("step_2").unwrap().state, expected);
        assert_eq!(outcome.to_json()["chain_name"], "customer_milestone");
    }
}

fn onboarding(fail_fast: bool) -> Chain {
    serde_json::from_value(json!({
        "name": "onboarding",
        "fail_fast": fail_fast,
        "steps": [
            {
                "server": "stripe",
                "tool": "write",
                "params": { "key": "create" },
                "compensate": { "server": "stripe", "tool": "write", "params": { "key": "delete $step_1.id" } },
            },
            { "server": "supabase", "tool": "write", "params": { "key": "insert", "params": ["$email", "$step_1.id"] } },
            { "server": "mail", "tool": "write", "params": { "key": "welcome" } },
        ],
    }))
    .unwrap()
}

#[tokio::test]
async fn a_chain_that_fails_undoes_what_it_did_and_one_that_goes_on_does_not() {
    for fail_fast in [true, false] {
        let stripe = Server::start(answers(r#"{"id": "cus_7"}"#)).await;
        let supabase = Server::start(refuses).await;
        let mail = Server::start(Asked::done).await;
        let runtime = runtime(&[("stripe", &stripe), ("supabase", &supabase), ("mail", &mail)]);
        let plan = onboarding(fail_fast).plan([("email".to_owned(), json!("a@example.com"))]).unwrap();
        let outcome = plan.run_in(&runtime).await.unwrap();
        let states: Vec<_> = outcome.steps.iter().map(|step| step.state).collect();
        let undone = stripe.executions().get("delete cus_7").copied().unwrap_or(0);
        if fail_fast {
            assert_eq!((outcome.status, undone, mail.executions().len()), (Status::Failed, 1, 0));
            assert_eq!(states, [State::Compensated, State::Failed, State::NotStarted]);
        } else {
            assert_eq!((outcome.status, undone, mail.executions()["welcome"]), (Status::Partial, 0, 1));
            assert_eq!(states, [State::Done, State::Failed, State::Done]);
        }
    }
}

#[tokio::test]
async fn a_step_shows_how_its_answer_came_about() {
    let server = Server::start(answers(r#"{"id": 7}"#)).await;
    let runtime = runtime(&[("crm", &server)]);
    let crm = McpResource::new("crm");
    let plan = plan::named("p")
        .step(Step::new("get").call(crm.tool("read"), json!({ "key": "get" })))
        .step(Step::new("update").call(crm.tool("write"), json!({ "key": "update $get.id" })));
    let explained = plan.explain(&runtime).unwrap();
    assert_eq!(explained.steps[1].target, Some(("crm".to_owned(), "write".to_owned())));
    assert!(server.executions().is_empty(), "a dry run sends nothing");
    let outcome = plan.run_in(&runtime).await.unwrap();
    let step = outcome.step("update").unwrap();
    assert_eq!((step.disposition.as_ref(), step.attempts), (Some(&Disposition::Done), 1));
    assert_eq!(outcome.json::<Value>("get").unwrap(), json!({ "id": 7 }));
    assert_eq!(server.executions()["update 7"], 1);
}
