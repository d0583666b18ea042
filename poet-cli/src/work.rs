//! `poet queue run`: makes the calls that are due, with the services of the configuration.

use crate::arguments::{Arguments, Format};
use crate::{Refusal, services};
use poet_runtime::config::Config;
use poet_runtime::defer::{Counts, QueueError, State, Worked};
use serde_json::{Map, Value, json};
use std::path::Path;

pub(crate) fn run(arguments: &Arguments, path: &Path) -> Result<String, Refusal> {
    let config = arguments.read_config().map_err(|error| Refusal::usage(error.to_string()))?;
    if config.services.is_empty() {
        let message = "which services? write `--config PATH`, or set POET_CONFIG, to the configuration of the program; \
                       a call is made with the address and the credentials that stand there";
        return Err(Refusal::usage(message));
    }
    let (worked, left) = services::block_on(work(config, path))??;
    Ok(match arguments.format {
        Format::Text => text(&worked, &left),
        Format::Json | Format::Html => format!("{:#}\n", json(&worked, &left)),
    })
}

async fn work(config: Config, path: &Path) -> Result<(Worked, Counts), Refusal> {
    let runtime = services::runtime(config, Some(path))?;
    let failed = |error: QueueError| Refusal::nothing(error.to_string());
    let worked = runtime.queue().run_due().await.map_err(failed)?;
    let left = runtime.queue().counts().await.map_err(failed)?;
    // What was learned may fail; what came of the jobs is on disk.
    let _ = runtime.shutdown(services::LAST_WORDS).await;
    Ok((worked, left))
}

fn outcomes(worked: &Worked) -> [(&'static str, u64); 5] {
    [
        ("done", worked.done),
        ("failed", worked.failed),
        ("dead", worked.dead),
        ("uncertain", worked.uncertain),
        // Also those of services that are not in the configuration: they were looked at and put back.
        ("put_back", worked.again),
    ]
}

fn text(worked: &Worked, left: &Counts) -> String {
    let came: Vec<_> = outcomes(worked)
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{n} {}", name.replace('_', " ")))
        .collect();
    let made = if came.is_empty() { "nothing was due".to_owned() } else { came.join(", ") };
    let (pending, uncertain) = (left.of(State::Pending), left.of(State::Uncertain));
    let mut looks = String::new();
    if worked.again > 0 {
        looks.push_str("; `poet queue list --state pending` shows why some were put back");
    }
    if uncertain > 0 {
        looks.push_str("; `poet queue list --state uncertain` shows what a person has to look at");
    }
    format!("{made}; {pending} pending and {uncertain} uncertain are left{looks}\n")
}

fn json(worked: &Worked, left: &Counts) -> Value {
    let made: Map<_, _> = outcomes(worked).into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect();
    let left: Map<_, _> =
        State::ALL.into_iter().map(|state| (state.as_str().to_owned(), left.of(state).into())).collect();
    json!({ "made": made, "counts": left })
}
