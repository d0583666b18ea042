//! What a user of the framework writes: one annotated function, which asks two services, writes to a third, and goes on
//! with what it gets.

use crate::node::{ExternalIntegration, KnowledgeSearch, ServicesUsed, Source, Sources, SupportTicket};
use crate::query::{CustomerQuery, has_answer};
use poet::mcp::{McpRequest, McpResource};
use poet::{Error, poet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::AddAssign;
use std::time::Duration;

pub(crate) const WORKFLOW: &str = "customer_support_integration";
pub(crate) const NODE: &str = "Customer Support Integration";

/// How long a source may take: an answer without it is better than none.
const PATIENCE: Duration = Duration::from_secs(2);

/// The services that there are. One that is missing is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    notion: Option<McpResource>,
    helpscout: Option<McpResource>,
    slack: Option<McpResource>,
}

impl Services {
    pub(crate) fn all() -> Self {
        Self::default().with_notion().with_helpscout().with_slack()
    }

    pub(crate) fn with_notion(self) -> Self {
        Self { notion: Some(McpResource::new("notion")), ..self }
    }

    pub(crate) fn with_helpscout(self) -> Self {
        Self { helpscout: Some(McpResource::new("helpscout")), ..self }
    }

    pub(crate) fn with_slack(self) -> Self {
        Self { slack: Some(McpResource::new("slack")), ..self }
    }
}

/// How a query was dealt with.
#[derive(Clone, Debug)]
pub(crate) struct Processed {
    pub(crate) node: ExternalIntegration,
    pub(crate) ticket: Ticket,
    pub(crate) effort: Effort,
    /// What happened, step by step, for whoever watches.
    pub(crate) steps: Vec<String>,
}

/// What became of the ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    NotWanted,
    Created(String),
    /// It was not created, and the service said so or was never reached.
    Failed,
    /// Nobody knows whether it was created; it is not tried again.
    Unknown,
}

/// What it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Effort {
    pub(crate) calls: u32,
    pub(crate) attempts: u32,
    /// Attempts beyond the first of a call. No difference of the other two: a call that is refused has none.
    pub(crate) retries: u32,
}

impl Effort {
    /// One call's.
    pub(crate) fn of_call(attempts: u32) -> Self {
        Self { calls: 1, attempts, retries: attempts.saturating_sub(1) }
    }
}

impl AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.attempts += other.attempts;
        self.retries += other.retries;
    }
}

/// Answers a customer from what is known, and gets a person where that is not enough.
///
/// A source that fails is one source less. A ticket that cannot be created is reported, and the query is answered all
/// the same. An announcement that fails is forgotten.
#[poet(domain = "mcp_integration", learning = "on", deadline = "10s")]
pub(crate) async fn customer_support_integration(
    query: &CustomerQuery,
    services: &Services,
) -> Result<Processed, Error> {
    let mut log = Log::default();
    let (pages, conversations) = tokio::join!(
        search(services.notion.as_ref(), "search_pages", query.page_search()),
        search(services.helpscout.as_ref(), "search_conversations", query.conversation_search()),
    );
    let mut results = Sources::new();
    for (name, asked) in [("notion", pages), ("helpscout", conversations)] {
        let Some((source, effort)) = asked else { continue };
        log.source(name, &source, effort);
        results.insert(name, source);
    }
    let has_answer = has_answer(results.values());

    let reason = query.wants_ticket(has_answer);
    let ticket = match reason {
        Some(_) => log.ticket(create_ticket(query, services.helpscout.as_ref()).await),
        None => Ticket::NotWanted,
    };
    let ticket_id = match &ticket {
        Ticket::Created(id) => Some(id.clone()),
        _ => None,
    };
    let slack = services.slack.as_ref().filter(|_| query.is_urgent());
    if let Some(slack) = slack {
        log.announcement(call(slack.tool("send_message").args(query.announcement(ticket_id.as_deref()))).await);
    }

    let node = ExternalIntegration {
        services_used: ServicesUsed {
            notion: services.notion.is_some(),
            helpscout: services.helpscout.is_some(),
            slack: slack.is_some(),
        },
        knowledge_search: KnowledgeSearch { query: query.question.clone(), results, has_answer },
        support_ticket: SupportTicket { created: ticket_id.is_some(), ticket_id, reason },
        customer_info: query.into(),
        processing_timestamp: chrono::Utc::now().to_rfc3339(),
    };
    Ok(Processed { node, ticket, effort: log.effort, steps: log.steps })
}

