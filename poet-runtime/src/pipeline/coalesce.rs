//! Lets identical reads that are under way at the same time share one call.
//!
//! The first one leads; the others wait for its answer, each to its own deadline. A leader that is dropped hands over:
//! whoever waits next leads. Failures are shared like answers, because a hundred callers that each try for themselves
//! are what a failing service needs least.

use crate::key::CacheKey;
use crate::lock::lock;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What a leader tells those who joined it.
pub(crate) type Shared = Arc<dyn Any + Send + Sync>;

/// The reads under way, by key.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<CacheKey, watch::Receiver<Option<Shared>>>>);

/// What a call is to an identical one under way.
pub(crate) enum Role<'a> {
    Leader(Leader<'a>),
    Follower(watch::Receiver<Option<Shared>>),
}

impl Flights {
    pub(crate) fn join(&self, key: CacheKey) -> Role<'_> {
        let mut flights = lock(&self.0);
        if let Some(receiver) = flights.get(&key)
            // A leader that was dropped without an answer has closed its channel.
            && (receiver.has_changed().is_ok() || receiver.borrow().is_some())
        {
            return Role::Follower(receiver.clone());
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key, receiver);
        Role::Leader(Leader { flights: self, key, sender })
    }
}

/// The call the others wait for. Dropped without an answer, it frees the key.
pub(crate) struct Leader<'a> {
    flights: &'a Flights,
    key: CacheKey,
    sender: watch::Sender<Option<Shared>>,
}

impl Leader<'_> {
    /// Tells everybody who joined.
    pub(crate) fn answer(self, answer: Shared) {
        self.sender.send_replace(Some(answer));
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        lock(&self.flights.0).remove(&self.key);
    }
}

/// Waits for the leader; `None` if it was dropped without an answer.
pub(crate) async fn follow(mut receiver: watch::Receiver<Option<Shared>>) -> Option<Shared> {
    receiver.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_join_get_the_leaders_answer() {
        let (flights, key) = (Flights::default(), CacheKey::of("key"));
        let Role::Leader(leader) = flights.join(key) else { panic!("the first one leads") };
        let Role::Follower(receiver) = flights.join(key) else { panic!("the second one follows") };
        leader.answer(Arc::new(7_u8));
        let answer = follow(receiver).await.unwrap();
        assert_eq!(answer.downcast_ref::<u8>(), Some(&7));
        assert!(matches!(flights.join(key), Role::Leader(_)), "an answered call is over");
    }

    #[tokio::test]
    async fn a_dropped_leader_hands_over() {
        let (flights, key) = (Flights::default(), CacheKey::of("key"));
        let leader = flights.join(key);
        let Role::Follower(receiver) = flights.join(key) else { panic!("the second one follows") };
        drop(leader);
        assert!(follow(receiver).await.is_none());
        assert!(matches!(flights.join(key), Role::Leader(_)));
    }
}
