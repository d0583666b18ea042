use super::*;
use crate::evidence::{AttemptClass, History, outage_bin};
use crate::learner::siblings::tests::that_showed;
use crate::learner::tests::World;
use crate::outcome::{Attempt, Class};
use std::time::Duration;

/// Where a probe that fails costs as much as a call that is refused.
fn costly() -> World {
    let mut world = World::about("breaker.");
    world.profile.utility.call = 1.0;
    world
}

/// Hours in which calls come at a rate and one outage has ended.
fn hours(world: &mut World, hours: u64, rate: f64, mut length: impl FnMut(f64) -> f64) {
    for _ in 0..hours {
        world.history.add(world.hour, Key::Call(Ending::Done), (3_600.0 * rate) as u64);
        let length = length(world.random());
        world.history.add(world.hour, Key::Outage(outage_bin(Duration::from_secs_f64(length))), 1);
        world.hour += 1;
    }
}

fn schedule(world: &World) -> Schedule {
    Schedule([world.values.open_for.as_secs_f64(), world.values.open_ratio, world.values.open_growth])
}

fn settled(world: &mut World) -> Schedule {
    world.settle();
    schedule(world)
}

/// What a schedule costs in an outage of exactly this length.
fn meets(schedule: Schedule, length: f64, rate: f64) -> f64 {
    let (mut at, mut failed) = (schedule.wait(), 0.0);
    while at < length {
        failed += 1.0;
        at += schedule.after(at);
    }
    failed + rate * (at - length)
}

/// What the schedule in force costs for each of many outages of a service.
fn cost(world: &World, rate: f64, mut length: impl FnMut() -> f64) -> f64 {
    let schedule = schedule(world);
    (0..5_000).map(|_| meets(schedule, length(), rate)).sum::<f64>() / 5_000.0
}

#[test]
fn a_schedule_costs_the_probes_that_fail_and_the_calls_that_come_before_the_first_that_does_not() {
    let costs = |schedule: [f64; 3], length: f64| Schedule(schedule).costs([length].into_iter(), 0.1).next().unwrap();
    let is = |cost: f64, known: f64| assert!((cost - known).abs() < 1e-9, "{cost} {known}");
    is(costs([10.0, 1.0, 0.0], 4.0), 0.6);
    is(costs([10.0, 1.0, 0.0], 25.0), 2.5 - 0.5 + 0.5);
    // After 10 s, 20 s, 40 s and 80 s; at 50 s a quarter of the fourth wait is over.
    is(costs([10.0, 1.0, 1.0], 50.0), 3.25 - 0.5 + 2.0);
    // After 1,800 s, 9,000 s and every 7,200 s, which is the longest wait.
    is(costs([1_800.0, 4.0, 1.0], 12_600.0), 2.5 - 0.5 + 360.0);
}

#[test]
fn many_short_waits_are_counted_together_as_they_would_be_one_by_one() {
    let schedule = Schedule([1.0, 0.3, 0.4]);
    let lengths = [3.0, 40.0, 700.0, 20_000.0];
    let together = schedule.costs(lengths.into_iter(), 2.0);
    for (length, cost) in lengths.into_iter().zip(together) {
        let (mut at, mut failed) = (1.0, 1.0);
        while at + schedule.after(at) < length {
            failed += 1.0;
            at += schedule.after(at);
        }
        let wait = schedule.after(at);
        let known = failed + (length - at) / wait - 0.5 + wait;
        assert!((cost / known - 1.0).abs() < 0.03, "{length}: {cost} {known}");
    }
}

#[test]
fn where_recovery_has_no_memory_it_waits_as_barlow_and_proschan_say_whatever_the_mean() {
    // Exponential with a mean of 300 s at five calls a second: sqrt(2 · 300 / 5) = 11 s.
    let mut world = costly();
    hours(&mut world, 400, 5.0, |u| -300.0 * (1.0 - u).ln());
    let learned = settled(&mut world);
    assert!((7.0..18.0).contains(&learned.after(300.0)), "{learned:?}");
    let mut other = costly();
    let best = |wait: f64| Schedule([wait, 1.0, 0.0]);
    let mut lengths = Vec::new();
    (0..5_000).for_each(|_| lengths.push(-300.0 * (1.0 - other.random()).ln()));
    let of = |schedule: Schedule| lengths.iter().map(|length| meets(schedule, *length, 5.0)).sum::<f64>();
    let ideal = (1..200).map(|wait| of(best(f64::from(wait)))).fold(f64::INFINITY, f64::min);
    let reached = of(learned) / ideal;
    assert!(reached < 1.1, "{reached} times the best constant in hindsight");
}

#[test]
fn the_less_a_probe_costs_the_sooner_it_is_made_and_one_that_hangs_costs_more() {
    let wait = |call: f64, kind: FailureKind| {
        let mut world = World::about("breaker.");
        world.profile.utility.call = call;
        hours(&mut world, 400, 5.0, |u| -300.0 * (1.0 - u).ln());
        world.history.add(world.hour, Key::Probed(AttemptClass::Failure(kind)), 500);
        settled(&mut world).after(300.0)
    };
    // As the square root of the price: 0.06 is a quarter of 1.
    let (cheap, dear) = (wait(0.06, FailureKind::Transient), wait(1.0, FailureKind::Transient));
    assert!((2.5..6.0).contains(&(dear / cheap)), "{cheap} {dear}");
    let hangs = wait(0.06, FailureKind::Timeout);
    assert!(hangs > 1.3 * cheap && hangs < dear, "{cheap} {hangs} {dear}");
}

