//! What a customer asks, and the rules by which it is dealt with. Pure.

use crate::node::{Reason, Source};
use serde::Serialize;
use serde_json::{Value, json};

/// Where high urgency is announced.
pub(crate) const CHANNEL: &str = "customer-support";

/// A question of a customer.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CustomerQuery {
    pub(crate) customer_id: String,
    pub(crate) question: String,
    pub(crate) category: Option<String>,
    pub(crate) urgency: Option<String>,
}

impl CustomerQuery {
    pub(crate) fn new(customer_id: impl Into<String>, question: impl Into<String>) -> Self {
        Self { customer_id: customer_id.into(), question: question.into(), ..Self::default() }
    }

    pub(crate) fn about(self, category: &str, urgency: &str) -> Self {
        Self { category: Some(category.to_owned()), urgency: Some(urgency.to_owned()), ..self }
    }

    /// The three customers of the story.
    pub(crate) fn scenarios() -> [Self; 3] {
        [
            Self::new("CUST-001", "How do I reset my password?").about("account", "normal"),
            Self::new("CUST-002", "My payment failed but I was charged anyway. Please help!").about("billing", "high"),
            Self::new("CUST-003", "What are the system requirements for your software?").about("technical", "low"),
        ]
    }

    pub(crate) fn urgency(&self) -> &str {
        self.urgency.as_deref().unwrap_or("normal")
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.urgency() == "high"
    }

    /// Why a person has to look at it, if one has to.
    pub(crate) fn wants_ticket(&self, has_answer: bool) -> Option<Reason> {
        match (has_answer, self.is_urgent()) {
            (false, _) => Some(Reason::NoKnowledgeFound),
            (true, true) => Some(Reason::HighUrgency),
            (true, false) => None,
        }
    }

    pub(crate) fn page_search(&self) -> Value {
        json!({ "query": self.question, "limit": 5, "include_content": true })
    }

    pub(crate) fn conversation_search(&self) -> Value {
        json!({ "query": self.question, "type": "conversations", "limit": 10 })
    }

    pub(crate) fn ticket(&self) -> Value {
        json!({
            "customer_id": self.customer_id,
            "subject": format!("Support Request: {}", first(&self.question, 50)),
            "message": self.question,
            "priority": self.urgency(),
            "type": "email",
        })
    }

    pub(crate) fn announcement(&self, ticket: Option<&str>) -> Value {
        let (ticket, question) = (ticket.unwrap_or("none yet"), first(&self.question, 100));
        json!({
            "channel": CHANNEL,
            "text": format!("High urgency. Ticket: {ticket}. Customer: {}. {question}", self.customer_id),
            "username": "AI Support Assistant",
        })
    }
}

/// Whether any source knows something.
pub(crate) fn has_answer<'a>(sources: impl IntoIterator<Item = &'a Source>) -> bool {
    sources.into_iter().any(|source| matches!(source, Source::Found { results } if !results.is_empty()))
}

fn first(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
