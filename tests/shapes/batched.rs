//! Whether calls are made as one or by themselves, each gets its own answer; one that comes alone is made by the body.

use crate::{Answer, assert_send, keep_nothing};
use poet::{Class, Error, Priority, poet};
use std::future::Future;
use std::sync::Mutex;

/// The sizes of the bulk calls that were made, and how often the body ran.
struct Made(Mutex<(Vec<usize>, usize)>);

impl Made {
    const fn nothing() -> Self {
        Self(Mutex::new((Vec::new(), 0)))
    }

    fn bulk(&self, size: usize) {
        self.0.lock().expect("nobody panics with it").0.push(size);
    }

    fn single(&self) {
        self.0.lock().expect("nobody panics with it").1 += 1;
    }

    fn all(&self) -> (Vec<usize>, usize) {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

/// Makes calls at the same time, as tasks.
async fn at_once<F: Future<Output: Send> + Send + 'static>(calls: impl Iterator<Item = F>) -> Vec<F::Output> {
    let tasks: Vec<_> = calls.map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("no call panics"));
    }
    answers
}

static TOGETHER: Made = Made::nothing();

#[poet(service = "batched", batch = doubled_all)]
async fn doubled(id: u32) -> Answer<u32> {
    TOGETHER.single();
    Ok(id * 2)
}

async fn doubled_all(ids: Vec<u32>) -> Answer<Vec<u32>> {
    TOGETHER.bulk(ids.len());
    Ok(ids.into_iter().map(|id| id * 2).collect())
}

static ALONE: Made = Made::nothing();

#[poet(service = "batched", batch = looked_up_all)]
async fn looked_up(mut id: u32) -> Answer<u32> {
    ALONE.single();
    id += 1;
    Ok(id)
}

async fn looked_up_all(ids: Vec<u32>) -> Answer<Vec<u32>> {
    ALONE.bulk(ids.len());
    Ok(ids.into_iter().map(|id| id + 1).collect())
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_each_get_their_own_answer() -> Answer<()> {
    keep_nothing();
    let answers = at_once((0..20).map(doubled)).await.into_iter().collect::<Answer<Vec<u32>>>()?;
    assert_eq!(answers, (0..20).map(|id| id * 2).collect::<Vec<u32>>());
    let (bulk, single) = TOGETHER.all();
    assert_eq!(bulk.iter().sum::<usize>() + single, 20);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_item_given_by_itself_comes_back_by_itself() -> Answer<()> {
    keep_nothing();
    let order = Order { id: 7, priority: Priority::Low };
    assert_eq!(placed(order.clone()).await?, order);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_alone_is_made_by_the_body() -> Answer<()> {
    keep_nothing();
    assert_eq!(assert_send(looked_up(1)).await?, 2);
    assert_eq!(ALONE.all(), (vec![], 1));
    Ok(())
}

static BY_EACH: Made = Made::nothing();

#[derive(Clone, Debug, PartialEq)]
struct Order {
    id: u32,
    priority: Priority,
}

mod bulk {
    use super::{Answer, BY_EACH, Class, Error, Order};

    pub(super) async fn placed(orders: Vec<Order>) -> Vec<Answer<Order>> {
        BY_EACH.bulk(orders.len());
        let answer = |order: Order| match order.id {
            0 => Err(Error::service(Class::Permanent, "there is no such order")),
            _ => Ok(order),
        };
        orders.into_iter().map(answer).collect()
    }
}

#[poet(service = "batched", batch = bulk::placed, idempotent, retries = 1, priority = order.priority, deadline = "5s")]
async fn placed(order: Order) -> Answer<Order> {
    BY_EACH.single();
    Ok(order)
}

static BY_PATTERN: Made = Made::nothing();

#[poet(service = "batched", batch = added_all)]
async fn added((a, mut b): (u32, u32)) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    BY_PATTERN.single();
    b += a;
    Ok(b)
}

async fn added_all(pairs: Vec<(u32, u32)>) -> Result<Vec<u32>, std::io::Error> {
    BY_PATTERN.bulk(pairs.len());
    Ok(pairs.into_iter().map(|(a, b)| a + b).collect())
}

#[tokio::test(start_paused = true)]
async fn an_argument_may_be_taken_apart_and_errors_may_be_of_two_types() {
    keep_nothing();
    let answers = at_once((0..20).map(|id| added((id, 1)))).await;
    assert!(answers.iter().zip(1..).all(|(answer, sum)| answer.as_ref().ok() == Some(&sum)));
    assert_eq!(added((1, 2)).await.unwrap(), 3);
}

#[poet(service = "batched", batch = described_all)]
async fn described<T: ToString + Send + 'static>(value: T) -> Answer<String> {
    Ok(value.to_string())
}

async fn described_all<T: ToString + Send + 'static>(values: Vec<T>) -> Answer<Vec<String>> {
    Ok(values.iter().map(ToString::to_string).collect())
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_generic_function_are_gathered_by_type() -> Answer<()> {
    keep_nothing();
    let numbers = at_once((0..10).map(described));
    let letters = at_once(('a'..'k').map(described));
    let (numbers, letters) = tokio::join!(numbers, letters);
    assert_eq!(numbers.into_iter().collect::<Answer<Vec<_>>>()?.concat(), "0123456789");
    assert_eq!(letters.into_iter().collect::<Answer<Vec<_>>>()?.concat(), "abcdefghij");
    Ok(())
}
