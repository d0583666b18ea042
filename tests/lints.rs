//! The expansion is silent under `clippy::pedantic` and `clippy::nursery`, and under lints of taste that other macros
//! trip over: `cargo clippy --test lints`.
//!
//! Every expectation is about the user's own code, and would be needed without the attribute.

#![deny(warnings, clippy::pedantic, clippy::nursery)]
#![deny(single_use_lifetimes, elided_lifetimes_in_paths, trivial_casts, let_underscore_drop, unused_qualifications)]
#![deny(clippy::unwrap_used, clippy::shadow_same, clippy::let_underscore_untyped, clippy::allow_attributes)]
#![deny(clippy::await_holding_lock, clippy::large_futures, clippy::redundant_clone)]

use poet::{Class, Error, Priority, Runtime, poet};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt::Display;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Once};

/// The runtime of these tests keeps nothing on disk.
fn keep_nothing() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        Runtime::builder().in_memory().build().and_then(Runtime::install).expect("nothing is installed yet");
    });
}

/// A service that answers at once.
async fn answer<T: Send>(value: T) -> Result<T, Error> {
    tokio::task::yield_now().await;
    Ok(value)
}

#[poet]
async fn nothing() {
    tokio::task::yield_now().await;
}

#[poet]
async fn by_name(id: u32, name: &str) -> Result<String, Error> {
    answer(format!("{name}{id}")).await
}

#[poet]
async fn one_line(id: u32) -> Result<u32, Error> {
    answer(id).await
}

#[poet]
async fn taken_apart((a, mut b): (u32, u32), mut list: Vec<u32>, _: Arc<str>) -> Result<Vec<u32>, Error> {
    b += answer(a).await?;
    list.push(b);
    Ok(list)
}

#[poet(
    domain = "mcp_integration",
    learning = "shadow",
    service = "salesforce_crm",
    operation = "update_contact",
    idempotent,
    retries = 2,
    timeout = "250ms",
    deadline = "2s",
    cache = "5m",
    key(text, map.len()),
    deferrable,
    fallback = spare,
    validate = is_short,
    failure = class_of,
    cost = 0.02,
    priority = Priority::High,
    enforce = "required"
)]
async fn every_key(text: &str, map: BTreeMap<String, u8>) -> Result<usize, Error> {
    answer(text.len() + map.len()).await
}

async fn spare(text: &str, map: BTreeMap<String, u8>) -> Result<usize, Error> {
    drop(map);
    answer(text.len()).await
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is given what the function returns")]
const fn is_short(value: &usize) -> Result<(), &'static str> {
    if *value < 100 { Ok(()) } else { Err("too long") }
}

const fn class_of(answer: &Result<usize, Error>) -> Class {
    if answer.is_ok() { Class::Success } else { Class::Transient }
}

#[poet(cache)]
async fn cached(text: &str, (from, to): (u32, u32), _: u8) -> Result<String, Error> {
    answer(format!("{text}{from}{to}")).await
}

#[poet(cache = "5m", key((text.len()), page.0, if page.1 { 1 } else { 2 }))]
async fn cached_by_key(text: String, page: (u8, bool)) -> Option<String> {
    answer(if page.1 { text } else { String::new() }).await.ok()
}

#[poet(cache = "5m")]
fn cached_blocking(text: &str) -> Result<usize, io::Error> {
    Ok(text.len())
}

#[poet(cache)]
fn cached_by_hand(id: u8) -> Pin<Box<dyn Future<Output = Result<u8, Error>> + Send>> {
    Box::pin(async move { answer(id).await })
}

#[poet(cache)]
async fn cached_without_arguments() -> u8 {
    tokio::task::yield_now().await;
    1
}

#[poet(batch = doubled_all)]
async fn doubled(id: u32) -> Result<u32, Error> {
    answer(id * 2).await
}

async fn doubled_all(ids: Vec<u32>) -> Result<Vec<u32>, Error> {
    answer(ids.into_iter().map(|id| id * 2).collect()).await
}

#[poet(batch = Store::measured_all, idempotent, deferrable, priority = Priority::Low)]
async fn measured((text, _): (String, u8)) -> Result<usize, Error> {
    answer(text.len()).await
}

#[poet(deferrable)]
async fn put_off(id: u32) -> Result<u32, Error> {
    answer(id).await
}

#[poet]
async fn generic<T: Display + Send + Sync, const N: usize>(all: [T; N], call: impl Fn(&T) -> usize + Send) -> usize {
    tokio::task::yield_now().await;
    all.iter().map(call).sum()
}

#[poet(idempotent)]
async fn borrowed<'a>(text: &'a str, all: &[u8]) -> io::Result<&'a str> {
    tokio::task::yield_now().await;
    text.get(all.len()..).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[poet]
async fn opaque(all: &[u8]) -> Result<impl Iterator<Item = u8>, Error> {
    tokio::task::yield_now().await;
    Ok(all.iter().copied())
}

#[poet]
async fn with_branches(known: bool) -> Option<&'static str> {
    if !known {
        return None;
    }
    tokio::task::yield_now().await;
    Some(if known { "known" } else { "unknown" })
}

