//! `poet queue`: the calls that were put off, and what a person decides about them.
//!
//! Looking opens the database for reading only. Deciding writes, beside the program that works on the same file, and
//! is refused where it could make a call run twice. Arguments are shown only where they are asked for, because they
//! may hold secrets.

use crate::arguments::{Arguments, Decision, Queue};
use crate::database::block_on;
use crate::{Refusal, work};
use poet_runtime::defer::{
    Answer, Change, Counts, DeferralQueue, Filter, Job, JobId, Note, QueueError, Resolution, SqliteQueue, State,
};
use poet_runtime::report::text::Style;
use poet_runtime::{Clock, Wall};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;

pub(crate) fn run(command: &Queue, arguments: &Arguments, path: &Path) -> Result<String, Refusal> {
    let format = arguments.format;
    // Also before deciding: a database that is not there shall not be made.
    let mut queue = SqliteQueue::open_read_only(path).map_err(|error| Refusal::nothing(error.to_string()))?;
    let (id, decide): (_, Box<dyn FnOnce(JobId, Wall) -> Change>) = match command {
        Queue::List { state, service, limit } => {
            let filter = Filter { state: *state, service: service.clone(), prefix: None };
            let counts = block_on(queue.counts()).map_err(|error| Refusal::nothing(error.to_string()))?;
            let jobs = read(&mut queue, &filter, *limit)?;
            let cut = jobs.len() == *limit;
            return Ok(format.of(|style| list(&counts, &jobs, cut, now(), style), || listed(&counts, &jobs)));
        }
        Queue::Run => return work::run(arguments, path),
        Queue::Show { id, arguments } => {
            let job = find(&mut queue, id)?;
            return Ok(format.of(|style| show(&job, *arguments, now(), style), || detailed(&job, *arguments)));
        }
        Queue::Cancel { id, note } => {
            let note = signed(note.as_deref());
            (id, Box::new(|id, now| Change::Cancel { id, note, now }))
        }
        Queue::Retry { id, note } => {
            let note = signed(note.as_deref());
            (id, Box::new(|id, now| Change::Retry { id, note, now }))
        }
        Queue::Resolve { id, decision, note } => {
            let (note, resolution) = (signed(note.as_deref()), resolution(decision));
            (id, Box::new(|id, now| Change::Resolve { id, resolution, note, now }))
        }
    };
    let id = find(&mut queue, id)?.id;
    drop(queue);
    let job = change(path, decide(id, now()))?;
    Ok(format.of(|style| show(&job, false, now(), style), || detailed(&job, false)))
}

pub(crate) fn now() -> Wall {
    Clock::system().anchor().wall
}

fn resolution(decision: &Decision) -> Resolution {
    if decision.done {
        Resolution::Done(None)
    } else if decision.failed {
        Resolution::Failed
    } else {
        Resolution::Again
    }
}

/// What is written down about who decided.
pub(crate) fn signed(text: Option<&str>) -> Note {
    let user = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    Note { by: user.unwrap_or_else(|| "somebody".to_owned()), text: text.map(str::to_owned) }
}

fn read(queue: &mut SqliteQueue, filter: &Filter, limit: usize) -> Result<Vec<Job>, Refusal> {
    block_on(queue.list(filter, limit)).map_err(|error| Refusal::nothing(error.to_string()))
}

/// The one job whose number begins like this.
fn find(queue: &mut SqliteQueue, written: &str) -> Result<Job, Refusal> {
    let prefix = written.to_ascii_lowercase();
    let mut jobs = read(queue, &Filter { prefix: Some(prefix), ..Filter::default() }, 2)?;
    match (jobs.pop(), jobs.is_empty()) {
        (Some(job), true) => Ok(job),
        (Some(_), false) => {
            Err(Refusal::usage(format!("`{written}` begins the number of more than one job; write more of it")))
        }
        (None, _) => Err(Refusal::nothing(format!(
            "there is no job whose number begins with `{written}`; `poet queue list` shows those there are"
        ))),
    }
}

