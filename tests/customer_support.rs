//! The rules of the example `customer_support`, on its own code: who gets a ticket, who is told, what is left out, and
//! that nothing is created twice.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]
#![expect(dead_code, reason = "the modules belong to the example, which uses all of them")]

#[path = "../examples/customer_support/desks.rs"]
mod desks;
#[path = "../examples/customer_support/load.rs"]
mod load;
#[path = "../examples/customer_support/node.rs"]
mod node;
#[path = "../examples/customer_support/query.rs"]
mod query;
#[path = "../examples/customer_support/support.rs"]
mod support;
#[path = "../examples/customer_support/tally.rs"]
mod tally;

use desks::{Desk, TicketEntry};
use node::{Reason, Source};
use poet::config::{Config, ToolConfig};
use poet::mcp::testing::{Answer, Server, Tool};
use poet::parameter::MAX_RETRIES;
use poet::{Error, Runtime};
use query::{CustomerQuery, has_answer};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Effort, Processed, Services, Ticket, create_ticket, customer_support_integration};
use tally::Tally;

/// The services as tools of these tests.
struct World {
    notion: Server,
    helpscout: Server,
    slack: Server,
    runtime: Runtime,
}

fn one(name: &str) -> Tool {
    Tool::new(name).answers(json!({ "results": [{ "title": "something" }] }))
}

fn none(name: &str) -> Tool {
    Tool::new(name).answers(json!({ "results": [] }))
}

fn ticketing() -> Tool {
    Tool::new("create_conversation").answers(json!({ "id": "HS-1" }))
}

fn announcing() -> Tool {
    Tool::new("send_message").answers(json!({ "ok": true }))
}

impl World {
    async fn of(pages: Tool, conversations: Tool, tickets: Tool, messages: Tool) -> Self {
        let notion = Server::start([pages]).await.unwrap();
        let helpscout = Server::start([conversations, tickets]).await.unwrap();
        let slack = Server::start([messages]).await.unwrap();
        let runtime = runtime(&notion, &helpscout, &slack);
        Self { notion, helpscout, slack, runtime }
    }

    async fn handle(&self, query: &CustomerQuery, services: &Services) -> Processed {
        self.runtime.scope(customer_support_integration(query, services)).await.unwrap()
    }

    fn created(&self) -> usize {
        self.helpscout.executions("create_conversation").len()
    }
}

fn runtime(notion: &Server, helpscout: &Server, slack: &Server) -> Runtime {
    let read = || ToolConfig::default().read_only();
    let config = Config::default()
        .service(notion.service("notion").tool("search_pages", read()))
        .service(helpscout.service("helpscout").tool("search_conversations", read()).pin("retry.max_retries", 1))
        .service(slack.service("slack"));
    Runtime::builder().configuration(config).in_memory().seed(7).build().unwrap()
}

fn asking(urgency: &str) -> CustomerQuery {
    CustomerQuery::new("CUST-9", "Where is my invoice?").about("billing", urgency)
}

fn text(arguments: &serde_json::Map<String, Value>, name: &str) -> String {
    arguments[name].as_str().unwrap().to_owned()
}

#[test]
fn an_answer_is_a_source_that_found_something() {
    let found = |results: Vec<Value>| Source::Found { results };
    let failed = || Source::Failed { error: "503".to_owned() };
    assert!(has_answer(&[failed(), found(vec![json!({})])]));
    assert!(!has_answer(&[found(vec![]), failed()]));
    assert!(!has_answer(&[]));
}

#[test]
fn a_ticket_is_wanted_without_an_answer_or_with_high_urgency_and_urgency_is_normal_unless_it_is_said() {
    for (urgency, has_answer, reason) in [
        (None, true, None),
        (None, false, Some(Reason::NoKnowledgeFound)),
        (Some("low"), true, None),
        (Some("low"), false, Some(Reason::NoKnowledgeFound)),
        (Some("high"), true, Some(Reason::HighUrgency)),
        (Some("high"), false, Some(Reason::NoKnowledgeFound)),
    ] {
        let query = CustomerQuery { urgency: urgency.map(str::to_owned), ..CustomerQuery::new("C", "?") };
        assert_eq!(query.wants_ticket(has_answer), reason, "{urgency:?}, {has_answer}");
        assert_eq!(query.urgency(), urgency.unwrap_or("normal"));
    }
}

