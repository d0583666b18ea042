use super::*;
use crate::learner::tests::World;
use crate::outcome::{Finished, Record, Shown, TargetId};
use std::time::{Duration, Instant};

/// A tool for one item that takes 0.3 s, and one for many that takes `base + each * items`.
struct Tools {
    world: World,
    base: f64,
    each: f64,
}

impl Tools {
    fn new(base: f64, each: f64) -> Self {
        let mut world = World::about("batch.");
        world.bulk = Some(History::default());
        Self { world, base, each }
    }

    /// Hours in which calls come one by one at this rate and are gathered as the values in force say.
    fn calls(&mut self, hours: i64, rate: f64) {
        for _ in 0..hours {
            self.hour(rate, None);
        }
    }

    /// One hour, in batches of the size given or of what comes within the window.
    fn hour(&mut self, rate: f64, size: Option<f64>) {
        let calls = (3_600.0 * rate) as u64;
        let values = self.world.values.clone();
        let usual = 1.0 + rate * values.batch_window.as_secs_f64();
        let mut left = calls;
        let mut made = 0;
        while left > 0 {
            let size = size.unwrap_or(usual * (0.5 + self.world.random()));
            let items = (size.round() as u64).clamp(1, left.min(values.batch_max_size.into()));
            left -= items;
            // A few are made by themselves, below any threshold.
            if items < 2 || made % 20 == 0 {
                self.world.history.add(self.world.hour, Key::Call(Ending::Done), items);
                self.world.history.add(
                    self.world.hour,
                    Key::Answered(Sketch::bucket(Duration::from_millis(300))),
                    items,
                );
            } else {
                self.world.history.add(self.world.hour, Key::Call(Ending::Batched), items);
                self.batch(items as u16, Ending::Done, 1);
            }
            made += 1;
        }
        self.world.hour += 1;
    }

    fn batch(&mut self, items: u16, ending: Ending, attempts: u8) {
        let scatter = 0.9 + 0.2 * self.world.random();
        let seconds = scatter * (self.base + self.each * f64::from(items));
        let elapsed = Duration::from_secs_f64(seconds);
        let call = Finished { attempts, elapsed, shown: Some(Shown::Batch { items }), ..Finished::of(ending) };
        let record = Record { call: Some(call), ..Record::new(TargetId(0), 1, Instant::now()) };
        self.world.bulk.as_mut().unwrap().observe(self.world.hour, &record);
    }

    fn window(&self) -> f64 {
        self.world.values.batch_window.as_secs_f64()
    }
}

#[test]
fn the_window_goes_to_where_an_item_is_cheapest_and_stays() {
    let mut tools = Tools::new(0.2, 0.01);
    for _ in 0..12 {
        tools.calls(1, 10.0);
        tools.world.settle();
    }
    // sqrt(2 * 10 * 0.06 / (0.02 * 1.2)) = 7.1 items, which come in 0.71 s.
    let learned = tools.window();
    assert!((0.55..0.9).contains(&learned), "{learned}");
    for _ in 0..50 {
        tools.calls(1, 10.0);
        assert_eq!(tools.world.update(), [], "at {}", tools.window());
    }
}

#[test]
fn where_hardly_any_call_comes_nothing_is_waited_for_and_where_more_come_again_it_is() {
    let mut tools = Tools::new(0.2, 0.01);
    tools.calls(6, 10.0);
    tools.world.settle();
    assert!(tools.window() > 0.3);
    for _ in 0..200 {
        tools.calls(1, 0.02);
        tools.world.update();
    }
    assert_eq!(tools.window(), 0.0);
    for _ in 0..24 {
        tools.calls(1, 10.0);
        tools.world.update();
    }
    assert!(tools.window() > 0.3, "{}", tools.window());
}

#[test]
fn the_most_items_follow_a_bulk_tool_whose_items_become_slow() {
    let mut tools = Tools::new(0.2, 0.001);
    for n in 0..8 {
        tools.hour(2.0, Some(5.0 + f64::from(n)));
    }
    tools.world.settle();
    assert!(tools.world.values.batch_max_size > 20, "{}", tools.world.values.batch_max_size);
    tools.each = 0.12;
    for n in 0..16 {
        tools.hour(2.0, Some(5.0 + f64::from(n % 8)));
        tools.world.update();
    }
    // sqrt(0.06 / (0.02 * 0.12)) = 5.
    assert!((4..=8).contains(&tools.world.values.batch_max_size), "{}", tools.world.values.batch_max_size);
}

