//! Makes jobs with the worker of the runtime, the one in every program that puts calls off. Ends only when it is killed.

use crate::domain::{DRILL, SERVICE, World};
use anyhow::Context;
use poet::service::ServiceCall;
use std::future::pending;

/// What it says is its name, under which it holds jobs.
const NAMED: &str = "worker ";

pub(crate) async fn work(world: &World) -> anyhow::Result<()> {
    let runtime = world.runtime(true)?;
    // Any call says in whose name it was made. It comes first, so that nothing is held by somebody without a name.
    let call = ServiceCall::new(SERVICE, "greet", &DRILL);
    let greeting = runtime.call(&call, |_| async { Ok(()) }).await.context("asking for its own name")?;
    println!("{NAMED}{}", greeting.execution.run());
    runtime.install()?;
    pending().await
}

/// The name that a line of the worker's output says.
pub(crate) fn named(line: &str) -> Option<&str> {
    line.strip_prefix(NAMED)
}
