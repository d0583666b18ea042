//! Decides what one record counts as: only attempts that reached the service are evidence about the service.

use super::{
    AttemptClass, BatchSum, Circuit, Effect, EffectSum, History, Key, LoadSum, MAX_COUNTED_RETRY, Sketch, Watch,
    likely_length, outage_bin,
};
use crate::clock::Wall;
use crate::outcome::{Arm, Attempt, Class, Ending, FailureKind, Finished, Hedge, Record, Shown, Turn};
use crate::profile::Utility;
use std::time::Duration;

impl History {
    /// Adds what one record says. Returns without adding anything for what is no evidence.
    pub fn observe(&mut self, hour: i64, record: &Record) {
        if let Some(attempt) = &record.attempt
            && let Some(class) = counted(attempt.class)
        {
            self.observe_latency(hour, attempt);
            // What happens while an outage is probed says nothing about the service when it is up.
            if attempt.probe {
                self.add(hour, Key::Probed(class), 1);
            } else {
                self.add(hour, Key::Attempt(class), 1);
                self.observe_retry(hour, attempt, class);
                self.observe_load(hour, attempt, class);
            }
        }
        if let Some(call) = &record.call {
            self.add(hour, Key::Call(call.ending), 1);
            self.observe_shown(hour, call);
        }
        if let Some(turn) = record.turn {
            self.observe_turn(hour, turn);
        }
    }

    /// Adds in which situation the attempt of a record was made, as far as whoever watches can tell, and what it came to.
    pub fn observe_next(&mut self, ended: Wall, watch: &mut Watch, record: &Record) {
        let class = record.attempt.and_then(|attempt| counted(attempt.class));
        if let Some((situation, failed)) = class.and_then(|class| watch.see(class, ended)) {
            self.add(ended.hour(), Key::Next(situation, failed), 1);
        }
    }

    /// Adds what the call of a record was worth, under the revision and the arm it was made with.
    ///
    /// Counted are calls whose request was not at fault and that reached the service, alone or as part of another one,
    /// and, apart, those that a circuit or a queue kept from it: what a caller does wrong, or drops, and what the cache
    /// answers, says nothing about the values in force.
    pub fn observe_effect(&mut self, hour: i64, record: &Record, utility: &Utility) {
        let Some(call) = record.call.filter(|call| call.arm != Arm::Aside) else { return };
        let own_fault = record.attempt.is_some_and(|attempt| attempt.class == Class::Permanent || attempt.probe);
        let effect = |sum| Key::Effect(Effect { slot: Effect::slot(call.revision), arm: call.arm, sum });
        match call.ending {
            Ending::CircuitOpen | Ending::Crowded | Ending::Deadline if call.attempts == 0 => {
                return self.add(hour, effect(EffectSum::Refused), 1);
            }
            Ending::Done | Ending::Failed | Ending::OutcomeUnknown | Ending::Fallback | Ending::Deadline
                if call.attempts > 0 && !own_fault => {}
            Ending::Batched => {}
            _ => return,
        }
        let worth = utility.worth(&call);
        self.add(hour, effect(EffectSum::Calls), 1);
        self.add(hour, effect(EffectSum::Worth), (worth * 1e6).round() as u64);
        self.add(hour, effect(EffectSum::WorthSquared), (worth * worth * 1e6).round() as u64);
    }

    fn observe_latency(&mut self, hour: i64, attempt: &Attempt) {
        // What is waited for is silence, and only a plain attempt is silent from its beginning to its end. Counted with
        // its latency, one that was alive far beyond the limit would speak for a longer one; left out, it would be
        // missing where it was silent for long, and the limit would fall below that.
        let waited = attempt.silent.unwrap_or(attempt.elapsed).min(attempt.elapsed);
        let Some(mut latency) = latency_key(attempt.class, waited) else { return };
        // What is known of the first copy is that it was not done by then. Were the quick second one counted instead,
        // hedging would hide the very tail that it is there for.
        if let (Key::Answered(bucket), Hedge::Won) = (latency, attempt.hedge) {
            latency = Key::Censored(bucket);
        }
        if let (Key::Answered(bucket), Some(_)) = (latency, attempt.silent) {
            latency = Key::Silent(bucket);
            self.add(hour, Key::Took(Sketch::bucket(attempt.elapsed)), 1);
        }
        self.add(hour, latency, 1);
        if let (Key::Censored(bucket), true) = (latency, attempt.at_deadline) {
            self.add(hour, Key::AtDeadline(bucket), 1);
        }
        if attempt.hedge != Hedge::None {
            self.add(hour, Key::Hedged(attempt.hedge == Hedge::Won), 1);
        }
    }

