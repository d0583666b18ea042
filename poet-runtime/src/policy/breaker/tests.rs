use super::*;

/// The built-in defaults.
pub(crate) const AT: Thresholds = Thresholds {
    failures: [5; FailureKind::ALL.len()],
    credit: 1.0,
    open_for: Duration::from_secs(60),
    ratio: 1.0,
    growth: 0.0,
    successes: 3,
    draw: MEAN,
};
pub(crate) const ILL: Sign = Sign::Ill(FailureKind::Transient);

struct Service {
    breaker: Breaker,
    at: Thresholds,
    successes: u64,
    now: Instant,
    turns: Vec<Turn>,
}

impl Service {
    fn new() -> Self {
        Self { breaker: Breaker::new(), at: AT, successes: 0, now: Instant::now(), turns: Vec::new() }
    }

    fn attempt(&mut self, sign: Sign) -> Admission {
        let admission = self.breaker.admit(self.at, self.now);
        let probe = match admission {
            Admission::Pass => None,
            Admission::Probe(probe) => Some(probe),
            Admission::Refuse { .. } => return admission,
        };
        self.finish(probe, sign);
        admission
    }

    fn finish(&mut self, probe: Option<Probe>, sign: Sign) {
        self.successes += u64::from(sign == Sign::Well);
        self.turns.extend(self.breaker.record(probe, sign, self.successes, self.at, self.now));
    }

    fn open(&mut self) {
        for _ in 0..5 {
            self.attempt(ILL);
        }
        assert!(!self.breaker.is_closed());
    }

    fn probe(&mut self) -> Probe {
        match self.breaker.admit(self.at, self.now) {
            Admission::Probe(probe) => probe,
            other => panic!("not a probe: {other:?}"),
        }
    }
}

#[test]
fn five_failures_open_it_after_any_number_of_healthy_calls() {
    for healthy in [0, 200, 10_000, 200_000] {
        let mut service = Service::new();
        for _ in 0..healthy {
            service.attempt(Sign::Well);
        }
        for _ in 0..4 {
            service.attempt(ILL);
        }
        assert!(service.breaker.is_closed(), "after {healthy}");
        service.attempt(ILL);
        assert!(!service.breaker.is_closed(), "after {healthy}");
    }
}

#[test]
fn a_service_that_fails_nine_of_ten_opens_it_though_five_never_fail_in_a_row() {
    let mut service = Service::new();
    for i in 0..200 {
        service.now += Duration::from_millis(100);
        service.attempt(if i % 5 == 4 { Sign::Well } else { ILL });
    }
    assert!(!service.breaker.is_closed());
}

#[test]
fn a_service_that_fails_every_first_attempt_stays_usable() {
    let mut service = Service::new();
    for i in 0..1_000 {
        service.now += Duration::from_millis(10);
        service.attempt(if i % 2 == 0 { ILL } else { Sign::Well });
    }
    assert!(service.breaker.is_closed());
}

#[test]
fn an_idle_window_forgets_old_failures() {
    for (idle, closed) in [(Duration::ZERO, false), (WINDOW, true)] {
        let mut service = Service::new();
        for i in 0..21 {
            service.attempt(if i % 5 == 0 { Sign::Well } else { ILL });
        }
        service.now += idle;
        service.attempt(ILL);
        assert_eq!(service.breaker.is_closed(), closed, "after {idle:?}");
    }
}

#[test]
fn it_refuses_while_open_and_says_for_how_long() {
    let mut service = Service::new();
    service.open();
    service.now += Duration::from_secs(20);
    assert_eq!(service.attempt(Sign::Well), Admission::Refuse { retry_in: Some(Duration::from_secs(40)) });
}

#[test]
fn half_open_admits_only_as_many_probes_as_it_needs() {
    let mut service = Service::new();
    service.open();
    service.now += AT.open_for;
    let admitted = (0..200).filter(|_| matches!(service.breaker.admit(AT, service.now), Admission::Probe(_))).count();
    assert_eq!(admitted, 3);
}