#[test]
fn a_bulk_tool_that_is_slow_to_begin_with_is_worth_it_only_for_more_items() {
    let threshold = |base| {
        let mut tools = Tools::new(base, 0.01);
        for n in 0..8 {
            tools.hour(2.0, Some(4.0 + f64::from(n)));
        }
        tools.world.settle();
        tools.world.values.batch_threshold
    };
    assert_eq!(threshold(0.2), 2);
    assert!(threshold(2.6) > 3, "{}", threshold(2.6));
}

#[test]
fn calls_that_come_all_at_once_keep_their_window() {
    let mut tools = Tools::new(0.2, 0.001);
    for n in 0..20 {
        tools.hour(0.1, Some(30.0 + f64::from(n % 5)));
    }
    let moves = tools.world.settle();
    assert!(moves.iter().all(|change| change.new.key.name != BATCH_WINDOW.name), "{moves:?}");
    assert!(tools.world.values.batch_max_size >= 34, "{}", tools.world.values.batch_max_size);
}

#[test]
fn work_that_nobody_waits_for_is_gathered_longer() {
    let window = |queued: bool| {
        let mut tools = Tools::new(0.2, 0.01);
        for _ in 0..12 {
            if queued {
                tools.world.history.add(tools.world.hour, Key::Call(Ending::Queued), 3_600);
            }
            tools.calls(1, 1.0);
            tools.world.settle();
        }
        tools.window()
    };
    let (waited_for, queued) = (window(false), window(true));
    assert!(queued > 2.0 * waited_for, "{waited_for} {queued}");
    assert!(waited_for <= 7.5, "a quarter of the deadline: {waited_for}");
    assert!(queued <= BATCH_WINDOW.max, "{queued}");
}

#[test]
fn batches_that_failed_or_were_tried_again_and_calls_that_were_none_move_nothing() {
    let mut tools = Tools::new(0.2, 0.01);
    for _ in 0..12 {
        tools.calls(1, 10.0);
        tools.world.settle();
    }
    let before = tools.world.values.clone();
    tools.base = 30.0;
    for _ in 0..500 {
        tools.batch(40, Ending::Failed, 1);
        tools.batch(40, Ending::Cancelled, 1);
        tools.batch(40, Ending::Done, 3);
    }
    for ending in [Ending::Cached, Ending::CircuitOpen, Ending::Denied, Ending::Coalesced, Ending::Cancelled] {
        tools.world.history.add(tools.world.hour - 1, Key::Call(ending), 1_000_000);
    }
    assert_eq!(tools.world.settle(), []);
    assert_eq!(tools.world.values, before);
}

#[test]
fn nothing_is_said_before_a_batch_was_made_or_the_rate_is_known() {
    let mut tools = Tools::new(0.2, 0.01);
    tools.world.history.add(tools.world.hour, Key::Call(Ending::Done), 100_000);
    tools.world.history.add(tools.world.hour + 1, Key::Call(Ending::Done), 100_000);
    tools.world.hour += 2;
    assert_eq!(tools.world.learn(), [], "no batch");
    let mut tools = Tools::new(0.2, 0.01);
    tools.calls(1, 10.0);
    assert_eq!(tools.world.learn(), [], "only the hour of the first call");
    tools.calls(1, 10.0);
    assert_ne!(tools.world.learn(), []);
}

#[test]
fn a_move_says_what_it_rests_on() {
    let mut tools = Tools::new(0.2, 0.01);
    tools.calls(6, 10.0);
    let moves = tools.world.learn();
    let row = &moves.iter().find(|change| change.new.key.name == BATCH_WINDOW.name).unwrap().new;
    assert!(row.reason.starts_with("10.00 calls come in a second and a batch takes "), "{}", row.reason);
    assert!(row.reason.ends_with("waiting 100 ms for others is cheapest"), "{}", row.reason);
    let evidence: serde_json::Value = serde_json::from_str(&row.evidence).unwrap();
    assert!((evidence["single_seconds"].as_f64().unwrap() / 0.3 - 1.0).abs() < 0.06, "{evidence}");
}
