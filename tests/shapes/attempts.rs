//! Whatever the shape, it is the body that is measured and started again, with its arguments whole.

use crate::{Answer, keep_nothing};
use async_trait::async_trait;
use poet::{Class, Error, poet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Fails the first time it is asked.
#[derive(Default)]
struct Unsteady(AtomicU32);

impl Unsteady {
    fn ask(&self, list: &[u8]) -> Answer<usize> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Error::service(Class::Transient, "not just now")),
            _ => Ok(list.len()),
        }
    }

    #[poet(service = "attempts", idempotent, retries = 1)]
    async fn asked(&self, list: Vec<u8>) -> Answer<usize> {
        self.ask(&list)
    }

    #[poet(service = "attempts", idempotent, retries = 1)]
    fn asked_by_hand(&self, list: Vec<u8>) -> Pin<Box<dyn Future<Output = Answer<usize>> + Send + '_>> {
        Box::pin(async move { self.ask(&list) })
    }

    #[poet(service = "attempts")]
    async fn asked_once(&self, list: Vec<u8>) -> Answer<usize> {
        self.ask(&list)
    }

    #[poet(service = "attempts", fallback = Self::spare)]
    async fn asked_once_with_fallback(&self, list: Vec<u8>) -> Answer<usize> {
        self.ask(&list)
    }

    #[poet(service = "attempts", timeout = "10s", deadline = "2m")]
    async fn walked(&self, list: Vec<u8>) -> Answer<usize> {
        for _ in &list {
            tokio::time::sleep(Duration::from_secs(8)).await;
            poet::progress();
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(list.len())
    }

    async fn spare(&self, list: Vec<u8>) -> Answer<usize> {
        Ok(list.len() + 100)
    }
}

#[async_trait]
trait Service {
    async fn call(&self, list: Vec<u8>) -> Answer<usize>;
}

#[async_trait]
impl Service for Unsteady {
    #[poet(service = "attempts", idempotent, retries = 1)]
    async fn call(&self, mut list: Vec<u8>) -> Answer<usize> {
        list.push(0);
        self.ask(&list)
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_has_the_arguments_of_the_first() {
    keep_nothing();
    let list = vec![1, 2, 3];
    assert_eq!(Unsteady::default().asked(list.clone()).await.unwrap(), 3);
    assert_eq!(Unsteady::default().asked_by_hand(list.clone()).await.unwrap(), 3);
    assert_eq!(Unsteady::default().call(list).await.unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_is_started_once() {
    keep_nothing();
    let unsteady = Unsteady::default();
    assert!(unsteady.asked_once(vec![]).await.is_err());
    assert_eq!(unsteady.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_has_the_arguments_of_the_call() {
    keep_nothing();
    assert_eq!(Unsteady::default().asked_once_with_fallback(vec![1, 2, 3]).await.unwrap(), 103);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_shows_progress_is_given_up_only_once_it_shows_none_for_the_time_of_an_attempt() {
    keep_nothing();
    let began = tokio::time::Instant::now();
    assert!(Unsteady::default().walked(vec![1, 2, 3]).await.is_err());
    assert_eq!(began.elapsed().as_secs(), 34);
}
