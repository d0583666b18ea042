//! What is stored of a query that was dealt with.

use crate::query::CustomerQuery;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What one source said, or why it did not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Found { results: Vec<Value> },
    Failed { error: String },
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Source", 2)?;
        match self {
            Self::Found { results } => {
                fields.serialize_field("success", &true)?;
                fields.serialize_field("results", results)?;
            }
            Self::Failed { error } => {
                fields.serialize_field("success", &false)?;
                fields.serialize_field("error", error)?;
            }
        }
        fields.end()
    }
}

/// Why there is to be a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    NoKnowledgeFound,
    HighUrgency,
}

/// The sources that were asked, by their services.
pub(crate) type Sources = BTreeMap<&'static str, Source>;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExternalIntegration {
    pub(crate) knowledge_search: KnowledgeSearch,
    pub(crate) support_ticket: SupportTicket,
    pub(crate) customer_info: CustomerInfo,
    pub(crate) processing_timestamp: String,
    pub(crate) services_used: ServicesUsed,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct KnowledgeSearch {
    pub(crate) query: String,
    pub(crate) results: Sources,
    pub(crate) has_answer: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct SupportTicket {
    pub(crate) created: bool,
    pub(crate) ticket_id: Option<String>,
    pub(crate) reason: Option<Reason>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CustomerInfo {
    pub(crate) customer_id: String,
    pub(crate) category: Option<String>,
    pub(crate) urgency: String,
}

impl From<&CustomerQuery> for CustomerInfo {
    fn from(query: &CustomerQuery) -> Self {
        Self {
            customer_id: query.customer_id.clone(),
            category: query.category.clone(),
            urgency: query.urgency().to_owned(),
        }
    }
}

/// Which services were asked for anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ServicesUsed {
    pub(crate) notion: bool,
    pub(crate) helpscout: bool,
    pub(crate) slack: bool,
}

impl ExternalIntegration {
    /// As it is stored, under the name of what it is.
    pub(crate) fn stored(&self) -> Value {
        json!({ "external_integration": self })
    }

    pub(crate) fn metadata(&self) -> Value {
        json!({
            "has_knowledge_answer": self.knowledge_search.has_answer,
            "ticket_created": self.support_ticket.created,
            "services_contacted": self.services_contacted(),
        })
    }

    /// How many sources answered.
    pub(crate) fn services_contacted(&self) -> usize {
        self.knowledge_search.results.values().filter(|source| matches!(source, Source::Found { .. })).count()
    }
}
