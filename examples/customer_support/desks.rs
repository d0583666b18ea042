//! The three services: what they know and do, and what goes wrong with them.
//!
//! What happens to the customers of the story is said customer by customer. To all others chance does what is stated,
//! the same for the same seed, in whatever order they come.

use poet::mcp::testing::{Answer, Call, Faults, Server, Tool};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The services, as they are configured.
pub(crate) const ALL: [&str; 3] = ["notion", "helpscout", "slack"];

/// What goes wrong, in the words of a report.
pub(crate) const STATED: &str = "\
notion      the first search for CUST-001 answers 503; of the others 15 % answer 503, 5 % lose their answer
helpscout   searches for CUST-002 answer 503, and its ticket is throttled once; of the other searches 20 % answer 503;
            of the other tickets 10 % are created and their answer is lost, 5 % are lost before that, 10 % are throttled
slack       every second message is refused";

/// One of the services, running.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) server: Server,
    tickets: Arc<Mutex<Vec<TicketEntry>>>,
}

/// A ticket that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketEntry {
    pub(crate) id: String,
    pub(crate) customer_id: String,
}

/// What a service has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Books {
    pub(crate) requests: usize,
    pub(crate) tickets: Vec<TicketEntry>,
    pub(crate) messages: Vec<String>,
}

impl Desk {
    /// Starts the service of that name; `None` if there is none.
    pub(crate) async fn open(name: &str, seed: u64) -> Option<io::Result<Self>> {
        let tickets = Arc::<Mutex<Vec<TicketEntry>>>::default();
        let tools = match name {
            "notion" => vec![notion(seed)],
            "helpscout" => vec![conversations(seed), ticketing(seed, tickets.clone())],
            "slack" => vec![slack()],
            _ => return None,
        };
        Some(Server::start(tools).await.map(|server| Self { server, tickets }))
    }

    pub(crate) fn books(&self) -> Books {
        let tools = ["search_pages", "search_conversations", "create_conversation", "send_message"];
        let texts = self.server.executions("send_message").into_iter().map(|message| text(&message, "text"));
        Books {
            requests: tools.iter().map(|tool| self.server.calls(tool)).sum(),
            tickets: self.tickets.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            messages: texts.collect(),
        }
    }
}

/// What stands in the knowledge base.
const PAGES: [(&str, &str, &str); 3] = [
    ("password", "Resetting your password", "Choose `Forgot password` and follow the link in the mail."),
    ("payment", "When a payment fails", "A payment that failed is given back within three days."),
    ("invoice", "Where invoices are", "Under `Account`, `Billing`."),
];

/// What customers were told before.
const CONVERSATIONS: [(&str, &str); 2] = [
    ("password", "The mail was in the spam folder."),
    ("payment", "The bank had blocked the card; the second charge was given back."),
];

fn notion(seed: u64) -> Tool {
    let faults = Faults::seeded(seed).share(0.15, Answer::status(503)).share(0.05, Answer::Lost);
    Tool::new("search_pages")
        .description("Finds pages by the words of a question.")
        .takes(schema(&[("query", "string"), ("limit", "integer"), ("include_content", "boolean")]))
        .read_only()
        .does(|arguments| {
            let question = text(arguments, "query").to_lowercase();
            let pages = PAGES.iter().filter(|(word, ..)| question.contains(word));
            let pages: Vec<_> =
                pages.map(|(_, title, content)| json!({ "title": title, "content": content })).collect();
            Ok(json!({ "results": pages }))
        })
        .decide(move |call| match customer(call) {
            Some(1) if call.attempt == 1 => Answer::status(503),
            Some(_) => Answer::Done,
            None => faults.answer(fate(call)).after(WORK),
        })
}

fn conversations(seed: u64) -> Tool {
    let faults = Faults::seeded(seed + 1).share(0.2, Answer::status(503));
    Tool::new("search_conversations")
        .description("Finds conversations by the words of a question.")
        .takes(schema(&[("query", "string"), ("type", "string"), ("limit", "integer")]))
        .read_only()
        .does(|arguments| {
            let question = text(arguments, "query").to_lowercase();
            let found = CONVERSATIONS.iter().filter(|(word, _)| question.contains(word));
            Ok(json!({ "results": found.map(|(_, said)| json!({ "text": said })).collect::<Vec<_>>() }))
        })
        .decide(move |call| match customer(call) {
            Some(2) => Answer::status(503),
            Some(_) => Answer::Done,
            None => faults.answer(fate(call)).after(WORK),
        })
}

/// The tool that must not be called twice.
fn ticketing(seed: u64, tickets: Arc<Mutex<Vec<TicketEntry>>>) -> Tool {
    let throttled = || Answer::throttled(Duration::ZERO);
    let faults = Faults::seeded(seed + 2).share(0.1, Answer::Lost).share(0.05, Answer::Refused).share(0.1, throttled());
    Tool::new("create_conversation")
        .description("Opens a conversation with a customer.")
        .takes(schema(&["customer_id", "subject", "message", "priority", "type"].map(|name| (name, "string"))))
        .does(move |arguments| {
            let mut tickets = tickets.lock().unwrap_or_else(PoisonError::into_inner);
            let id = format!("HS-{}", 1001 + tickets.len());
            tickets.push(TicketEntry { id: id.clone(), customer_id: text(arguments, "customer_id") });
            Ok(json!({ "id": id }))
        })
        .decide(move |call| match customer(call) {
            Some(2) if call.attempt == 1 => throttled(),
            Some(_) => Answer::Done,
            None => faults.answer(fate(call)).after(WORK),
        })
}

fn slack() -> Tool {
    Tool::new("send_message")
        .description("Writes to a channel.")
        .takes(schema(&["channel", "text", "username"].map(|name| (name, "string"))))
        .does(|_| Ok(json!({ "ok": true })))
        .decide(|call| match call.number % 2 {
            0 => Answer::Done,
            _ => Answer::tool_error("403 Forbidden: not in the channel"),
        })
}

/// An object with these fields.
fn schema(fields: &[(&str, &str)]) -> Value {
    let properties: Map<_, _> =
        fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind }))).collect();
    json!({ "type": "object", "properties": properties })
}

/// How long a service works, where nobody watches.
const WORK: Duration = Duration::from_millis(2);

/// Which customer of the story a call is about, by its own words; `None` for all others.
fn customer(call: &Call) -> Option<usize> {
    let (query, id) = (text(&call.arguments, "query"), text(&call.arguments, "customer_id"));
    let mut story = crate::query::CustomerQuery::scenarios().into_iter();
    story.position(|told| told.question == query || told.customer_id == id).map(|place| place + 1)
}

/// What chance is asked about: the customer and the attempt, and not who came before, so that a crowd that arrives in
/// another order meets the same faults.
fn fate(call: &Call) -> u64 {
    let words = text(&call.arguments, "query") + &text(&call.arguments, "customer_id");
    let digits: String = words.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap_or_default().wrapping_mul(1000).wrapping_add(call.attempt)
}

fn text(arguments: &Map<String, Value>, name: &str) -> String {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
