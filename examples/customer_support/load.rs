//! Many customers at once, none of whom is told of in the story.

use crate::query::CustomerQuery;
use crate::support::{Processed, Services, customer_support_integration};
use poet::{Error, Runtime};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A query and how it was dealt with.
pub(crate) type Handled = (CustomerQuery, Result<Processed, Error>);

/// The query of that number: one in four is urgent, one in four has no answer in the knowledge base.
pub(crate) fn query(number: usize) -> CustomerQuery {
    let id = format!("LOAD-{number:04}");
    let question = match number % 4 {
        0 => format!("Why does {id} not run on my machine?"),
        1 => format!("How do I change the password of {id}?"),
        2 => format!("Where is the invoice of {id}?"),
        _ => format!("The payment of {id} failed."),
    };
    let urgency = if number % 4 == 3 { "high" } else { "normal" };
    CustomerQuery::new(id, question).about("load", urgency)
}

/// Deals with that many queries, so many at a time.
pub(crate) async fn handle(runtime: &Runtime, services: &Services, customers: usize, parallel: usize) -> Vec<Handled> {
    let places = Arc::new(Semaphore::new(parallel));
    let mut under_way = JoinSet::new();
    for number in 0..customers {
        let (runtime, services, places) = (runtime.clone(), services.clone(), places.clone());
        under_way.spawn(async move {
            let _place = places.acquire_owned().await;
            let query = query(number);
            let handled = runtime.scope(customer_support_integration(&query, &services)).await;
            (query, handled)
        });
    }
    let mut handled = under_way.join_all().await;
    handled.sort_by(|(one, _), (other, _)| one.customer_id.cmp(&other.customer_id));
    handled
}