#[test]
fn a_service_is_never_asked_more_than_once_a_second() {
    let mut world = World::about("breaker.");
    hours(&mut world, 400, 500.0, |u| 5.0 + u);
    let learned = settled(&mut world);
    assert!(learned.wait() >= 1.0 && learned.after(learned.wait()) >= 1.0, "{learned:?}");
}

#[test]
fn it_follows_a_service_that_recovers_ten_times_as_fast() {
    let mut world = costly();
    hours(&mut world, 200, 0.5, |u| -300.0 * (1.0 - u).ln());
    let slow = settled(&mut world);
    hours(&mut world, 300, 0.5, |u| -30.0 * (1.0 - u).ln());
    let fast = settled(&mut world);
    assert!(fast.wait() < slow.wait() / 2.0, "{fast:?} {slow:?}");
    let mut random = costly();
    let costs = cost(&world, 0.5, || -30.0 * (1.0 - random.random()).ln());
    assert!(costs < 8.0, "{costs} calls an outage");
}

#[test]
fn where_nothing_changes_it_stays() {
    let mut world = costly();
    hours(&mut world, 300, 0.5, |u| -100.0 * (1.0 - u).ln());
    let before = settled(&mut world);
    let mut moved = 0;
    for _ in 0..100 {
        hours(&mut world, 1, 0.5, |u| -100.0 * (1.0 - u).ln());
        moved += world.settle().len();
    }
    let after = schedule(&world);
    assert!(moved <= 3, "{moved} moves");
    let is_as_it_was = |one: f64, other: f64| (0.5..=2.0).contains(&(other / one));
    assert!(is_as_it_was(before.wait(), after.wait()), "{before:?} {after:?}");
    for been in [10.0, 60.0, 300.0, 1_800.0] {
        assert!(is_as_it_was(before.after(been), after.after(been)), "{been}: {before:?} {after:?}");
    }
}

#[test]
fn waits_come_to_grow_where_outages_come_to_have_a_long_tail_and_stop_growing_where_they_lose_it() {
    let mut world = costly();
    hours(&mut world, 300, 0.5, |u| -300.0 * (1.0 - u).ln());
    let short = settled(&mut world);
    // P(X > x) = (1 + x / 30 s)^-0.8
    hours(&mut world, 300, 0.5, |u| (30.0 * ((1.0 - u).powf(-1.25) - 1.0)).min(80_000.0));
    let long = settled(&mut world);
    hours(&mut world, 300, 0.5, |u| -300.0 * (1.0 - u).ln());
    let again = settled(&mut world);
    let grows = |one: Schedule| one.after(6_000.0) / one.after(60.0);
    assert!(grows(long) > 1.5 * grows(short), "{short:?} {long:?}");
    assert!(grows(again) < grows(long) / 1.5, "{long:?} {again:?}");
}

#[test]
fn the_fewer_calls_come_the_longer_it_waits_before_any_outage_was_seen() {
    let waits = [0.002, 0.05, 1.0, 50.0].map(|rate| {
        let mut world = costly();
        for _ in 0..48 {
            world.history.add(world.hour, Key::Call(Ending::Done), (3_600.0 * rate) as u64);
            world.hour += 1;
        }
        settled(&mut world).wait()
    });
    assert!(waits.windows(2).all(|two| two[0] >= two[1]), "{waits:?}");
    assert!(waits[0] >= 240.0 && waits[3] <= 15.0, "{waits:?}");
}

/// The first hour began with the first call, and nobody knows when that was, so calls may be far more than it seems.
#[test]
fn in_the_first_hour_no_probe_is_put_off_and_in_the_second_the_rate_is_known() {
    let calls = |world: &mut World| {
        world.history.add(world.hour, Key::Call(Ending::Done), 60);
        world.hour += 1;
        settled(world)
    };
    let mut world = costly();
    let before = schedule(&world);
    let first = calls(&mut world);
    let times = [60.0, 600.0, 7_200.0];
    assert!(times.iter().all(|been| first.after(*been) <= before.after(*been)), "{before:?} {first:?}");
    let second = calls(&mut world);
    assert!(second.wait() > before.wait(), "{before:?} {second:?}");
}

#[test]
fn a_new_service_is_asked_as_suits_the_outages_of_its_siblings() {
    let waits = [20.0, 7_200.0].map(|length| {
        let mut world = costly();
        for _ in 0..48 {
            world.history.add(world.hour, Key::Call(Ending::Done), 72);
            world.hour += 1;
        }
        let mut lengths = History::default();
        lengths.add(world.hour, Key::Outage(outage_bin(Duration::from_secs_f64(length))), 9);
        world.siblings = that_showed(&lengths);
        settled(&mut world).wait()
    });
    assert!(waits[0] <= 60.0 && waits[1] > 2.0 * waits[0], "{waits:?}");
}

#[test]
fn what_is_no_evidence_about_the_service_does_not_move_it() {
    let mut world = costly();
    hours(&mut world, 100, 0.5, |u| -100.0 * (1.0 - u).ln());
    let before = settled(&mut world);
    for _ in 0..2_000 {
        world.record(Some(Attempt::first(Class::Permanent, Duration::from_millis(5))), None);
        world.record(Some(Attempt::first(Class::Cancelled, Duration::from_millis(5))), Some(Ending::Cancelled));
        world.record(None, Some(Ending::Cached));
        world.record(None, Some(Ending::Coalesced));
    }
    assert_eq!(settled(&mut world), before);
}
