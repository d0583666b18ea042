//! Every key in every form it can be written in.

use crate::Answer;
use poet::{Class, Priority, Profile, poet};
use std::time::Duration;

static SLOW_REPORTS: Profile = Profile { deadline: Duration::from_secs(180), ..Profile::named("slow_reports") };

#[poet(
    domain = "mcp_integration",
    learning = "shadow",
    service = "salesforce_crm",
    operation = "update_contact",
    priority = "high",
    idempotent,
    retries = 2,
    timeout = "250ms",
    deadline = "1m 30s",
    cache = "5m",
    key(id),
    deferrable,
    fallback = spare,
    validate = is_positive,
    failure = failed,
    cost = 0.02,
    enforce = "required",
)]
async fn every_key(id: u32) -> Answer<u32> {
    Ok(id)
}

async fn spare(_: u32) -> Answer<u32> {
    Ok(0)
}

fn is_positive(value: &u32) -> Result<(), &'static str> {
    if *value > 0 { Ok(()) } else { Err("zero is no answer") }
}

fn failed(answer: &Answer<u32>) -> bool {
    answer.is_err()
}

#[poet(domain = SLOW_REPORTS, learning = "off", idempotent = true, retries = 0, cost = 3, failure = class_of::<u32>)]
async fn other_forms(id: u32) -> Answer<u32> {
    Ok(id)
}

fn class_of<T>(answer: &Answer<T>) -> Class {
    if answer.is_ok() { Class::Success } else { Class::Permanent }
}

#[poet(idempotent = false, retries = 0, learning = "on", deadline = "5min")]
async fn a_write(id: u32) -> Answer<u32> {
    Ok(id)
}

#[poet(deferrable)]
async fn put_off(id: u32) -> Answer<u32> {
    Ok(id)
}

#[poet(deferrable = false, cache)]
fn not_put_off(id: u32) -> Answer<u32> {
    Ok(id)
}

struct Order {
    urgent: bool,
    priority: Priority,
}

#[poet(priority = priority)]
async fn by_argument(priority: Priority) -> u8 {
    1
}

#[poet(priority = order.priority)]
async fn by_field(order: Order) -> bool {
    order.urgent
}

#[poet(priority = if order.urgent { Priority::Critical } else { Priority::Low })]
async fn by_expression(order: &Order) -> Priority {
    order.priority
}

#[poet(priority = priority, idempotent)]
async fn by_reference(priority: &Priority) -> Answer<bool> {
    Ok(matches!(priority, Priority::Low))
}

#[poet(failure = says_error)]
async fn without_a_result(text: &str) -> String {
    text.to_owned()
}

#[expect(clippy::ptr_arg, reason = "it is given what the function returns")]
fn says_error(answer: &String) -> bool {
    answer.starts_with("error")
}

#[tokio::test]
async fn every_form_of_every_key_works() -> Answer<()> {
    crate::keep_nothing();
    assert_eq!(every_key(3).await?, 3);
    assert_eq!(spare(3).await?, 0);
    assert_eq!(other_forms(3).await?, 3);
    assert_eq!(a_write(3).await?, 3);
    assert_eq!(put_off(3).await?, 3);
    assert_eq!(not_put_off(3)?, 3);
    assert_eq!(by_argument(Priority::High).await, 1);
    assert!(by_field(Order { urgent: true, priority: Priority::Low }).await);
    assert_eq!(by_expression(&Order { urgent: true, priority: Priority::Low }).await, Priority::Low);
    assert!(by_reference(&Priority::Low).await?);
    assert_eq!(without_a_result("fine").await, "fine");
    Ok(())
}
