//! What the suites on the pipeline share: calls of a scripted service, and sites that were declared by hand.

use poet_runtime::service::{Answer, Failure, ServiceCall};
use poet_runtime::{Class, Declaration, Error, Profile, Runtime, Site};
use std::cell::Cell;
use std::time::Duration;

/// What the first law allows a call to overrun its deadline by.
pub(crate) const GRACE: Duration = Duration::from_millis(50);

pub(crate) fn read<'a>(operation: &'a str) -> ServiceCall<'a> {
    ServiceCall { repeatable: true, ..ServiceCall::new("crm", operation, Profile::GENERAL) }
}

pub(crate) fn fails(class: Class) -> Result<u32, Failure> {
    Err(Failure::new(class, "scripted"))
}

pub(crate) fn site(declaration: Declaration) -> &'static Site {
    Box::leak(Box::new(Site::new(declaration)))
}

pub(crate) fn declared(function: &'static str) -> Declaration {
    Declaration::new(function, "shop::orders", "src/orders.rs", 1)
}

/// Calls a service whose attempts end as `script` says for each (counted from 1); returns how often it was started.
pub(crate) async fn call<F: Future<Output = Result<u32, Failure>>>(
    runtime: &Runtime,
    call: &ServiceCall<'_>,
    script: impl Fn(u32) -> F,
) -> (u32, Result<Answer<u32>, Error>) {
    let started = Cell::new(0);
    let result = runtime
        .call(call, |_| {
            started.set(started.get() + 1);
            script(started.get())
        })
        .await;
    (started.get(), result)
}