#[test]
fn texts_are_cut_between_characters() {
    let query = CustomerQuery::new("CUST-9", "é".repeat(120)).about("billing", "high");
    assert_eq!(query.ticket()["subject"], format!("Support Request: {}", "é".repeat(50)));
    assert_eq!(query.ticket()["message"], "é".repeat(120));
    let announcement = query.announcement(Some("HS-7"));
    let text = announcement["text"].as_str().unwrap();
    assert!(text.contains("HS-7") && text.contains("CUST-9"));
    assert_eq!(text.matches('é').count(), 100);
}

#[tokio::test]
async fn the_three_customers_of_the_story_are_dealt_with_as_it_is_told() {
    let open = async |name| Desk::open(name, 7).await.unwrap().unwrap();
    let (notion, helpscout, slack) = (open("notion").await, open("helpscout").await, open("slack").await);
    let runtime = runtime(&notion.server, &helpscout.server, &slack.server);
    let mut told = Vec::new();
    for query in CustomerQuery::scenarios() {
        let processed = runtime.scope(customer_support_integration(&query, &Services::all())).await.unwrap();
        told.push((processed.node.stored(), processed.node.metadata()));
    }
    let [password, payment, requirements] = &told[..] else { panic!("three customers") };
    let part = |told: &(Value, Value), name: &str| told.0["external_integration"][name].clone();
    assert_eq!(part(password, "support_ticket"), json!({ "created": false, "ticket_id": null, "reason": null }));
    assert_eq!(part(password, "services_used"), json!({ "notion": true, "helpscout": true, "slack": false }));
    let urgent = json!({ "created": true, "ticket_id": "HS-1001", "reason": "high_urgency" });
    assert_eq!(part(payment, "support_ticket"), urgent);
    assert_eq!(part(payment, "services_used"), json!({ "notion": true, "helpscout": true, "slack": true }));
    assert_eq!(part(payment, "knowledge_search")["results"]["helpscout"]["success"], false);
    let unknown = json!({ "created": true, "ticket_id": "HS-1002", "reason": "no_knowledge_found" });
    assert_eq!(part(requirements, "support_ticket"), unknown);
    let info = json!({ "customer_id": "CUST-003", "category": "technical", "urgency": "low" });
    assert_eq!(part(requirements, "customer_info"), info);
    let metadata: Vec<_> = told.iter().map(|(_, metadata)| metadata.clone()).collect();
    let expected = |answer: bool, created: bool, contacted: usize| json!({ "has_knowledge_answer": answer, "ticket_created": created, "services_contacted": contacted });
    assert_eq!(metadata, [expected(true, false, 2), expected(true, true, 1), expected(false, true, 2)]);
}

#[tokio::test]
async fn the_services_are_asked_in_the_words_they_understand() {
    let world = World::of(none("search_pages"), none("search_conversations"), ticketing(), announcing()).await;
    world.handle(&asking("high"), &Services::all()).await;
    let question = "Where is my invoice?";
    let pages = json!({ "query": question, "limit": 5, "include_content": true });
    assert_eq!(world.notion.executed("search_pages", &pages), 1);
    let conversations = json!({ "query": question, "type": "conversations", "limit": 10 });
    assert_eq!(world.helpscout.executed("search_conversations", &conversations), 1);
    let ticket = json!({
        "customer_id": "CUST-9",
        "subject": "Support Request: Where is my invoice?",
        "message": question,
        "priority": "high",
        "type": "email",
    });
    assert_eq!(world.helpscout.executed("create_conversation", &ticket), 1);
    let [message] = &world.slack.executions("send_message")[..] else { panic!("one message") };
    assert_eq!(text(message, "channel"), "customer-support");
    assert_eq!(text(message, "username"), "AI Support Assistant");
    let said = text(message, "text");
    assert!(said.contains("HS-1") && said.contains("CUST-9") && said.contains(question), "{said}");
}

#[tokio::test]
async fn a_source_that_fails_is_one_source_less() {
    let refuses = one("search_conversations").decide(|_| Answer::status(503));
    let world = World::of(one("search_pages"), refuses, ticketing(), announcing()).await;
    let processed = world.handle(&asking("normal"), &Services::all()).await;
    let results = &processed.node.stored()["external_integration"]["knowledge_search"]["results"];
    assert_eq!(results["notion"], json!({ "success": true, "results": [{ "title": "something" }] }));
    let failed = results["helpscout"].as_object().unwrap();
    assert_eq!(failed["success"], false);
    assert!(text(failed, "error").contains("503") && !failed.contains_key("results"), "{failed:?}");
    assert_eq!(processed.node.metadata()["services_contacted"], 1);
    assert_eq!((processed.ticket, world.created()), (Ticket::NotWanted, 0), "the other source had an answer");
}

