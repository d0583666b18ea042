//! A kept answer is given without the body, to whoever asks the same, and only if it was one.

use crate::{Answer, assert_send, keep_nothing};
use async_trait::async_trait;
use poet::{Class, Error, poet};
use serde::Serialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often a body ran.
struct Runs(AtomicU32);

impl Runs {
    const fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts one more and says the how manieth it is.
    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

static ASKED: Runs = Runs::none();

#[poet(service = "cached", cache = "5m")]
async fn asked(id: u32, name: &str) -> Answer<String> {
    Ok(format!("{id}{name}{}", ASKED.next()))
}

#[tokio::test(start_paused = true)]
async fn the_same_arguments_get_the_kept_answer_and_others_do_not() -> Answer<()> {
    keep_nothing();
    assert_eq!(assert_send(asked(1, "a")).await?, "1a1");
    assert_eq!(asked(1, "a").await?, "1a1");
    assert_eq!(asked(2, "a").await?, "2a2");
    assert_eq!(asked(1, "b").await?, "1b3");
    assert_eq!(asked(2, "a").await?, "2a2");
    assert_eq!(ASKED.count(), 3);
    Ok(())
}

static FAILING: Runs = Runs::none();

#[poet(service = "cached", cache = "5m")]
async fn failing_at_first(id: u32) -> Answer<u32> {
    match FAILING.next() {
        1 => Err(Error::service(Class::Permanent, "not this time")),
        run => Ok(id + run),
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_not_kept() -> Answer<()> {
    keep_nothing();
    assert!(failing_at_first(10).await.is_err());
    assert_eq!(failing_at_first(10).await?, 12);
    assert_eq!(failing_at_first(10).await?, 12);
    Ok(())
}

static COMPLAINED: Runs = Runs::none();

#[poet(service = "cached", cache = "5m", validate = is_even)]
async fn complained_of(id: u32) -> Answer<u32> {
    Ok(id + COMPLAINED.next())
}

fn is_even(value: &u32) -> Result<(), &'static str> {
    if value.is_multiple_of(2) { Ok(()) } else { Err("odd") }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_complained_of_is_not_kept() -> Answer<()> {
    keep_nothing();
    assert!(complained_of(10).await.is_err());
    assert_eq!(complained_of(10).await?, 12);
    assert_eq!(complained_of(10).await?, 12);
    Ok(())
}

static STOOD_IN: Runs = Runs::none();

#[poet(service = "cached", cache = "5m", fallback = stand_in)]
async fn stood_in_for(id: u32) -> Answer<u32> {
    match STOOD_IN.next() {
        1 => Err(Error::service(Class::Permanent, "not this time")),
        _ => Ok(id),
    }
}

async fn stand_in(_: u32) -> Answer<u32> {
    Ok(0)
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_fallback_is_not_kept() -> Answer<()> {
    keep_nothing();
    assert_eq!(stood_in_for(7).await?, 0);
    assert_eq!(stood_in_for(7).await?, 7);
    Ok(())
}

static BLOCKING: Runs = Runs::none();

#[poet(service = "cached", cache = "5m")]
fn blocking(list: &[u8], (from, to): (u8, u8)) -> Answer<usize> {
    Ok(list.len() + usize::from(to - from) + BLOCKING.next() as usize)
}

#[test]
fn a_blocking_function_gives_what_it_kept() -> Answer<()> {
    keep_nothing();
    assert_eq!(blocking(&[1, 2], (3, 4))?, 4);
    assert_eq!(blocking(&[1, 2], (3, 4))?, 4);
    assert_eq!(blocking(&[1, 2], (3, 5))?, 6);
    assert_eq!(BLOCKING.count(), 2);
    Ok(())
}

static NO_RESULT: Runs = Runs::none();

#[poet(service = "cached", cache = "5m")]
async fn without_a_result() -> Option<u32> {
    Some(NO_RESULT.next())
}

#[tokio::test(start_paused = true)]
async fn a_function_without_arguments_has_one_answer() {
    keep_nothing();
    assert_eq!((without_a_result().await, without_a_result().await), (Some(1), Some(1)));
}

/// What is no key, and need not be.
#[derive(Clone)]
struct Session {
    tenant: String,
}

struct Page {
    number: u32,
    #[expect(dead_code, reason = "it does not matter which session asks")]
    session: Session,
}

#[derive(Serialize)]
enum Order {
    Newest,
    By { column: String },
}

static METHOD: Runs = Runs::none();

impl Session {
    fn page(&self, number: u32) -> Page {
        Page { number, session: self.clone() }
    }

    #[poet(service = "cached", cache = "5m", key(self.tenant, page.number, order))]
    async fn listed(&self, page: &Page, order: &Order) -> Answer<String> {
        let order = match order {
            Order::Newest => "newest",
            Order::By { column } => column,
        };
        Ok(format!("{}{}{order}{}", self.tenant, page.number, METHOD.next()))
    }

    #[poet(service = "cached", cache = "5m", key(self.tenant.len() + 1))]
    async fn taken(self, add: String) -> Answer<String> {
        Ok(self.tenant + &add)
    }

    #[poet(service = "cached", cache = "5m", key(id), idempotent, retries = 1)]
    async fn again(&self, id: u32, _: Session) -> Answer<(String, u32)> {
        Ok((self.tenant.clone(), id))
    }

    #[poet(service = "cached", cache = "5m", key(id))]
    async fn changed(&mut self, id: u32) -> Answer<u32> {
        self.tenant.push('!');
        Ok(id)
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_of_the_parts_that_were_named() -> Answer<()> {
    keep_nothing();
    let [mut acme, bolt] = ["acme", "bolt"].map(|tenant| Session { tenant: tenant.to_owned() });
    let by = |column: &str| Order::By { column: column.to_owned() };
    assert_eq!(assert_send(acme.listed(&acme.page(1), &Order::Newest)).await?, "acme1newest1");
    assert_eq!(acme.clone().listed(&bolt.page(1), &Order::Newest).await?, "acme1newest1");
    assert_eq!(bolt.listed(&acme.page(1), &Order::Newest).await?, "bolt1newest2");
    assert_eq!(acme.listed(&acme.page(2), &Order::Newest).await?, "acme2newest3");
    assert_eq!(acme.listed(&acme.page(2), &by("name")).await?, "acme2name4");
    assert_eq!(acme.listed(&acme.page(2), &by("date")).await?, "acme2date5");
    assert_eq!(acme.again(1, bolt.clone()).await?, ("acme".to_owned(), 1));
    assert_eq!(bolt.again(1, acme.clone()).await?, ("acme".to_owned(), 1));
    assert_eq!(acme.clone().taken("x".to_owned()).await?, "acmex");
    assert_eq!(bolt.taken("y".to_owned()).await?, "acmex");
    assert_eq!((acme.changed(1).await?, acme.changed(1).await?), (1, 1));
    assert_eq!(acme.tenant, "acme!");
    Ok(())
}

static BY_HAND: Runs = Runs::none();

#[poet(service = "cached", cache)]
fn by_hand(text: &str) -> Pin<Box<dyn Future<Output = Answer<String>> + Send + '_>> {
    Box::pin(async move { Ok(format!("{text}{}", BY_HAND.next())) })
}

#[async_trait]
trait Service {
    async fn plain(id: u32, list: Vec<u8>) -> Answer<u32>;
    async fn method(&self, id: &str, mode: (u8, u8)) -> Answer<u32>;
}

static PLAIN: Runs = Runs::none();
static TRAIT_METHOD: Runs = Runs::none();

#[async_trait]
impl Service for Session {
    #[poet(service = "cached", cache = "5m")]
    async fn plain(id: u32, mut list: Vec<u8>) -> Answer<u32> {
        list.push(1);
        Ok(id + PLAIN.next())
    }

    #[poet(service = "cached", cache = "5m", key(self.tenant, id))]
    async fn method(&self, id: &str, (_, _): (u8, u8)) -> Answer<u32> {
        Ok(u32::try_from(id.len()).unwrap_or_default() + TRAIT_METHOD.next())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_of_a_boxed_future_is_its_answer() -> Answer<()> {
    keep_nothing();
    assert_eq!(assert_send(by_hand("a")).await?, "a1");
    assert_eq!(by_hand("a").await?, "a1");
    assert_eq!(by_hand("b").await?, "b2");
    assert_eq!((Session::plain(1, vec![1]).await?, Session::plain(1, vec![1]).await?), (2, 2));
    assert_eq!(Session::plain(1, vec![2]).await?, 3);
    let session = Session { tenant: "acme".to_owned() };
    assert_eq!((session.method("id", (1, 2)).await?, session.method("id", (3, 4)).await?), (3, 3));
    assert_eq!(session.method("key", (1, 2)).await?, 5);
    Ok(())
}

#[poet(service = "cached", cache = "5m")]
async fn generic<T: Serialize + ToString>(value: T) -> Answer<String> {
    Ok(value.to_string())
}

#[poet(service = "cached", cache = "5m", key(list.len(), N))]
async fn generic_with_a_key<T, const N: usize>(list: [T; N]) -> Answer<usize> {
    Ok(list.len() + N)
}

#[tokio::test(start_paused = true)]
async fn what_a_generic_function_keeps_depends_on_its_argument() -> Answer<()> {
    keep_nothing();
    assert_eq!(generic(1).await?, "1");
    assert_eq!(generic("one").await?, "one");
    assert_eq!(generic_with_a_key([(), ()]).await?, 4);
    assert_eq!(generic_with_a_key(["a"]).await?, 2);
    Ok(())
}

/// Bodies that one source stands for, and one name.
trait Kind {
    const NAME: &'static str;

    #[poet(service = "cached", cache = "5m", key(id))]
    async fn named(&self, id: u32) -> Answer<String> {
        Ok(format!("{}{id}", Self::NAME))
    }
}

struct Cat;
struct Dog;

impl Kind for Cat {
    const NAME: &'static str = "cat";
}

impl Kind for Dog {
    const NAME: &'static str = "dog";
}

#[poet(service = "cached", cache = "5m")]
async fn sized<const N: usize, T: Default + Into<u64>>(id: u32) -> Answer<usize> {
    let _ = (id, T::default().into());
    Ok(N + size_of::<T>())
}

#[poet(service = "cached", cache = "5m")]
fn sized_blocking<const N: usize, T: Default + Into<u64>>(id: u32) -> Answer<usize> {
    let _ = (id, T::default().into());
    Ok(N + size_of::<T>())
}

#[tokio::test(start_paused = true)]
async fn what_is_generic_in_self_in_a_type_or_in_a_number_keeps_its_answers_apart() -> Answer<()> {
    keep_nothing();
    assert_eq!((Cat.named(1).await?, Dog.named(1).await?), ("cat1".to_owned(), "dog1".to_owned()));
    assert_eq!((Cat.named(1).await?, Dog.named(1).await?), ("cat1".to_owned(), "dog1".to_owned()));
    assert_eq!((sized::<1, u8>(7).await?, sized::<2, u8>(7).await?, sized::<1, u64>(7).await?), (2, 3, 9));
    assert_eq!((sized_blocking::<1, u8>(7)?, sized_blocking::<2, u8>(7)?, sized_blocking::<1, u64>(7)?), (2, 3, 9));
    Ok(())
}
