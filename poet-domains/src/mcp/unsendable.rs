//! A call whose arguments are nothing that can be sent, as the audit is to see it.

use poet_runtime::audit::Validation;
use poet_runtime::service::{AttemptContext, Caller, Failure, Fetched, Request, Vetting};
use poet_runtime::store::BoxFuture;
use poet_runtime::{Class, Error};
use std::sync::Arc;

/// Whoever would make the call, who says that its arguments have failed whatever the tool declared.
#[derive(Debug)]
pub(super) struct Unsendable(pub(super) Arc<dyn Caller>);

impl Caller for Unsendable {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        let unsendable = Error::denied("its arguments cannot be sent");
        Box::pin(std::future::ready(Err(Failure::new(Class::Permanent, unsendable))))
    }

    fn vetting(&self, request: &Request) -> Vetting {
        Vetting { arguments: Validation::Failed, ..self.0.vetting(request) }
    }
}