#[poet]
fn blocking(text: &str) -> Result<u8, Box<dyn StdError + Send + Sync>> {
    let number = text.parse()?;
    Ok(number)
}

#[poet(idempotent, fallback = blocking_spare)]
fn blocking_again(text: &str, mut list: Vec<u8>) -> Result<usize, String> {
    list.extend(text.bytes());
    if list.is_empty() { Err("nothing".to_owned()) } else { Ok(list.len()) }
}

fn blocking_spare(text: &str, list: Vec<u8>) -> Result<usize, String> {
    drop(list);
    text.parse().map_err(|_| "no number".to_owned())
}

#[poet]
fn by_hand(id: u8) -> Pin<Box<dyn Future<Output = Result<u8, Error>> + Send>> {
    Box::pin(async move { answer(id).await })
}

#[poet]
async fn a_future() -> Ready<u8> {
    tokio::task::yield_now().await;
    ready(1)
}

#[derive(Clone)]
struct Store {
    name: String,
}

impl Store {
    #[poet(idempotent)]
    async fn shared(&self, add: String) -> Result<String, Error> {
        answer(format!("{}{add}", self.name)).await
    }

    #[poet(cache, key(self.name, add), deferrable)]
    async fn cached(&self, add: &str) -> Result<String, Error> {
        answer(format!("{}{add}", self.name)).await
    }

    async fn measured_all(texts: Vec<(String, u8)>) -> Vec<Result<usize, Error>> {
        tokio::task::yield_now().await;
        texts.into_iter().map(|(text, _)| Ok(text.len())).collect()
    }

    #[poet]
    async fn unique(&mut self, add: &str) -> Result<&mut Self, Error> {
        let add = answer(add).await?;
        self.name.push_str(add);
        Ok(self)
    }

    #[poet]
    async fn owned(self) -> Result<String, Error> {
        answer(self.name).await
    }

    #[poet]
    async fn counted(self: Arc<Self>) -> Result<String, Error> {
        answer(self.name.clone()).await
    }
}

trait Service {
    fn call(&self, text: &str) -> impl Future<Output = Result<usize, Error>> + Send;
}

impl Service for Store {
    #[poet]
    async fn call(&self, text: &str) -> Result<usize, Error> {
        answer(text.len() + self.name.len()).await
    }
}

#[async_trait::async_trait]
trait Boxed {
    async fn call_boxed(&self, text: &str, (a, b): (u8, u8)) -> Result<usize, Error>;
    async fn call_cached(&self, text: &str, flag: bool) -> Result<usize, Error>;
}

#[async_trait::async_trait]
impl Boxed for Store {
    #[poet(deadline = "2s")]
    async fn call_boxed(&self, text: &str, (a, b): (u8, u8)) -> Result<usize, Error> {
        answer(text.len() + self.name.len() + usize::from(a + b)).await
    }

    #[poet(cache, key(self.name, text, flag))]
    async fn call_cached(&self, text: &str, flag: bool) -> Result<usize, Error> {
        answer(text.len() + self.name.len() + usize::from(flag)).await
    }
}

#[tokio::test]
async fn the_functions_do_what_they_say() -> Result<(), Box<dyn StdError + Send + Sync>> {
    keep_nothing();
    nothing().await;
    assert_eq!(by_name(1, "a").await?, "a1");
    assert_eq!(one_line(1).await?, 1);
    assert_eq!(taken_apart((1, 2), vec![], "".into()).await?, [3]);
    assert_eq!(every_key("abc", BTreeMap::new()).await?, 3);
    assert_eq!(spare("abc", BTreeMap::new()).await?, 3);
    assert_eq!(cached("a", (1, 2), 3).await?, "a12");
    assert_eq!(cached_by_key("a".to_owned(), (1, true)).await.as_deref(), Some("a"));
    assert_eq!(cached_blocking("abc")?, 3);
    assert_eq!(cached_by_hand(7).await?, 7);
    assert_eq!(cached_without_arguments().await, 1);
    assert_eq!(doubled(7).await?, 14);
    assert_eq!(measured(("abc".to_owned(), 1)).await?, 3);
    assert_eq!(put_off(7).await?, 7);
    assert_eq!(generic(["a", "b"], |text| text.len()).await, 2);
    assert_eq!(borrowed("abc", &[1]).await?, "bc");
    assert_eq!(opaque(&[1]).await?.count(), 1);
    assert_eq!(with_branches(true).await, Some("known"));
    assert_eq!(blocking("7")?, 7);
    assert_eq!(blocking_again("7", vec![1])?, 2);
    assert_eq!(by_hand(7).await?, 7);
    assert_eq!(a_future().await.await, 1);
    let mut store = Store { name: "s".to_owned() };
    assert_eq!(store.unique("t").await?.shared("u".to_owned()).await?, "stu");
    assert_eq!(store.cached("u").await?, "stu");
    assert_eq!(store.call_cached("a", true).await?, 4);
    assert_eq!(store.call("a").await? + store.call_boxed("a", (1, 2)).await?, 9);
    assert_eq!(Arc::new(store.clone()).counted().await? + &store.owned().await?, "stst");
    Ok(())
}
