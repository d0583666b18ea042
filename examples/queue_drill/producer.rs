//! Puts calls off, several at once, and names each that was acknowledged.

use crate::domain::{self, COUNT, COUNT_IN_ORDER, DRILL, KEY, SERVICE, World};
use anyhow::Context;
use poet::defer::JobId;
use poet::service::{Caller, Request};
use poet::{Disposition, Priority, Runtime};
use poet_simulator::SplitMix64;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Calls under way at once.
const AT_ONCE: usize = 64;

/// What came of a call, as it is written to the output.
const ACKNOWLEDGED: &str = "acknowledged ";
const MADE: &str = "made";

pub(crate) async fn produce(world: &World, jobs: usize, seed: u64) -> anyhow::Result<()> {
    let runtime = world.runtime(false)?;
    let caller = domain::find(&runtime, SERVICE)?;
    let mut random = SplitMix64::new(seed);
    let (mut left, mut number, mut calls) = (jobs, 0_u64, JoinSet::new());
    loop {
        while left > 0 && calls.len() < AT_ONCE {
            left -= 1;
            number += 1;
            calls.spawn(put_off(
                runtime.clone(),
                caller.clone(),
                request(&mut random, format!("{seed:016x}-{number}")),
            ));
        }
        let Some(came) = calls.join_next().await else { break };
        let said = came.context("putting a call off")?;
        // What was not acknowledged is not counted on, and another is put off instead.
        left += usize::from(said.as_ref().is_none_or(|said| said == MADE));
        if let Some(said) = said {
            io::stdout().lock().write_all(format!("{said}\n").as_bytes()).context("naming what was acknowledged")?;
        }
    }
    Ok(runtime.shutdown(Duration::from_secs(5)).await?)
}

/// `None` where nothing is known about it. A queue that cannot take it in time leaves it to be made at once.
async fn put_off(runtime: Runtime, caller: Arc<dyn Caller>, request: Request) -> Option<String> {
    match runtime.request(request, caller).await.ok()?.disposition() {
        Disposition::Queued(ticket) => Some(format!("{ACKNOWLEDGED}{}", ticket.id())),
        _ => Some(MADE.to_owned()),
    }
}

/// Half may be repeated, some are urgent, and some have to keep an order.
fn request(random: &mut SplitMix64, key: String) -> Request {
    let repeatable = random.unit() < 0.5;
    // An uncertain job holds up those behind it, so only what can never be uncertain is put in order here.
    let order = (repeatable && random.unit() < 0.1).then_some((random.unit() * 64.0) as u32);
    let mut request = Request::new(SERVICE, if order.is_some() { COUNT_IN_ORDER } else { COUNT }, &DRILL);
    request.repeatable = repeatable;
    request.queued = Some(true);
    request.priority = Some(if random.unit() < 0.1 { Priority::High } else { Priority::Normal });
    request.arguments.insert(KEY.to_owned(), key.into());
    request.arguments.extend(order.map(|order| ("order".to_owned(), order.into())));
    request
}

/// What a line of the producer's output says came of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    Acknowledged(JobId),
    /// It was not put off, but made.
    Made,
}

pub(crate) fn said(line: &str) -> Option<Said> {
    match line.strip_prefix(ACKNOWLEDGED) {
        Some(id) => id.parse().ok().map(Said::Acknowledged),
        None => (line == MADE).then_some(Said::Made),
    }
}
