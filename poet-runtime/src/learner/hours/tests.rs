//! What is proposed from a history, hour by hour of UTC, in the time zone of the service.

use crate::evidence::{AttemptClass, Key, PastHour};
use crate::learner::tests::World;
use crate::outcome::{Ending, FailureKind};
use crate::parameter::{DEFER_HOURS, DEFER_MONTHLY, DEFER_WEEKDAYS, MonthlyHour};
use crate::store::ParameterChange;

const GOOD: Key = Key::Attempt(AttemptClass::Success);
const BAD: Key = Key::Attempt(AttemptClass::Failure(FailureKind::Transient));

/// 2026-01-05, a Monday, 00:00 UTC.
const MONDAY: i64 = 490_992;

/// A world whose history has `days` days from a Monday on, each hour with its share of failures.
fn world(days: i64, share: impl Fn(i64) -> f64) -> World {
    let mut world = World::default();
    world.hour = MONDAY;
    live(&mut world, days, share);
    world
}

/// Goes on for so many days, each hour with its share of failures.
fn live(world: &mut World, days: i64, share: impl Fn(i64) -> f64) {
    let until = world.hour + days * 24;
    for hour in world.hour..until {
        add(world, hour, share(hour));
    }
    world.hour = until;
}

fn add(world: &mut World, hour: i64, share: f64) {
    let attempts = 400.0;
    // Coins, not exact shares, so that days differ.
    let failures = (0..400).filter(|_| world.random() < share).count() as f64;
    world.history.add(hour, BAD, failures as u64);
    world.history.add(hour, GOOD, (attempts - failures) as u64);
}

fn of_day(hour: i64) -> i64 {
    (hour - MONDAY).rem_euclid(24)
}

fn moves(changes: &[ParameterChange], name: &str) -> Vec<(f64, bool)> {
    let of_it = changes.iter().filter(|change| change.new.key.name == name);
    of_it.map(|change| (change.new.value, change.new.is_applied())).collect()
}

const NOON: f64 = (1_u32 << 12) as f64;

#[test]
fn an_hour_that_fails_far_more_is_put_off_and_says_on_what_it_rests() {
    let mut world = world(14, |hour| if of_day(hour) == 12 { 0.4 } else { 0.05 });
    let changes = world.settle();
    assert_eq!(moves(&changes, DEFER_HOURS.name), [(NOON, true)]);
    assert_eq!(world.values.defer_hours, 1 << 12);
    let row = &changes.iter().find(|change| change.new.key.name == DEFER_HOURS.name).unwrap().new;
    assert_eq!(row.sample, 14);
    assert!(row.confidence > 0.99 && row.interval.0 > 0.37 && row.interval.1 < 0.43, "{row:?}");
    assert!(row.reason.contains("12:00-13:00") && row.reason.contains("over 14 of them"), "{}", row.reason);
    let evidence: serde_json::Value = serde_json::from_str(&row.evidence).unwrap();
    assert_eq!((&evidence["slots"][0]["slot"], &evidence["slots"][0]["seen"]), (&12.into(), &14.into()));
    assert!(evidence["slots"][0]["factor"].as_f64().unwrap() > 5.0, "{evidence}");
}

#[test]
fn a_lunch_hour_where_retries_help_is_reported_and_not_acted_on() {
    let mut world = world(20, |hour| if of_day(hour) == 12 { 0.16 } else { 0.09 });
    for hour in MONDAY..world.hour {
        world.history.add(hour, Key::Retried(1, FailureKind::Transient), 40);
        world.history.add(hour, Key::Recovered(1, FailureKind::Transient), 35);
    }
    let changes = world.settle();
    assert_eq!(moves(&changes, DEFER_HOURS.name), [(NOON, false)]);
    assert_eq!(world.values.defer_hours, 0);
    let reason = &changes.iter().find(|change| change.new.key.name == DEFER_HOURS.name).unwrap().new.reason;
    assert!(reason.ends_with("only reported"), "{reason}");
}

#[test]
fn where_nothing_changes_no_window_appears() {
    let mut world = world(60, |_| 0.05);
    let changes = world.settle();
    for parameter in [&DEFER_HOURS, &DEFER_WEEKDAYS, &DEFER_MONTHLY] {
        assert_eq!(moves(&changes, parameter.name), [], "{}", parameter.name);
    }
}