#[tokio::test]
async fn a_source_that_is_not_there_and_one_that_answers_nonsense_leave_a_person_to_answer() {
    let nonsense = Tool::new("search_conversations").answers(json!({ "results": "many" }));
    let world = World::of(one("search_pages"), nonsense, ticketing(), announcing()).await;
    let World { notion, helpscout, runtime, slack } = world;
    notion.stop().await;
    let processed = runtime.scope(customer_support_integration(&asking("normal"), &Services::all())).await.unwrap();
    assert!(processed.node.knowledge_search.results.values().all(|source| matches!(source, Source::Failed { .. })));
    assert_eq!(processed.node.support_ticket.reason, Some(Reason::NoKnowledgeFound));
    assert_eq!(helpscout.executions("create_conversation").len(), 1);
    assert_eq!(slack.calls("send_message"), 0);
}

#[tokio::test]
async fn only_high_urgency_is_announced() {
    let world = World::of(none("search_pages"), none("search_conversations"), ticketing(), announcing()).await;
    for (urgency, messages) in [("low", 0), ("normal", 0), ("high", 1)] {
        world.handle(&asking(urgency), &Services::all()).await;
        assert_eq!(world.slack.executions("send_message").len(), messages, "{urgency}");
    }
    assert_eq!(world.created(), 3);
}

#[tokio::test]
async fn an_announcement_that_fails_changes_nothing() {
    for answer in [Answer::tool_error("403 Forbidden"), Answer::status(503), Answer::Lost, Answer::Garbage] {
        let messages = announcing().decide(move |_| answer.clone());
        let world = World::of(one("search_pages"), one("search_conversations"), ticketing(), messages).await;
        let processed = world.handle(&asking("high"), &Services::all()).await;
        assert_eq!(processed.ticket, Ticket::Created("HS-1".to_owned()));
        assert_eq!(world.slack.calls("send_message"), 1);
    }
}

#[tokio::test]
async fn a_ticket_that_cannot_be_created_is_reported_and_the_query_is_answered() {
    let refuses = ticketing().decide(|_| Answer::tool_error("422 Unprocessable Content: no such mailbox"));
    let world = World::of(one("search_pages"), one("search_conversations"), refuses, announcing()).await;
    let processed = world.handle(&asking("high"), &Services::all()).await;
    assert_eq!(processed.ticket, Ticket::Failed);
    assert!(processed.steps.iter().any(|step| step.contains("no such mailbox")), "{:?}", processed.steps);
    let ticket = &processed.node.stored()["external_integration"]["support_ticket"];
    assert_eq!(ticket, &json!({ "created": false, "ticket_id": null, "reason": "high_urgency" }));
    assert_eq!(world.slack.executions("send_message").len(), 1, "somebody has to hear of it all the same");
}

#[tokio::test]
async fn a_ticket_whose_answer_was_lost_is_not_created_again() {
    for (answer, created) in [(Answer::Lost, 1), (Answer::Refused, 0), (Answer::Garbage, 1)] {
        let shown = format!("{answer:?}");
        let world =
            World::of(none("search_pages"), none("search_conversations"), ticketing().script([answer]), announcing());
        let world = world.await;
        let processed = world.handle(&asking("normal"), &Services::all()).await;
        assert_eq!(processed.ticket, Ticket::Unknown, "{shown}");
        assert_eq!((world.helpscout.calls("create_conversation"), world.created()), (1, created), "{shown}");
    }
}

#[tokio::test]
async fn a_ticket_that_was_refused_before_anything_ran_is_asked_for_again() {
    let throttles = ticketing().script([Answer::throttled(Duration::ZERO)]);
    let world = World::of(none("search_pages"), none("search_conversations"), throttles, announcing()).await;
    let processed = world.handle(&asking("normal"), &Services::all()).await;
    assert_eq!(processed.ticket, Ticket::Created("HS-1".to_owned()));
    assert_eq!((world.helpscout.calls("create_conversation"), world.created()), (2, 1));
}

