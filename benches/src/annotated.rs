//! poet's own cases: annotated functions in both shapes of their expansion, and a service call.

use crate::protected::{Failed, Readiness, pending_once, ready};
use crate::sampling::{Bench, Case, Group};
use poet::{Profile, Runtime, poet};
use poet_runtime::service::ServiceCall;
use std::rc::Rc;

#[poet]
async fn ready_once(n: u64) -> Result<u64, Failed> {
    ready(n).await
}

#[poet(idempotent)]
async fn ready_again(n: u64) -> Result<u64, Failed> {
    ready(n).await
}

#[poet]
async fn pending_first_once(n: u64) -> Result<u64, Failed> {
    pending_once(n).await
}

#[poet(idempotent)]
async fn pending_first_again(n: u64) -> Result<u64, Failed> {
    pending_once(n).await
}

/// Both shapes, and a service call, on the installed runtime.
#[must_use]
pub fn cases(bench: &Bench, readiness: Readiness) -> Vec<Case> {
    let runtime = Runtime::current();
    let flush = {
        let (tokio, poet) = (Rc::clone(&bench.runtime), runtime.clone());
        move || tokio.block_on(poet.flush()).expect("the store in memory takes everything")
    };
    let call = || ServiceCall { repeatable: true, ..ServiceCall::new("crm", "get", Profile::GENERAL) };
    const ONCE: &str = "poet: #[poet]";
    const AGAIN: &str = "poet: #[poet(idempotent)]";
    const SERVICE: &str = "poet: service call";
    let cases = match readiness {
        Readiness::AtOnce => {
            let size = size_of_val(&runtime.call(&call(), |_| found(ready(0))));
            vec![
                Case::new(bench, Group::Ready, ONCE, size_of_val(&ready_once(0)), async |n| ready_once(n).await),
                Case::new(bench, Group::Ready, AGAIN, size_of_val(&ready_again(0)), async |n| ready_again(n).await),
                Case::new(bench, Group::Ready, SERVICE, size, async move |n| {
                    runtime.call(&call(), |_| found(ready(n))).await
                }),
            ]
        }
        Readiness::PendingOnce => {
            let size = size_of_val(&runtime.call(&call(), |_| found(pending_once(0))));
            vec![
                Case::new(bench, Group::Pending, ONCE, size_of_val(&pending_first_once(0)), async |n| {
                    pending_first_once(n).await
                }),
                Case::new(bench, Group::Pending, AGAIN, size_of_val(&pending_first_again(0)), async |n| {
                    pending_first_again(n).await
                }),
                Case::new(bench, Group::Pending, SERVICE, size, async move |n| {
                    runtime.call(&call(), |_| found(pending_once(n))).await
                }),
            ]
        }
    };
    // A loop that does nothing but call fills the recorder's queue in milliseconds. The queue is emptied between
    // samples, so that what is measured is a record and not its overflow.
    cases.into_iter().map(|case| case.between(flush.clone())).collect()
}

/// A service's own error, as a client of it would hand it on.
async fn found(answer: impl Future<Output = Result<u64, Failed>>) -> Result<u64, poet_runtime::service::Failure> {
    answer.await.map_err(|error| poet_runtime::service::Failure::new(poet::Class::Transient, error))
}