#[test]
fn a_window_that_moves_in_the_world_moves_in_force() {
    let mut world = world(20, |hour| if of_day(hour) == 12 { 0.4 } else { 0.05 });
    world.settle();
    assert_eq!(world.values.defer_hours, 1 << 12);
    for _ in 20..50 {
        live(&mut world, 1, |hour| if of_day(hour) == 15 { 0.4 } else { 0.05 });
        world.settle();
    }
    assert_eq!(world.values.defer_hours, 1 << 15);
}

#[test]
fn a_day_of_the_week_that_moves_in_the_world_moves_in_force() {
    let weekday = |hour: i64| (hour - MONDAY) / 24 % 7;
    let mut world = world(70, |hour| if weekday(hour) == 6 { 0.9 } else { 0.02 });
    world.settle();
    assert_eq!(world.values.defer_weekdays, 1 << 6);
    for _ in 70..210 {
        live(&mut world, 1, |hour| if weekday(hour) == 2 { 0.9 } else { 0.02 });
        world.settle();
    }
    assert_eq!(world.values.defer_weekdays, 1 << 2);
}

#[test]
fn what_is_no_attempt_of_the_service_makes_no_window() {
    let mut world = world(20, |_| 0.05);
    let quiet = world.settle().iter().filter(|change| change.new.key.name == DEFER_HOURS.name).count();
    for hour in (MONDAY..world.hour).filter(|hour| of_day(*hour) == 12) {
        let kinds = [
            Key::Attempt(AttemptClass::Permanent),
            Key::Probed(AttemptClass::Failure(FailureKind::Timeout)),
            Key::Call(Ending::CircuitOpen),
            Key::Call(Ending::Cancelled),
            Key::Call(Ending::Cached),
        ];
        kinds.into_iter().for_each(|key| world.history.add(hour, key, 10_000));
    }
    assert_eq!((quiet, moves(&world.settle(), DEFER_HOURS.name)), (0, Vec::new()));
}

#[test]
fn failures_of_one_hour_on_two_days_make_no_window_however_many() {
    let mut world = world(20, |_| 0.05);
    for day in [3, 11] {
        world.history.add(MONDAY + day * 24 + 12, BAD, 5_000_000);
    }
    assert_eq!(moves(&world.settle(), DEFER_HOURS.name), []);
}

#[test]
fn a_local_hour_stays_one_hour_when_the_clock_changes() {
    // Berlin's noon is 11:00 UTC until the 29th of March 2026, and 10:00 UTC from then on.
    let change = MONDAY + 83 * 24;
    let noon = |hour: i64| of_day(hour) == if hour < change { 11 } else { 10 };
    let share = |hour: i64| if hour > change - 14 * 24 && noon(hour) { 0.4 } else { 0.05 };
    let mut berlin = world(97, share);
    berlin.timezone = Some("Europe/Berlin");
    berlin.settle();
    assert_eq!(berlin.values.defer_hours, 1 << 12);
}

#[test]
fn today_says_nothing_before_it_has_ended() {
    let share = |hour: i64| if of_day(hour) == 12 { 0.4 } else { 0.05 };
    let (before, mut later) = (world(14, share), world(14, share));
    later.hour += 20;
    for hour in before.hour..later.hour {
        later.history.add(hour, BAD, 100_000);
    }
    let reasons = |world: &World| {
        let of_it = world.learn().into_iter().filter(|change| change.new.key.name == DEFER_HOURS.name);
        of_it.map(|change| change.new.evidence).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&before), reasons(&later));
}

#[test]
fn a_day_of_the_week_is_learned_after_eight_weeks_and_not_before() {
    let sunday = |hour: i64| (hour - MONDAY) / 24 % 7 == 6;
    let share = |hour: i64| if sunday(hour) { 0.9 } else { 0.02 };
    let mut early = world(49, share);
    assert_eq!(moves(&early.settle(), DEFER_WEEKDAYS.name), []);
    let changes = world(70, share).settle();
    let sundays = f64::from(1 << 6);
    assert_eq!(moves(&changes, DEFER_WEEKDAYS.name), [(sundays, true)]);
}

/// The first Saturdays of January to August 2026 at two, and the third Tuesdays of September to April 2027 at five.
const FIRST_SATURDAYS: [i64; 8] = [-2, 33, 61, 89, 117, 152, 180, 208];
const THIRD_TUESDAYS: [i64; 8] = [253, 288, 316, 344, 379, 407, 435, 470];

/// A world of so many days from the first of January 2026 on, in which the hours named fail.
fn months(days: i64, bad: impl Fn(i64) -> bool) -> World {
    let mut world = World::default();
    world.hour = MONDAY - 4 * 24;
    live(&mut world, days + 4, |hour| if bad(hour) { 0.8 } else { 0.01 });
    world
}

