//! Compares what callers were told with what the services counted, and says which promise was broken.

use crate::desks::Books;
use crate::load::Handled;
use crate::query::CustomerQuery;
use crate::support::{Effort, Processed, Ticket};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What callers were told, so that another process can count it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) queries: usize,
    /// Queries that ended in an error, with the error.
    pub(crate) failed: Vec<String>,
    pub(crate) effort: Effort,
    /// Queries that were dealt with although a source had failed.
    pub(crate) partial: usize,
    pub(crate) urgent: usize,
    /// The customers who were to have a ticket.
    pub(crate) wanted: BTreeSet<String>,
    /// The tickets of which somebody was told, by customer.
    pub(crate) created: BTreeMap<String, String>,
    /// The customers for whom the ticket was not created, and somebody was told so.
    pub(crate) not_created: BTreeSet<String>,
    /// The customers for whom somebody was told to look.
    pub(crate) unknown: BTreeSet<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, (query, handled): &Handled) {
        self.queries += 1;
        self.urgent += usize::from(query.is_urgent());
        match handled {
            Ok(processed) => self.processed(query, processed),
            Err(error) => self.failed.push(format!("{}: {error}", query.customer_id)),
        }
    }

    fn processed(&mut self, query: &CustomerQuery, processed: &Processed) {
        let node = &processed.node;
        let customer = query.customer_id.clone();
        self.effort += processed.effort;
        self.partial += usize::from(node.services_contacted() < node.knowledge_search.results.len());
        if node.support_ticket.reason.is_some() {
            self.wanted.insert(customer.clone());
        }
        match &processed.ticket {
            Ticket::NotWanted => {}
            Ticket::Created(id) => drop(self.created.insert(customer, id.clone())),
            Ticket::Failed => drop(self.not_created.insert(customer)),
            Ticket::Unknown => drop(self.unknown.insert(customer)),
        }
    }

    /// Every promise that was not kept, given what the service counted where tickets are created.
    pub(crate) fn broken(&self, helpscout: &Books) -> Vec<String> {
        let mut broken: Vec<_> =
            self.failed.iter().map(|failed| format!("a query ended in an error: {failed}")).collect();
        for (customer, tickets) in by_customer(helpscout) {
            if tickets.len() > 1 {
                broken.push(format!("{customer} has {} tickets: {}", tickets.len(), tickets.join(", ")));
            }
            if !self.wanted.contains(customer) {
                broken.push(format!("{customer} has a ticket that nobody wanted"));
            }
            if self.not_created.contains(customer) {
                broken.push(format!("{customer} has a ticket, and somebody was told that there is none"));
            }
        }
        for (customer, id) in &self.created {
            if !helpscout.tickets.iter().any(|ticket| ticket.customer_id == *customer && ticket.id == *id) {
                broken.push(format!("{customer} was told of ticket {id}, which there is not"));
            }
        }
        for customer in &self.wanted {
            let told = [
                self.created.contains_key(customer),
                self.not_created.contains(customer),
                self.unknown.contains(customer),
            ];
            if told.iter().filter(|told| **told).count() != 1 {
                broken.push(format!("nobody was told what became of the ticket of {customer}"));
            }
        }
        broken
    }

    /// What came of it, a line each.
    pub(crate) fn table(&self, books: &BTreeMap<String, Books>) -> String {
        let helpscout = books.get("helpscout").cloned().unwrap_or_default();
        let of_unknown = helpscout.tickets.iter().filter(|ticket| self.unknown.contains(&ticket.customer_id)).count();
        let twice = by_customer(&helpscout).values().filter(|tickets| tickets.len() > 1).count();
        let rows = [
            ("queries", self.queries),
            ("  that ended in an error", self.failed.len()),
            ("  dealt with although a source failed", self.partial),
            ("calls", self.effort.calls as usize),
            ("  retries of them", self.effort.retries as usize),
            ("requests that the services counted", books.values().map(|books| books.requests).sum()),
            ("tickets wanted", self.wanted.len()),
            ("  created", self.created.len()),
            ("  not created, and reported", self.not_created.len()),
            ("  unknown, and reported", self.unknown.len()),
            ("    of which there is one", of_unknown),
            ("tickets that helpscout has", helpscout.tickets.len()),
            ("  for a customer who has one already", twice),
            ("announcements wanted", self.urgent),
            ("  that slack has", books.get("slack").map_or(0, |books| books.messages.len())),
        ];
        rows.map(|(name, count)| format!("{name:<42}{count:>6}\n")).concat()
    }
}

fn by_customer(books: &Books) -> BTreeMap<&str, Vec<&str>> {
    let mut tickets = BTreeMap::<_, Vec<_>>::new();
    for ticket in &books.tickets {
        tickets.entry(ticket.customer_id.as_str()).or_default().push(ticket.id.as_str());
    }
    tickets
}