    fn observe_retry(&mut self, hour: i64, attempt: &Attempt, class: AttemptClass) {
        // A permanent refusal says that the request is wrong, not whether asking again helps.
        let Some(after) = attempt.after.filter(|_| class != AttemptClass::Permanent) else { return };
        let helped = class == AttemptClass::Success;
        let n = attempt.ordinal.saturating_sub(1).clamp(1, MAX_COUNTED_RETRY);
        self.add(hour, Key::Retried(n, after), 1);
        if helped {
            self.add(hour, Key::Recovered(n, after), 1);
        }
        // Only of first retries: later ones wait longer and succeed less often for another reason, that whatever
        // failed again is more likely down. Counted together, waiting would look worse than it is.
        if let Some(bin) = attempt.waited.filter(|_| n == 1) {
            self.add(hour, Key::Waited(bin, after), 1);
            if helped {
                self.add(hour, Key::WaitHelped(bin, after), 1);
            }
        }
    }

    fn observe_load(&mut self, hour: i64, attempt: &Attempt, class: AttemptClass) {
        let mut add = |sum, value| self.add(hour, Key::Load(sum, attempt.load), value);
        match class {
            AttemptClass::Success | AttemptClass::Failure(FailureKind::Invalid) => {
                add(LoadSum::Answered, 1);
                add(LoadSum::Micros, micros(attempt.elapsed));
            }
            AttemptClass::Failure(FailureKind::Timeout | FailureKind::Throttled | FailureKind::Transient) => {
                add(LoadSum::Failed, 1);
            }
            AttemptClass::Failure(FailureKind::Connect | FailureKind::Lost) | AttemptClass::Permanent => {}
        }
    }

    fn observe_shown(&mut self, hour: i64, call: &Finished) {
        match call.shown {
            // What was not answered cannot be compared.
            Some(Shown::Refetched { age, changed }) if matches!(call.ending, Ending::Done | Ending::Batched) => {
                self.add(hour, if changed { Key::Changed(age) } else { Key::Unchanged(age) }, 1);
            }
            // A batch that failed, or took more than one attempt, says nothing about how long one takes.
            Some(Shown::Batch { items }) if call.ending == Ending::Done && call.attempts == 1 => {
                let (items, micros) = (u64::from(items), micros(call.elapsed));
                for sum in BatchSum::ALL {
                    let value = match sum {
                        BatchSum::Calls => 1,
                        BatchSum::Items => items,
                        BatchSum::ItemsSquared => items * items,
                        BatchSum::Micros => micros,
                        BatchSum::ItemMicros => items.saturating_mul(micros),
                    };
                    self.add(hour, Key::Batch(sum), value);
                }
            }
            Some(Shown::Refetched { .. } | Shown::Batch { .. }) | None => {}
        }
    }