fn change(path: &Path, change: Change) -> Result<Job, Refusal> {
    let mut queue = SqliteQueue::open(path).map_err(|error| Refusal::nothing(error.to_string()))?;
    let mut answers = block_on(queue.apply(&[change])).map_err(|error| Refusal::nothing(error.to_string()))?;
    match answers.pop().expect("one answer to one change") {
        Ok(Answer::Changed(job)) => Ok(*job),
        Ok(other) => unreachable!("{other:?}"),
        Err(error) => Err(Refusal::nothing(advice(&error))),
    }
}

fn advice(error: &QueueError) -> String {
    let then = match error {
        QueueError::State { state: State::Uncertain, .. } => ", with `poet queue resolve`",
        QueueError::State { state: State::Leased, .. } => ": a worker is making the call; wait for what comes of it",
        QueueError::State { state: State::Pending, .. } => ": it waits to be made",
        QueueError::State { state: State::Failed | State::Dead, asked: "resolved", .. } => {
            "; `poet queue retry` makes it again"
        }
        _ => "",
    };
    format!("{error}{then}")
}

/// Within a hundred columns: an error that is longer is told in full by `show`.
fn list(counts: &Counts, jobs: &[Job], cut: bool, now: Wall, style: Style) -> String {
    let counted: Vec<_> = State::ALL.into_iter().map(|state| format!("{} {state}", counts.of(state))).collect();
    let mut out = format!("{}\n", counted.join(", "));
    if jobs.is_empty() {
        let nothing = State::ALL.into_iter().all(|state| counts.of(state) == 0);
        out.push_str(if nothing { "no call was put off\n" } else { "no job is like that\n" });
        return out;
    }
    let heading = format!("{:<36}  {:<9}  {:<9}  {:<5}  {}", "job", "state", "when", "tries", "what");
    let _ = writeln!(out, "\n{}", style.heading(&heading));
    for job in jobs {
        let (state, when, tries) =
            (job.state.as_str(), when(job, now), format!("{}/{}", job.attempts, job.max_attempts));
        let _ = writeln!(out, "{}  {state:<9}  {when:<9}  {tries:<5}  {}.{}", job.id, job.service, job.operation);
        if let Some(error) = &job.error {
            let _ = writeln!(out, "    {}", shortened(error, 96));
        }
    }
    if cut {
        let _ = writeln!(out, "\nthe newest {}; there may be more, which `--limit N` shows", jobs.len());
    }
    out
}

/// When a job is due, for how long it has been due or under way, or how long ago it ended.
fn when(job: &Job, now: Wall) -> String {
    match job.state {
        State::Pending if job.due > now => format!("in {}", span(now, job.due)),
        State::Pending => format!("since {}", span(job.due, now)),
        State::Leased => format!("for {}", span(job.started.unwrap_or(job.due), now)),
        _ => format!("{} ago", span(job.ended.or(job.started).unwrap_or(job.due), now)),
    }
}