type Called<T> = (Result<T, Error>, Effort);

/// Makes a call, and tells what it took.
async fn call(request: McpRequest) -> Called<Value> {
    // On the heap: the future of the function would hold room for all four of its calls.
    let reply = Box::pin(request.call()).await;
    let attempts = reply.as_ref().map_or_else(Error::attempts, poet::Reply::attempts);
    (reply.and_then(|reply| reply.json()), Effort::of_call(attempts))
}

/// Asks a source; `None` where there is none.
async fn search(service: Option<&McpResource>, tool: &str, arguments: Value) -> Option<(Source, Effort)> {
    let (answer, effort) = call(service?.tool(tool).args(arguments).deadline(PATIENCE)).await;
    let results = answer.and_then(|answer| match answer.get("results").and_then(Value::as_array) {
        Some(results) => Ok(results.clone()),
        None => Err(Error::invalid_response(format!("`results` of {tool} is no list"))),
    });
    let source =
        results.map_or_else(|error| Source::Failed { error: error.to_string() }, |results| Source::Found { results });
    Some((source, effort))
}

/// Creates the ticket, once: what may have created it is not called again.
pub(crate) async fn create_ticket(query: &CustomerQuery, helpscout: Option<&McpResource>) -> Called<String> {
    let Some(helpscout) = helpscout else {
        let message = "helpscout is not configured, and that is where tickets are created";
        return (Err(Error::configuration(message)), Effort::default());
    };
    let (answer, effort) = call(helpscout.tool("create_conversation").args(query.ticket())).await;
    let id = answer.and_then(|answer| match answer.get("id").and_then(Value::as_str) {
        Some(id) => Ok(id.to_owned()),
        None => Err(Error::invalid_response("`id` of the new ticket is no text")),
    });
    (id, effort)
}

/// What happened so far.
#[derive(Debug, Default)]
struct Log {
    steps: Vec<String>,
    effort: Effort,
}

impl Log {
    fn say(&mut self, step: String, effort: Effort) {
        let tries = if effort.attempts > 1 { format!(" (attempt {})", effort.attempts) } else { String::new() };
        self.steps.push(step + &tries);
        self.effort += effort;
    }

    fn source(&mut self, name: &str, source: &Source, effort: Effort) {
        let step = match source {
            Source::Found { results } => format!("{name}: {} found", results.len()),
            Source::Failed { error } => format!("{name}: failed, going on without it: {error}"),
        };
        self.say(step, effort);
    }

    fn ticket(&mut self, (created, effort): Called<String>) -> Ticket {
        let (step, ticket) = match created {
            Ok(id) => (format!("ticket {id} created"), Ticket::Created(id)),
            Err(error) if error.is_outcome_unknown() => {
                (format!("ticket: look whether there is one: {error}"), Ticket::Unknown)
            }
            // An answer that cannot be read is one to a call that was executed.
            Err(error) if error.is_invalid_response() => {
                (format!("ticket: look which one it is: {error}"), Ticket::Unknown)
            }
            Err(error) => (format!("ticket: not created: {error}"), Ticket::Failed),
        };
        self.say(step, effort);
        ticket
    }

    fn announcement(&mut self, (sent, effort): Called<Value>) {
        let step = match sent {
            Ok(_) => "slack: announced".to_owned(),
            Err(error) => format!("slack: not announced, which changes nothing: {error}"),
        };
        self.say(step, effort);
    }
}