    fn observe_turn(&mut self, hour: i64, turn: Turn) {
        match turn {
            Turn::Opened { blamed, relapsed } => {
                self.add(hour, Key::Circuit(Circuit::Opened), 1);
                if relapsed {
                    self.add(hour, Key::Circuit(Circuit::Relapsed), 1);
                }
                for (kind, count) in FailureKind::ALL.into_iter().zip(blamed).filter(|(_, count)| *count > 0) {
                    self.add(hour, Key::Blamed(kind), u64::from(count));
                }
            }
            Turn::Closed { down_for, back_after } => {
                self.add(hour, Key::Outage(outage_bin(likely_length(down_for, back_after))), 1);
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn counted(class: Class) -> Option<AttemptClass> {
    match class {
        Class::Success => Some(AttemptClass::Success),
        Class::Permanent => Some(AttemptClass::Permanent),
        Class::Cancelled => None,
        other => other.failure().map(AttemptClass::Failure),
    }
}

/// How long the service takes to do its work: a refused connection, a quick 503 or a 404 would say it is fast.
fn latency_key(class: Class, elapsed: Duration) -> Option<Key> {
    let bucket = Sketch::bucket(elapsed);
    match class {
        Class::Success | Class::Invalid => Some(Key::Answered(bucket)),
        Class::Timeout => Some(Key::Censored(bucket)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Attempt, FailureKind, Finished, Hedge, TargetId};
    use std::time::Instant;

    fn record(attempt: Option<Attempt>, ending: Option<Ending>) -> Record {
        Record { attempt, call: ending.map(Finished::of), ..Record::new(TargetId(0), 1, Instant::now()) }
    }

    fn attempt(class: Class) -> Attempt {
        let after = Some(FailureKind::Lost);
        Attempt { ordinal: 2, after, ..Attempt::first(class, Duration::from_millis(5)) }
    }

    #[test]
    fn a_retry_that_succeeded_counts_as_tried_and_recovered() {
        let mut history = History::default();
        history.observe(1, &record(Some(attempt(Class::Success)), None));
        assert_eq!(history.total(Key::Retried(1, FailureKind::Lost)), 1);
        assert_eq!(history.total(Key::Recovered(1, FailureKind::Lost)), 1);
    }

    #[test]
    fn a_race_that_the_second_copy_won_says_how_long_the_first_was_not_done() {
        let mut history = History::default();
        history.observe(1, &record(Some(Attempt { hedge: Hedge::Won, ..attempt(Class::Success) }), None));
        let bucket = Sketch::bucket(Duration::from_millis(5));
        assert_eq!((history.total(Key::Answered(bucket)), history.total(Key::Censored(bucket))), (0, 1));
        history.observe(1, &record(Some(Attempt { hedge: Hedge::Lost, ..attempt(Class::Success) }), None));
        assert_eq!((history.total(Key::Answered(bucket)), history.total(Key::Censored(bucket))), (1, 1));
        assert_eq!((history.total(Key::Hedged(true)), history.total(Key::Hedged(false))), (1, 1));
    }

    #[test]
    fn only_first_retries_say_what_waiting_is_worth() {
        let mut history = History::default();
        let retry = Attempt { waited: Some(3), ..attempt(Class::Success) };
        history.observe(1, &record(Some(retry), None));
        history.observe(1, &record(Some(Attempt { ordinal: 3, ..retry }), None));
        history.observe(1, &record(Some(Attempt { probe: true, ..retry }), None));
        assert_eq!(history.total(Key::Waited(3, FailureKind::Lost)), 1);
        assert_eq!(history.total(Key::WaitHelped(3, FailureKind::Lost)), 1);
    }

    #[test]
    fn a_timeout_is_a_censored_latency_and_not_a_latency() {
        let mut history = History::default();
        history.observe(1, &record(Some(attempt(Class::Timeout)), None));
        let bucket = Sketch::bucket(Duration::from_millis(5));
        assert_eq!(history.total(Key::Censored(bucket)), 1);
        assert_eq!(history.total(Key::Answered(bucket)), 0);
    }

    #[test]
    fn a_wrong_request_says_nothing_about_latency_or_retries() {
        let mut history = History::default();
        history.observe(1, &record(Some(attempt(Class::Permanent)), None));
        assert_eq!(history.cells().collect::<Vec<_>>(), [(1, Key::Attempt(AttemptClass::Permanent), 1)]);
    }

    #[test]
    fn an_attempt_that_the_deadline_ended_is_counted_as_one() {
        let mut history = History::default();
        history.observe(1, &record(Some(Attempt { at_deadline: true, ..attempt(Class::Timeout) }), None));
        history.observe(1, &record(Some(Attempt { at_deadline: true, ..attempt(Class::Success) }), None));
        let bucket = Sketch::bucket(Duration::from_millis(5));
        assert_eq!((history.total(Key::Censored(bucket)), history.total(Key::AtDeadline(bucket))), (1, 1));
    }

    #[test]
    fn a_refusal_or_a_cancelled_attempt_is_no_evidence_about_the_service() {
        let mut history = History::default();
        history.observe(1, &record(None, Some(Ending::CircuitOpen)));
        history.observe(1, &record(Some(attempt(Class::Cancelled)), Some(Ending::Cancelled)));
        assert_eq!(history.attempts(), 0);
        assert_eq!(history.total(Key::Call(Ending::CircuitOpen)), 1);
    }

    #[test]
    fn a_probe_adds_its_latency_but_no_failure_of_the_service_when_it_is_up() {
        let mut history = History::default();
        history.observe(1, &record(Some(Attempt { probe: true, ..attempt(Class::Invalid) }), None));
        assert_eq!(history.attempts(), 0);
        assert_eq!(history.total(Key::Answered(Sketch::bucket(Duration::from_millis(5)))), 1);
    }
}
