//! What was promised, beside what happened.

use crate::domain::KEY;
use poet::defer::{Job, JobId, State};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

/// What producers said.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) jobs: HashSet<JobId>,
    /// Calls that the queue could not take in time and that were made at once.
    pub(crate) made_at_once: u64,
}

/// The figures of a drill.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills: usize,
    /// How often a job was in flight when its worker was killed.
    in_flight: HashMap<JobId, u64>,
    elapsed: Duration,
    acknowledged: u64,
    /// Acknowledged jobs by their state at the end.
    states: [u64; State::ALL.len()],
    lost: u64,
    /// Stored by a producer that was killed before it could say so.
    unacknowledged: u64,
    executions: u64,
    /// Calls that the server did not take: while it was closed, and while it was busy.
    declined: [u64; 2],
    made_at_once: u64,
    /// Jobs in flight at a kill: those that may be repeated, and those that may not.
    struck: [u64; 2],
    /// Executed more than once: those that may be repeated, and those that may not.
    repeated: [u64; 2],
    /// Executed more often than kills in flight explain.
    unexplained: u64,
    /// Uncertain, but not in flight at a kill.
    doubted: u64,
    /// Done, but not executed; or failed or dead, but executed.
    untrue: u64,
    /// Executed by two workers at once.
    overlapped: u64,
}

impl Tally {
    pub(crate) fn in_flight(&mut self, id: JobId) {
        *self.in_flight.entry(id).or_default() += 1;
    }

    pub(crate) fn took(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    pub(crate) fn count(&mut self, acknowledged: &Acknowledged, jobs: &[Job], ledger: &str) {
        let executions = executions(ledger);
        let of = |what: &str| ledger.lines().filter(|line| line.split(' ').next() == Some(what)).count() as u64;
        self.declined = [of("closed"), of("busy")];
        self.made_at_once = acknowledged.made_at_once;
        let acknowledged = &acknowledged.jobs;
        self.acknowledged = acknowledged.len() as u64;
        self.unacknowledged = jobs.iter().filter(|job| !acknowledged.contains(&job.id)).count() as u64;
        self.lost = self.acknowledged + self.unacknowledged - jobs.len() as u64;
        for job in jobs {
            if acknowledged.contains(&job.id) {
                self.states[job.state as usize] += 1;
            }
            let executed = key(job).and_then(|key| executions.get(key)).copied().unwrap_or_default();
            let struck = self.in_flight.get(&job.id).copied().unwrap_or(0);
            let kind = usize::from(!job.repeatable);
            self.executions += executed.times;
            self.struck[kind] += u64::from(struck > 0);
            self.repeated[kind] += u64::from(executed.times > 1);
            self.unexplained += u64::from(executed.times > 1 + struck);
            self.doubted += u64::from(job.state == State::Uncertain && (job.repeatable || struck == 0));
            self.overlapped += u64::from(executed.at_once > 1);
            self.untrue += u64::from(match job.state {
                State::Done => executed.times == 0,
                // A try before the one that failed may have been executed by a worker that was killed.
                State::Failed | State::Dead => executed.times > struck,
                _ => false,
            });
        }
    }

    fn of(&self, state: State) -> u64 {
        self.states[state as usize]
    }

    fn promises(&self) -> [(&'static str, u64); 7] {
        let unsettled = self.of(State::Pending) + self.of(State::Leased);
        [
            ("acknowledged and lost", self.lost),
            ("acknowledged and never settled", unsettled),
            ("executed twice, not repeatable", self.repeated[1]),
            ("executed again, not in flight at a kill", self.unexplained),
            ("uncertain, not in flight at a kill", self.doubted),
            ("said to be what they are not", self.untrue),
            ("executed by two workers at once", self.overlapped),
        ]
    }

    /// Whether every promise was kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.promises().iter().all(|(_, broken)| *broken == 0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, n: &dyn fmt::Display| writeln!(f, "  {what:<48}{n:>10}");
        line("kills", &self.kills)?;
        line("jobs acknowledged", &self.acknowledged)?;
        for state in [State::Done, State::Failed, State::Dead, State::Uncertain] {
            line(&format!("  {state}"), &self.of(state))?;
        }
        line("stored, but not acknowledged before a kill", &self.unacknowledged)?;
        line("made at once, because the queue was too slow", &self.made_at_once)?;
        line("calls while the server was closed", &self.declined[0])?;
        line("calls while the server was busy", &self.declined[1])?;
        line("executions, counted by the server", &self.executions)?;
        line("in flight at a kill, repeatable", &self.struck[0])?;
        line("  executed more than once", &self.repeated[0])?;
        line("in flight at a kill, not repeatable", &self.struck[1])?;
        line("  executed more than once", &self.repeated[1])?;
        line("seconds", &format!("{:.1}", self.elapsed.as_secs_f64()))?;
        line("jobs a second", &format!("{:.0}", self.acknowledged as f64 / self.elapsed.as_secs_f64()))?;
        writeln!(f, "\n  promises broken")?;
        let promises = self.promises();
        for (what, broken) in promises {
            writeln!(f, "  {what:<48}{broken:>10}")?;
        }
        Ok(())
    }
}

/// How often a job was executed, and how often at once.
#[derive(Clone, Copy, Default)]
struct Executed {
    times: u64,
    now: u64,
    at_once: u64,
}

/// What the server knows a job by. A job that is done keeps no arguments, so the answer says it too.
fn key(job: &Job) -> Option<&str> {
    let argument = job.arguments.as_ref().and_then(|arguments| arguments.get(KEY));
    argument.or_else(|| job.result.as_ref()?.get(KEY)).and_then(Value::as_str)
}

fn executions(ledger: &str) -> HashMap<&str, Executed> {
    let mut executions: HashMap<&str, Executed> = HashMap::new();
    for (what, key) in ledger.lines().filter_map(|line| line.split_once(' ')) {
        let executed = executions.entry(key).or_default();
        match what {
            "began" => {
                executed.times += 1;
                executed.now += 1;
                executed.at_once = executed.at_once.max(executed.now);
            }
            "ended" => executed.now = executed.now.saturating_sub(1),
            _ => {}
        }
    }
    executions
}
