//! A service that answers requests as its script says, and writes down what it was asked.

use poet_runtime::service::{AttemptContext, Caller, Failure, Fetched, Request};
use poet_runtime::store::BoxFuture;
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Mutex};

type Script = dyn Fn(Request) -> BoxFuture<'static, Result<Value, Failure>> + Send + Sync;

/// The service.
pub(crate) struct Scripted {
    log: Mutex<Vec<Request>>,
    script: Box<Script>,
}

/// A service that answers each request with what `script` makes of it.
pub(crate) fn answers<F>(script: impl Fn(Request) -> F + Send + Sync + 'static) -> Arc<Scripted>
where
    F: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    Arc::new(Scripted { log: Mutex::default(), script: Box::new(move |request| Box::pin(script(request))) })
}

impl Scripted {
    /// Every attempt that was made, in order.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.log.lock().expect("no attempt panics").clone()
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("log", &self.log()).finish_non_exhaustive()
    }
}

impl Caller for Scripted {
    fn attempt<'a>(&'a self, request: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        self.log.lock().expect("no attempt panics").push(request.clone());
        let answer = (self.script)(request.clone());
        Box::pin(async move { Ok(Fetched::from(answer.await?)) })
    }
}