/// A length of time in the one unit in which it is a number of at most three digits.
fn span(from: Wall, to: Wall) -> String {
    let seconds = from.until(to).as_secs();
    match seconds {
        0..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn shortened(text: &str, columns: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= columns && line.len() == text.len() {
        return line.to_owned();
    }
    line.chars().take(columns - 1).chain(['…']).collect()
}

fn show(job: &Job, arguments: bool, now: Wall, style: Style) -> String {
    let mut out = format!("{}\n", style.heading(&format!("{} of {}: {}", job.operation, job.service, job.state)));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(out, "  {name:<14}{value}");
        }
    };
    let relative = |moment: Wall| {
        if moment > now {
            format!("{} (in {})", seconds(moment), span(now, moment))
        } else {
            format!("{} ({} ago)", seconds(moment), span(moment, now))
        }
    };
    let moment = |moment: Option<Wall>| moment.map(relative);
    // Nothing else is to be expected of what has ended.
    let awaited = |moment: Wall| (!job.state.has_ended()).then(|| relative(moment));
    line("job", Some(job.id.to_string()));
    line("profile", Some(job.profile.clone()));
    line("put off", Some(relative(job.created)));
    line("reason", Some(job.reason.as_str().to_owned()));
    line("may repeat", Some(if job.repeatable { "yes" } else { "no" }.to_owned()));
    line("priority", Some(job.priority.as_str().to_owned()));
    line("order key", job.order_key.clone());
    line("due", awaited(job.due));
    line("expires", awaited(job.expires));
    line("started", moment(job.started));
    line("ended", moment(job.ended));
    line("attempts", Some(format!("{} of {}", job.attempts, job.max_attempts)));
    line("worker", job.owner.clone());
    line("leased until", moment(job.until));
    line("execution", job.execution.clone());
    let then = if job.state == State::Pending { "asked what came of it" } else { "not asked any more, and may go on" };
    line("taken on", job.accepted.as_ref().map(|_| format!("by the service, which is {then}")));
    line(if job.state.has_ended() { "error" } else { "last error" }, job.error.clone());
    line("decided", job.resolved.clone());
    line("result", job.result.as_ref().map(Value::to_string));
    if arguments {
        let known = job.arguments.as_ref().map(|arguments| Value::Object(arguments.clone()).to_string());
        line("arguments", Some(known.unwrap_or_else(|| "none are kept once it is done".to_owned())));
    }
    if job.state == State::Uncertain {
        let _ = writeln!(
            out,
            "\nIt may have been executed. Look at {} whether it was, then say so:\n  \
             poet queue resolve {id} --done      it was\n  \
             poet queue resolve {id} --failed    it was not, and shall not be\n  \
             poet queue resolve {id} --again     it was not, and shall be",
            job.service,
            id = job.id,
        );
    }
    out
}

fn listed(counts: &Counts, jobs: &[Job]) -> Value {
    let counts: Map<_, _> =
        State::ALL.into_iter().map(|state| (state.as_str().to_owned(), counts.of(state).into())).collect();
    json!({ "counts": counts, "jobs": jobs.iter().map(brief).collect::<Vec<_>>() })
}

fn brief(job: &Job) -> Value {
    let moment = |moment: Option<Wall>| moment.map(|moment| moment.to_string());
    json!({
        "id": job.id.to_string(),
        "state": job.state.as_str(),
        "service": job.service,
        "operation": job.operation,
        "profile": job.profile,
        "reason": job.reason.as_str(),
        "repeatable": job.repeatable,
        "priority": job.priority.as_str(),
        "order_key": job.order_key,
        "created": job.created.to_string(),
        "due": job.due.to_string(),
        "expires": job.expires.to_string(),
        "started": moment(job.started),
        "ended": moment(job.ended),
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "worker": job.owner,
        "taken_on": job.accepted.is_some(),
        "until": moment(job.until),
        "execution": job.execution,
        "error": job.error,
        "decided": job.resolved,
    })
}

fn detailed(job: &Job, arguments: bool) -> Value {
    let mut all = brief(job);
    all["result"] = job.result.clone().unwrap_or(Value::Null);
    if arguments {
        all["arguments"] = job.arguments.clone().map_or(Value::Null, Value::Object);
    }
    all
}

/// Without the milliseconds, which no person needs.
pub(crate) fn seconds(moment: Wall) -> String {
    let text = moment.to_string();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_span_is_a_short_number_of_one_unit() {
        let now = Wall::from_millis(1_800_000_000_000);
        let said = |seconds| span(now, now.after(Duration::from_secs(seconds)));
        assert_eq!([said(0), said(99), said(100), said(5_999)], ["0s", "99s", "1m", "99m"]);
        assert_eq!([said(6_000), said(172_799), said(172_800)], ["1h", "47h", "2d"]);
    }

    #[test]
    fn a_long_error_is_cut_and_marked_where_it_is() {
        assert_eq!(shortened("refused", 7), "refused");
        assert_eq!(shortened("refused!", 7), "refuse…");
        assert_eq!(shortened("refused\nat 7", 96), "refused…");
    }
}