fn at(days: &[i64], hour: i64) -> Vec<i64> {
    days.iter().map(|day| MONDAY + day * 24 + hour).collect()
}

#[test]
fn a_first_saturday_is_learned_from_six_of_eight_months_and_not_from_five() {
    let firsts = at(&FIRST_SATURDAYS, 2);
    let rule = |hits: usize| moves(&months(220, |hour| firsts[..hits].contains(&hour)).settle(), DEFER_MONTHLY.name);
    let first_saturday = MonthlyHour { week: 1, weekday: 5, hour: 2 };
    assert_eq!(rule(8), [(f64::from(first_saturday.code()), true)]);
    assert_eq!(rule(6), [(f64::from(first_saturday.code()), true)]);
    assert_eq!(rule(5), []);
}

#[test]
fn an_hour_of_the_month_is_found_in_hours_of_which_nothing_but_the_attempts_is_known_any_more() {
    let firsts = at(&FIRST_SATURDAYS, 2);
    let whole = months(220, |hour| firsts.contains(&hour));
    let mut world = months(220, |hour| firsts.contains(&hour));
    // Not at midnight, so that a day lies in both.
    let oldest = world.hour - 90 * 24 + 7;
    let mut hours: std::collections::BTreeMap<i64, PastHour> = std::collections::BTreeMap::new();
    for (hour, key, count) in world.history.cells().filter(|(hour, ..)| *hour < oldest) {
        let past = hours.entry(hour).or_insert(PastHour { hour, attempts: 0, failures: 0 });
        past.attempts += count;
        past.failures += if key == BAD { count } else { 0 };
    }
    world.history.forget_before(oldest);
    assert_eq!(moves(&world.learn(), DEFER_MONTHLY.name), [], "90 days are three months");
    world.past = hours.into_values().collect();
    let rule = |world: &World| {
        let change = world.learn().into_iter().find(|change| change.new.key.name == DEFER_MONTHLY.name).unwrap();
        (change.new.value, change.new.evidence, change.new.reason)
    };
    assert_eq!(rule(&world), rule(&whole));
}

#[test]
fn an_hour_of_the_month_that_moves_in_the_world_moves_in_force() {
    let (firsts, thirds) = (at(&FIRST_SATURDAYS, 2), at(&THIRD_TUESDAYS, 5));
    let mut world = months(220, |hour| firsts.contains(&hour));
    world.settle();
    assert_eq!(world.values.defer_monthly, MonthlyHour { week: 1, weekday: 5, hour: 2 }.code());
    for _ in 0..26 {
        live(&mut world, 10, |hour| if thirds.contains(&hour) { 0.8 } else { 0.01 });
        world.settle();
    }
    assert_eq!(world.values.defer_monthly, MonthlyHour { week: 3, weekday: 1, hour: 5 }.code());
}

#[test]
fn where_nothing_changes_the_hour_of_the_month_stays_and_without_one_none_appears() {
    let firsts = at(&FIRST_SATURDAYS, 2);
    let mut quiet = months(220, |_| false);
    assert_eq!(moves(&quiet.settle(), DEFER_MONTHLY.name), []);
    let mut world = months(200, |hour| firsts.contains(&hour));
    assert_eq!(moves(&world.settle(), DEFER_MONTHLY.name).len(), 1);
    live(&mut world, 20, |hour| if firsts.contains(&hour) { 0.8 } else { 0.01 });
    assert_eq!(moves(&world.settle(), DEFER_MONTHLY.name), []);
    assert_eq!(world.values.defer_monthly, MonthlyHour { week: 1, weekday: 5, hour: 2 }.code());
}

#[test]
fn what_is_no_attempt_of_the_service_makes_no_hour_of_the_month_nor_does_one_month_however_bad() {
    let mut world = months(220, |_| false);
    for hour in at(&FIRST_SATURDAYS, 2) {
        let kinds = [
            Key::Attempt(AttemptClass::Permanent),
            Key::Probed(AttemptClass::Failure(FailureKind::Timeout)),
            Key::Call(Ending::CircuitOpen),
            Key::Call(Ending::Cancelled),
            Key::Call(Ending::Cached),
        ];
        kinds.into_iter().for_each(|key| world.history.add(hour, key, 10_000));
    }
    world.history.add(MONDAY + FIRST_SATURDAYS[3] * 24 + 2, BAD, 5_000_000);
    assert_eq!(moves(&world.settle(), DEFER_MONTHLY.name), []);
}
