//! `poet params approve|pin|unpin|rollback|reset`: one stored move of a value, and what it means.

use crate::arguments::{Arguments, Order, Which};
use crate::database::block_on;
use crate::queue::{now, signed};
use crate::{Refusal, params};
use poet_runtime::config::Config;
use poet_runtime::decision::{Decision, Instruction, decide};
use poet_runtime::parameter::Parameter;
use poet_runtime::report::{Report, json, text};
use poet_runtime::store::{ParameterKey, SqliteStore, Standing};
use poet_runtime::{FailureKind, Learning};
use std::path::Path;

/// Where a decision is made: what is known, what was asked, and the database.
pub(crate) struct Desk<'a> {
    pub(crate) report: &'a Report,
    pub(crate) arguments: &'a Arguments,
    pub(crate) path: &'a Path,
}

pub(crate) fn run(decision: Decision, order: &Order, desk: &Desk<'_>) -> Result<String, Refusal> {
    let Order { which, note } = order;
    let Desk { report, arguments, path } = *desk;
    let parameter = params::parameter(which)?;
    let target = params::target(report, which)?;
    let (after, unlearned) = match decision {
        // Whoever writes a value says what for; nothing need be known about it.
        Decision::Pin(_) => {
            if parameter.per_failure && which.after.is_none() {
                return Err(Refusal::usage(format!(
                    "`{}` has a value for each kind of failure; write `--after` with one of `{}`",
                    parameter.name,
                    FailureKind::ALL.map(FailureKind::as_str).join("`, `")
                )));
            }
            let mut seen = target.parameters.iter().filter(|known| known.parameter.name == parameter.name);
            (which.after, seen.find(|known| known.after.is_none()).map(|known| known.default))
        }
        _ => {
            let known = params::find(target, parameter.name, which.after)?;
            (known.after, Some(known.default))
        }
    };
    let configured = Configured::read(arguments, which, parameter, after);
    configured.allow(decision, parameter)?;
    let key = ParameterKey { target: target.key.clone(), name: parameter.name.to_owned(), after };
    let instruction = Instruction { key, decision, unlearned, note: signed(note.as_deref()), now: now() };
    let mut store = SqliteStore::open(path).map_err(|error| Refusal::nothing(error.to_string()))?;
    let moved = block_on(decide(&mut store, &instruction)).map_err(|declined| {
        let look = if declined.superseded_by().is_some() { "; look at it with `poet params show`" } else { "" };
        Refusal::nothing(format!("{}: {declined}{look}", titled(which, after)))
    })?;
    let mut meaning = format!("{} Processes that run take it up within a minute.", meaning(moved.new.standing));
    for note in configured.notes(parameter) {
        meaning.push(' ');
        meaning.push_str(&note);
    }
    let format = arguments.format;
    Ok(format.of(|style| text::decision(&moved, &meaning, style), || json::decision(&moved, &meaning)))
}

fn titled(which: &Which, after: Option<FailureKind>) -> String {
    let after = after.map_or(String::new(), |kind| format!(" after {}", kind.as_str()));
    format!("`{}`{after} of `{}` of `{}`", which.name, which.operation, which.service)
}

/// What comes of a move. Those that wait for a trial or a day are decided about again by learning.
fn meaning(standing: Standing) -> &'static str {
    match standing {
        Standing::Trial => {
            "Calls are made with it from here on. It is on trial: should they be worth less with it, it goes back by itself."
        }
        Standing::Pinned => "Calls are made with it, and learning does not move it, until `poet params unpin`.",
        Standing::RolledBack => {
            "Calls are made with it, and nothing of its family moves for 24 h; then learning goes on from there."
        }
        Standing::Forgotten => {
            "Profile and configuration decide, and nothing of its family moves for 24 h; then it is learned again."
        }
        _ => "The value stays, and learning may move it again.",
    }
}

/// What the configuration says about a value, as far as it can be read from here.
struct Configured {
    file: String,
    held: Option<f64>,
    learning: Learning,
    problem: Option<String>,
}

impl Configured {
    fn read(arguments: &Arguments, which: &Which, parameter: &Parameter, after: Option<FailureKind>) -> Self {
        let (config, problem) = match arguments.read_config() {
            Ok(config) => (config, None),
            Err(error) => (Config::default(), Some(error.to_string())),
        };
        let service = config.services.get(&which.service);
        Self {
            file: config.file.as_ref().map_or("the configuration".to_owned(), |file| file.display().to_string()),
            held: service.and_then(|service| service.held(&which.operation, parameter, after)),
            learning: service.and_then(|service| service.learning).unwrap_or(config.learning),
            problem,
        }
    }

    /// Refuses to put a value in force where the configuration goes before it.
    fn allow(&self, decision: Decision, parameter: &Parameter) -> Result<(), Refusal> {
        let forgets = matches!(decision, Decision::Unpin | Decision::Reset);
        match self.held {
            Some(held) if !forgets => Err(Refusal::nothing(format!(
                "`{}` is held at {} by {}, which goes before what is stored; change it there",
                parameter.name,
                parameter.unit.show(held),
                self.file
            ))),
            _ => Ok(()),
        }
    }

    fn notes(&self, parameter: &Parameter) -> Vec<String> {
        let held = self.held.map(|held| {
            format!("{} holds it at {} all the same: change it there.", self.file, parameter.unit.show(held))
        });
        let learning = matches!(self.learning, Learning::Shadow | Learning::Off).then(|| {
            format!(
                "Learning is `{}` in {}: there, nothing that is stored is in force.",
                self.learning.as_str(),
                self.file
            )
        });
        let problem = self.problem.as_ref().map(|problem| {
            format!("Whether the configuration holds it is not known, because it could not be read: {problem}")
        });
        [held, learning, problem].into_iter().flatten().collect()
    }
}