#[test]
fn three_good_probes_close_it_and_one_bad_one_opens_it_again() {
    let mut service = Service::new();
    service.open();
    service.now += AT.open_for;
    service.attempt(Sign::Well);
    service.attempt(Sign::Well);
    assert!(!service.breaker.is_closed());
    service.attempt(Sign::Well);
    assert!(service.breaker.is_closed());

    service.open();
    service.now += AT.open_for;
    service.attempt(ILL);
    assert_eq!(service.attempt(Sign::Well), Admission::Refuse { retry_in: Some(AT.open_for) });
}

#[test]
fn abandoned_probes_are_given_back() {
    let mut service = Service::new();
    service.open();
    service.now += AT.open_for;
    for _ in 0..20 {
        let probe = service.probe();
        service.finish(Some(probe), Sign::None);
    }
    for _ in 0..3 {
        service.attempt(Sign::Well);
    }
    assert!(service.breaker.is_closed());
}

#[test]
fn a_threshold_that_comes_down_between_two_probes_does_not_shut_the_circuit_for_ever() {
    let mut service = Service::new();
    service.open();
    service.now += AT.open_for;
    service.attempt(Sign::Well);
    service.attempt(Sign::Well);
    let lower = Thresholds { successes: 1, ..AT };
    service.now += AT.open_for;
    assert_eq!(service.breaker.admit(lower, service.now), Admission::Pass);
    assert!(service.breaker.is_closed());
}

#[test]
fn a_probe_of_an_earlier_phase_says_nothing_about_this_one() {
    let mut service = Service::new();
    service.open();
    service.now += AT.open_for;
    let late = service.probe();
    let bad = service.probe();
    service.finish(Some(bad), ILL);
    service.now += AT.open_for;
    service.attempt(Sign::Well);
    service.finish(Some(late), Sign::Well);
    service.attempt(Sign::Well);
    assert!(!service.breaker.is_closed(), "two good probes of this phase, not three");
}

#[test]
fn a_call_that_started_before_the_circuit_opened_neither_opens_nor_closes_it() {
    let mut service = Service::new();
    service.open();
    service.finish(None, Sign::Well);
    assert!(!service.breaker.is_closed());
}

#[test]
fn each_kind_of_failure_counts_by_its_own_threshold() {
    let mut service = Service::new();
    service.at.failures[FailureKind::Transient.index()] = 8;
    service.at.failures[FailureKind::Timeout.index()] = 2;
    (0..7).for_each(|_| _ = service.attempt(ILL));
    assert!(service.breaker.is_closed(), "seven of eight");
    service.attempt(Sign::Ill(FailureKind::Timeout));
    assert!(!service.breaker.is_closed(), "and half of what opens it");
    let mut blamed = [0; FailureKind::ALL.len()];
    (blamed[FailureKind::Transient.index()], blamed[FailureKind::Timeout.index()]) = (7, 1);
    assert_eq!(service.turns, [Turn::Opened { blamed, relapsed: false }]);
}

#[test]
fn a_success_takes_back_its_credit_and_no_more() {
    let mut service = Service::new();
    service.at.credit = 0.2;
    for _ in 0..4 {
        service.attempt(ILL);
    }
    service.attempt(Sign::Well);
    assert!(!service.breaker.is_calm());
    service.attempt(ILL);
    assert!(service.breaker.is_closed(), "four fifths again");
    service.attempt(ILL);
    assert!(!service.breaker.is_closed());
    let mut calm = Service { at: service.at, ..Service::new() };
    calm.attempt(ILL);
    calm.attempt(Sign::Well);
    assert!(calm.breaker.is_calm(), "and what is taken back is forgotten");
}

#[test]
fn each_probe_that_fails_lengthens_the_wait_up_to_the_longest() {
    let mut service = Service::new();
    service.at.growth = 1.0;
    service.open();
    let mut waits = Vec::new();
    for _ in 0..10 {
        let wait = service.breaker.rest(service.now).expect("it is open");
        waits.push(wait.as_secs());
        service.now += wait;
        service.attempt(ILL);
    }
    assert_eq!(waits, [60, 60, 120, 240, 480, 960, 1_920, 3_840, 7_200, 7_200]);
}