#[tokio::test]
async fn without_slack_nobody_is_told_and_without_a_help_desk_a_ticket_is_an_error_that_is_reported() {
    let world = World::of(one("search_pages"), one("search_conversations"), ticketing(), announcing()).await;
    let no_slack = world.handle(&asking("high"), &Services::default().with_notion().with_helpscout()).await;
    assert_eq!(no_slack.ticket, Ticket::Created("HS-1".to_owned()));
    assert!(!no_slack.node.services_used.slack);
    assert_eq!(world.slack.calls("send_message"), 0);

    let no_desk = world.handle(&asking("high"), &Services::default().with_notion().with_slack()).await;
    assert_eq!(no_desk.ticket, Ticket::Failed);
    assert!(no_desk.steps.iter().any(|step| step.contains("helpscout is not configured")), "{:?}", no_desk.steps);
    assert_eq!(no_desk.node.knowledge_search.results.keys().collect::<Vec<_>>(), [&"notion"]);
    assert!(!no_desk.node.services_used.helpscout && no_desk.node.services_used.slack);
    let (error, _) = create_ticket(&asking("high"), None).await;
    assert!(error.is_err_and(|error: Error| error.is_configuration()));
}

#[test]
fn a_call_that_was_refused_takes_no_retry_of_another_away() {
    let mut effort = Effort::default();
    [3, 0, 1, 0].map(Effort::of_call).into_iter().for_each(|call| effort += call);
    assert_eq!((effort.calls, effort.attempts, effort.retries), (4, 4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_twice_for_a_crowd_whose_services_fail() {
    for seed in [7, 8] {
        let open = async |name| Desk::open(name, seed).await.unwrap().unwrap();
        let (notion, helpscout, slack) = (open("notion").await, open("helpscout").await, open("slack").await);
        let runtime = runtime(&notion.server, &helpscout.server, &slack.server);
        let mut tally = Tally::default();
        for handled in load::handle(&runtime, &Services::all(), 120, 8).await {
            tally.add(&handled);
        }
        let books = helpscout.books();
        assert_eq!(tally.broken(&books), Vec::<String>::new(), "seed {seed}");
        assert!(tally.queries == 120 && tally.partial > 0 && tally.effort.retries > 0, "seed {seed}: {tally:?}");
        assert!(!tally.unknown.is_empty() && tally.created.len() > tally.wanted.len() / 2, "seed {seed}: {tally:?}");
    }
}

#[test]
fn a_promise_that_is_broken_is_found() {
    let entry = |id: &str, customer: &str| TicketEntry { id: id.to_owned(), customer_id: customer.to_owned() };
    let tally = Tally {
        wanted: ["A", "B", "C"].map(str::to_owned).into(),
        created: [("A".to_owned(), "HS-1".to_owned()), ("B".to_owned(), "HS-9".to_owned())].into(),
        failed: vec!["D: the deadline has passed".to_owned()],
        ..Tally::default()
    };
    let tickets = vec![entry("HS-1", "A"), entry("HS-2", "A"), entry("HS-3", "X")];
    let broken = tally.broken(&desks::Books { tickets, ..desks::Books::default() });
    for found in [
        "D: the deadline has passed",
        "A has 2 tickets: HS-1, HS-2",
        "X has a ticket that nobody wanted",
        "B was told of ticket HS-9, which there is not",
        "nobody was told what became of the ticket of C",
    ] {
        assert!(broken.iter().any(|promise| promise.contains(found)), "{found}: {broken:?}");
    }
    assert_eq!(broken.len(), 5, "{broken:?}");
}

#[test]
fn the_configuration_is_read_as_it_is_written_for_other_clients() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.yaml");
    let mut written = include_str!("../examples/customer_support/poet.yaml").to_owned();
    // Nothing is set in the environment of a test.
    for token in ["NOTION_AUTH_TOKEN", "HELPSCOUT_AUTH_TOKEN", "SLACK_BOT_TOKEN"] {
        assert!(written.contains(&format!("${{{token}}}")));
        written = written.replace(&format!("${{{token}}}"), "x");
    }
    std::fs::write(&path, written).unwrap();
    let config = Config::load(&path).unwrap();
    for (name, port, timeout, attempts) in
        [("notion", 8002, 30_000, 3), ("helpscout", 8001, 15_000, 2), ("slack", 8003, 10_000, 1)]
    {
        let service = &config.services[name];
        assert_eq!(service.endpoints[0].url, format!("http://localhost:{port}/mcp"));
        assert_eq!(service.timeout, Some(Duration::from_millis(timeout)));
        assert_eq!(service.pin.get(&MAX_RETRIES, None), Some(f64::from(attempts - 1)), "{name}");
    }
    assert!(!config.services["helpscout"].tools.contains_key("create_conversation"), "nobody vouches for it");
}
