//! The learner's own functions, for programs that judge them on recorded traces.
//!
//! What is judged has to be what is shipped: a replay that estimated for itself would judge itself. So evidence is
//! counted here as the recorder counts it, values move as they move in force, through every estimator and the guard, and
//! the circuit is the one that calls meet. No promise is made to keep any of this as it is.

use crate::clock::Wall;
use crate::evidence::{History, Hourly, Key, Situation, Situations, Watch};
use crate::learner::degradation::{self, Degradation};
use crate::learner::siblings::Siblings;
use crate::learner::{Subject, learn_some};
use crate::outcome::{FailureKind, Record};
use crate::parameter::Values;
use crate::policy::breaker::{Admission, Breaker, Probe, Sign, Thresholds};
use crate::profile::Profile;
use crate::site::Learning;
use crate::store::{ParameterChange, ParameterRow, Standing, TargetKey};
use std::time::{Duration, Instant};

/// How long evidence is kept, in hours.
const RETENTION: i64 = 90 * 24;

/// One service and operation as the learner sees it, with the values it moved.
#[derive(Debug)]
pub struct Workbench {
    target: TargetKey,
    profile: Profile,
    history: History,
    values: Values,
    learned: Vec<ParameterRow>,
    watch: Watch,
    situations: Situations,
    only: &'static str,
}

impl Workbench {
    /// Nothing is known yet, and the defaults of the profile are in force.
    #[must_use]
    pub fn new(service: &str, profile: Profile) -> Self {
        Self {
            target: TargetKey { service: service.to_owned(), operation: "call".to_owned() },
            values: Values::of(&profile),
            profile,
            history: History::default(),
            learned: Vec::new(),
            watch: Watch::default(),
            situations: Situations::default(),
            only: "",
        }
    }

    /// Moves only parameters whose names begin so, in a fraction of the time.
    #[must_use]
    pub fn only(self, prefix: &'static str) -> Self {
        Self { only: prefix, ..self }
    }

    /// The values in force.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// What was learned, the newest row of each parameter.
    #[must_use]
    pub fn learned(&self) -> &[ParameterRow] {
        &self.learned
    }

    /// What was counted.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Counts a record that ended at this moment.
    pub fn observe(&mut self, ended: Wall, record: &Record) {
        self.history.observe(ended.hour(), record);
        self.history.observe_next(ended, &mut self.watch, record);
    }

    /// Counts many alike at once.
    pub fn add(&mut self, ended: Wall, key: Key, count: u64) {
        self.history.add(ended.hour(), key, count);
    }

    /// Learns once from everything that was counted, applies the moves and returns them.
    pub fn learn(&mut self, now: Wall) -> Vec<ParameterChange> {
        self.history.forget_before(now.hour() - RETENTION);
        self.situations = degradation::counted(&self.history, now);
        let subject = Subject {
            target: &self.target,
            history: &self.history,
            hourly: Some(Hourly::of(&self.history)),
            bulk: None,
            siblings: Siblings::NONE,
            profile: &self.profile,
            values: &self.values,
            learned: &self.learned,
            pinned: &|_, _| false,
            learning: Learning::On,
            timezone: None,
            now,
        };
        let changes = learn_some(&subject, self.only);
        for change in &changes {
            let row = &change.new;
            if let Some(value) = row.in_force() {
                self.values.set(&row.key.name, row.key.after, value);
            }
            self.learned.retain(|known| known.key != row.key);
            // What is judged here are the estimators: every trial is taken to have gone well.
            let standing = if row.standing == Standing::Trial { Standing::Confirmed } else { row.standing };
            self.learned.push(ParameterRow { standing, ..row.clone() });
        }
        changes
    }

    /// What is known just before an attempt made now.
    #[must_use]
    pub fn situation(&self, now: Wall) -> Situation {
        self.watch.situation(now)
    }

    /// How likely an attempt made in a situation fails, by what was known when it was last learned.
    #[must_use]
    pub fn foretell(&self, situation: Situation) -> Option<Degradation> {
        degradation::foretell(&self.situations, situation)
    }
}

/// The circuit of one service and operation.
#[derive(Debug)]
pub struct Circuit {
    breaker: Breaker,
    successes: u64,
}

/// Whether a call may pass the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It may.
    Free,
    /// It may, to find out whether the service is back.
    Probe(ProbeTicket),
    /// It may not for so long; `None` while others are finding out.
    Refused(Option<Duration>),
}

/// Says which phase of the circuit a probe belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTicket(Probe);

impl Default for Circuit {
    fn default() -> Self {
        Self { breaker: Breaker::new(), successes: 0 }
    }
}

impl Circuit {
    /// Whether a call may pass at this moment.
    pub fn admit(&mut self, values: &Values, now: Instant) -> Passage {
        match self.breaker.admit(Thresholds::of(values), now) {
            Admission::Pass => Passage::Free,
            Admission::Probe(probe) => Passage::Probe(ProbeTicket(probe)),
            Admission::Refuse { retry_in } => Passage::Refused(retry_in),
        }
    }

    /// Takes in whether an admitted call succeeded.
    pub fn record(&mut self, probe: Option<ProbeTicket>, succeeded: bool, values: &Values, now: Instant) {
        self.successes += u64::from(succeeded);
        let sign = if succeeded { Sign::Well } else { Sign::Ill(FailureKind::Transient) };
        _ = self.breaker.record(probe.map(|ticket| ticket.0), sign, self.successes, Thresholds::of(values), now);
    }

    /// Whether calls pass freely.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.breaker.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Attempt, Class, TargetId};

    fn attempt(class: Class, elapsed: Duration) -> Record {
        let attempt = Some(Attempt::first(class, elapsed));
        Record { attempt, ..Record::new(TargetId(0), 0, Instant::now()) }
    }

    #[test]
    fn values_move_on_the_bench_as_they_do_in_force() {
        let mut bench = Workbench::new("web", *Profile::GENERAL);
        let now = Wall::from_millis(1_700_000_000_000);
        for _ in 0..20 {
            for _ in 0..100 {
                bench.observe(now, &attempt(Class::Success, Duration::from_millis(80)));
            }
            let limit = bench.values().attempt_timeout;
            bench.observe(now, &attempt(Class::Timeout, limit));
            bench.learn(now);
        }
        assert!(bench.values().attempt_timeout < Duration::from_secs(5), "{:?}", bench.values().attempt_timeout);
        assert!(bench.learned().iter().any(|row| row.key.name == "timeout.attempt"));
        assert!(bench.foretell(bench.situation(now)).unwrap().probability < 0.5);
    }

    #[test]
    fn the_circuit_refuses_until_its_wait_is_over_and_closes_after_good_probes() {
        let (mut circuit, values) = (Circuit::default(), Values::of(Profile::GENERAL));
        let t0 = Instant::now();
        for _ in 0..5 {
            assert_eq!(circuit.admit(&values, t0), Passage::Free);
            circuit.record(None, false, &values, t0);
        }
        assert_eq!(circuit.admit(&values, t0), Passage::Refused(Some(values.open_for)));
        let later = t0 + values.open_for;
        for _ in 0..values.success_threshold {
            let Passage::Probe(ticket) = circuit.admit(&values, later) else { panic!("no probe") };
            circuit.record(Some(ticket), true, &values, later);
        }
        assert!(circuit.is_closed());
    }
}