#[test]
fn two_processes_that_saw_it_fail_at_once_ask_again_at_the_same_time_once_and_then_apart() {
    let waits = |draws: [f64; 3]| {
        let mut service = Service::new();
        service.open();
        draws.map(|draw| {
            let wait = service.breaker.rest(service.now).expect("it is open");
            service.now += wait;
            service.at.draw = draw;
            service.attempt(ILL);
            wait.as_secs_f64()
        })
    };
    assert_eq!(waits([0.0, 1.0, 0.5]), [60.0, 48.0, 72.0]);
    assert_eq!(waits([0.25, 0.75, 0.5]), [60.0, 54.0, 66.0]);
}

#[test]
fn the_second_wait_may_be_shorter_than_the_first_and_later_ones_grow_as_the_square_root_of_time() {
    let mut service = Service::new();
    (service.at.ratio, service.at.growth) = (0.5, 0.5);
    service.open();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let wait = service.breaker.rest(service.now).expect("it is open");
        waits.push((wait.as_secs_f64() * 10.0).round() / 10.0);
        service.now += wait;
        service.attempt(ILL);
    }
    assert_eq!(waits, [60.0, 30.0, 36.7, 43.6], "30 · sqrt(90 / 60), 30 · sqrt(126.7 / 60)");
}

#[test]
fn an_outage_lasts_from_its_first_failure_until_between_the_last_bad_probe_and_the_first_good_one() {
    let mut service = Service::new();
    let seconds = Duration::from_secs;
    (0..4).for_each(|_| _ = service.attempt(ILL));
    service.now += seconds(10);
    service.attempt(ILL);
    service.now += seconds(60);
    service.attempt(Sign::Well);
    service.attempt(ILL);
    service.now += seconds(60);
    service.attempt(Sign::Well);
    service.now += seconds(5);
    service.attempt(Sign::Well);
    service.attempt(Sign::Well);
    let Some(Turn::Closed { down_for, back_after }) = service.turns.last().copied() else { panic!("still open") };
    assert_eq!((down_for, back_after), (seconds(70), seconds(130)));
}

#[test]
fn a_service_that_fails_again_at_once_was_not_back_and_goes_on_being_asked_less_often() {
    let mut service = Service::new();
    service.at = Thresholds { growth: 1.0, successes: 1, ..AT };
    service.open();
    service.now += Duration::from_secs(60);
    service.attempt(ILL);
    service.now += Duration::from_secs(120);
    service.attempt(Sign::Well);
    service.now += Duration::from_secs(1);
    service.open();
    assert!(matches!(service.turns.last(), Some(Turn::Opened { relapsed: true, .. })));
    assert_eq!(service.breaker.rest(service.now), Some(Duration::from_secs(180)), "open for as long before");
    service.now += Duration::from_secs(180);
    service.attempt(Sign::Well);
    service.now += Duration::from_secs(3_600);
    service.open();
    assert!(matches!(service.turns.last(), Some(Turn::Opened { relapsed: false, .. })));
    assert_eq!(service.breaker.rest(service.now), Some(Duration::from_secs(60)));
}

proptest::proptest! {
    /// Whatever happens, waiting long enough always lets somebody find out whether the service is back.
    #[test]
    fn it_is_never_stuck(steps in proptest::collection::vec((0_u8..5, 0_u64..90), 1..400)) {
        let mut service = Service::new();
        let mut held = Vec::new();
        for (what, seconds) in steps {
            service.now += Duration::from_secs(seconds);
            match what {
                0 => { service.attempt(Sign::Well); }
                1 => { service.attempt(ILL); }
                2 => { service.attempt(Sign::None); }
                3 => if let Admission::Probe(probe) = service.breaker.admit(AT, service.now) { held.push(probe); },
                _ => if let Some(probe) = held.pop() { service.finish(Some(probe), Sign::None); },
            }
        }
        for probe in held.drain(..) {
            service.finish(Some(probe), Sign::None);
        }
        service.now += AT.open_for;
        let refused = matches!(service.breaker.admit(AT, service.now), Admission::Refuse { .. });
        proptest::prop_assert!(!refused);
    }
}
