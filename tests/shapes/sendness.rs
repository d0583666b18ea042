//! A future is `Send` exactly when the plain one would be, and borrowing does not get in the way of spawning.

use crate::{Answer, assert_send};
use poet::poet;
use std::cell::Cell;
use std::rc::Rc;
use tokio::task::LocalSet;

#[derive(Clone)]
struct Client;

impl Client {
    #[poet]
    async fn fetch(&self, path: &str, page: &[u8]) -> Answer<usize> {
        tokio::task::yield_now().await;
        Ok(path.len() + page.len())
    }

    #[poet(idempotent)]
    async fn fetch_again(&self, path: &str, page: &[u8]) -> Answer<usize> {
        tokio::task::yield_now().await;
        Ok(path.len() + page.len())
    }
}

#[poet(idempotent, fallback = spare)]
async fn with_everything(path: &str, list: Vec<&str>) -> Answer<usize> {
    tokio::task::yield_now().await;
    Ok(path.len() + list.len())
}

async fn spare(path: &str, _: Vec<&str>) -> Answer<usize> {
    Ok(path.len())
}

#[poet]
async fn uses_what_is_not_sync(count: Cell<u8>) -> u8 {
    tokio::task::yield_now().await;
    count.get()
}

#[poet]
async fn not_send(count: Rc<Cell<u8>>) -> Answer<u8> {
    count.set(count.get() + 1);
    tokio::task::yield_now().await;
    Ok(count.get())
}

#[poet(idempotent)]
async fn not_send_again(count: Rc<Cell<u8>>) -> Answer<u8> {
    tokio::task::yield_now().await;
    Ok(count.get())
}

#[tokio::test]
async fn futures_that_borrow_can_be_spawned() {
    crate::keep_nothing();
    let client = Client;
    let spawned = tokio::spawn(assert_send(async move {
        let path = String::from("path");
        let one = client.fetch(&path, &[1]).await.unwrap();
        let two = client.fetch_again(&path, &[1]).await.unwrap();
        let three = with_everything(&path, vec![&path]).await.unwrap();
        one + two + three + spare(&path, vec![]).await.unwrap()
    }));
    assert_eq!(spawned.await.unwrap(), 5 + 5 + 5 + 4);
    assert_eq!(assert_send(uses_what_is_not_sync(Cell::new(3))).await, 3);
}

#[tokio::test]
async fn what_is_not_send_runs_on_one_thread() {
    crate::keep_nothing();
    let set = LocalSet::new();
    let count = Rc::new(Cell::new(0));
    let answer = set.run_until(async {
        let one = tokio::task::spawn_local(not_send(count.clone())).await.unwrap().unwrap();
        let two = tokio::task::spawn_local(not_send_again(count.clone())).await.unwrap().unwrap();
        (one, two)
    });
    assert_eq!(answer.await, (1, 1));
}

/// Of two methods with one name the inherent one wins, which exists for what is `Send` only.
struct IsSend<T>(T);

impl<T: Send> IsSend<T> {
    fn is_send(&self) -> bool {
        let _ = &self.0;
        true
    }
}

trait Otherwise {
    fn is_send(&self) -> bool {
        false
    }
}

impl<T> Otherwise for IsSend<T> {}

#[test]
fn what_is_not_send_does_not_become_send() {
    crate::keep_nothing();
    assert!(!IsSend(not_send(Rc::new(Cell::new(0)))).is_send());
    assert!(!IsSend(not_send_again(Rc::new(Cell::new(0)))).is_send());
    assert!(IsSend(with_everything("", vec![])).is_send());
}
