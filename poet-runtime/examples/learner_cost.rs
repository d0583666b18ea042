//! What learning costs: an observation, a decision, a pass over the evidence, and the memory that the evidence takes.
//!
//! ```text
//! cargo run --release -p poet-runtime --example learner_cost
//! ```
//!
//! Times are medians of short samples, most of which are not preempted on a busy machine.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

use poet_runtime::evidence::{History, Lately, age_bin};
use poet_runtime::service::{Failure, ServiceCall};
use poet_runtime::store::{Batch, MemoryStore, Store, TargetKey};
use poet_runtime::{
    Attempt, Class, Clock, Ending, FailureKind, Finished, Learning, Profile, Record, Runtime, Shown, TargetId, Wall,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Midnight of a Monday, and the hours after it that the evidence is of.
const MONDAY: i64 = 472_176;
const WEEK: i64 = 7 * 24;
const YEAR: i64 = 365 * 24;
/// How long the running process keeps evidence.
const KEPT: i64 = 90 * 24;
/// Calls of an hour, one every two seconds.
const AN_HOUR: u64 = 1_800;
const SAMPLES: usize = 200;
const PER_SAMPLE: u64 = 256;

/// Numbers that look random and are the same every time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// A call of one attempt: lognormal around 0.35 s, three in a hundred fail, and half as many are retries.
    fn record(&mut self, ended: Instant) -> Record {
        let elapsed = Duration::from_secs_f64(0.35 * (0.5 * self.normal()).exp());
        let again = self.unit() < 0.015;
        let class = if self.unit() < 0.03 { Class::Transient } else { Class::Success };
        let attempt = Attempt {
            ordinal: if again { 2 } else { 1 },
            after: again.then_some(FailureKind::Transient),
            waited: again.then_some((self.unit() * 6.0) as u8),
            load: (self.unit() * 4.0) as u8,
            ..Attempt::first(class, elapsed)
        };
        let ending = if class == Class::Success { Ending::Done } else { Ending::Failed };
        let timeout = Duration::from_secs(10);
        let call = Finished { attempts: attempt.ordinal, elapsed, timeout, retries: 2, ..Finished::of(ending) };
        Record { attempt: Some(attempt), call: Some(call), ..Record::new(TargetId(0), 2, ended) }
    }

    /// A call of a tool whose answers are fresh for five minutes and change once an hour: four of five are answered from
    /// memory, of which one in fifty is looked at again.
    fn read(&mut self, ended: Instant) -> Record {
        const FRESH: f64 = 300.0;
        let kept = self.unit() < 0.8;
        if kept && self.unit() > 0.02 {
            return Record { call: Some(Finished::of(Ending::Cached)), ..Record::new(TargetId(0), 2, ended) };
        }
        let age = if kept { FRESH * self.unit() } else { FRESH - 60.0 * (1.0 - self.unit()).ln() };
        let changed = self.unit() > (-age / 3_600.0).exp();
        let mut record = self.record(ended);
        if let Some(call) = &mut record.call {
            call.shown = Some(Shown::Refetched { age: age_bin(Duration::from_secs_f64(age)), changed });
        }
        record
    }
}

/// The evidence of so many hours before one: as the store has it, and as the running process keeps it.
fn evidence(hours: i64, until: i64, made: fn(&mut Chance, Instant) -> Record) -> (History, History) {
    let (mut exact, mut kept, mut chance, now) = (History::default(), History::default(), Chance(7), Instant::now());
    for hour in until - hours..until {
        let mut news = History::default();
        for _ in 0..AN_HOUR {
            news.observe(hour, &made(&mut chance, now));
        }
        exact.merge(&news);
        kept.merge(&news);
        kept.coarsen(hour);
        if hour % 24 == 0 {
            let (first, _) = poet_runtime::evidence::block_of(hour - KEPT, hour);
            kept.forget_before(first);
        }
    }
    (exact, kept)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds of one turn.
fn each(mut turn: impl FnMut()) -> f64 {
    let sample = |_| {
        let began = Instant::now();
        for _ in 0..PER_SAMPLE {
            turn();
        }
        began.elapsed().as_nanos() as f64 / PER_SAMPLE as f64
    };
    median((0..SAMPLES).map(sample).collect())
}

/// What the writer does with a record: its counts, added to all that is known and to what the store has not taken.
fn observation() -> f64 {
    let (_, mut known) = evidence(WEEK, MONDAY, Chance::record);
    let (mut unsent, mut chance, now) = (History::default(), Chance(9), Instant::now());
    let records: Vec<_> = (0..4_096).map(|_| chance.record(now)).collect();
    let (mut counts, mut at) = (History::default(), 0);
    each(|| {
        counts.clear();
        counts.observe(MONDAY, black_box(&records[at % records.len()]));
        known.merge(&counts);
        unsent.merge(&counts);
        at += 1;
    })
}

/// A call that is answered at once: every decision that it meets, and the record it leaves.
async fn call(learning: Learning) -> Result<f64, Box<dyn std::error::Error>> {
    let runtime = Runtime::builder().in_memory().learning(learning).build()?;
    let call = ServiceCall { repeatable: true, ..ServiceCall::new("crm", "get", Profile::GENERAL) };
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let began = Instant::now();
        for n in 0..PER_SAMPLE {
            black_box(runtime.call(&call, |_| async move { Ok::<_, Failure>(black_box(n)) }).await?);
        }
        times.push(began.elapsed().as_nanos() as f64 / PER_SAMPLE as f64);
        runtime.flush().await?;
    }
    Ok(median(times))
}

/// Nanoseconds of a call that comes a minute after the one before, when it is learned from again.
async fn minute(exact: &History, learning: Learning) -> Result<f64, Box<dyn std::error::Error>> {
    let mut store = MemoryStore::new();
    let target = TargetKey { service: "crm".into(), operation: "get".into() };
    store.append(&Batch { evidence: vec![(target, exact.clone())], ..Batch::default() }).await?;
    let clock = Clock::virtual_from(Wall::from_millis(MONDAY * 3_600_000));
    let runtime = Runtime::builder().store(store).clock(clock).seed(1).learning(learning).build()?;
    let call = ServiceCall { repeatable: true, ..ServiceCall::new("crm", "get", Profile::GENERAL) };
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        tokio::time::advance(Duration::from_secs(61)).await;
        let began = Instant::now();
        black_box(runtime.call(&call, |_| async { Ok::<_, Failure>(()) }).await?);
        times.push(began.elapsed().as_nanos() as f64);
    }
    Ok(median(times))
}

/// Nanoseconds of one pass of all estimators: what a call takes longer where it is learned from.
fn pass(exact: &History) -> Result<f64, Box<dyn std::error::Error>> {
    let time = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let with = time()?.block_on(minute(exact, Learning::On))?;
    Ok(with - time()?.block_on(minute(exact, Learning::Off))?)
}

fn print(what: &str, value: f64, unit: &str, goal: &str) {
    println!("{what:<64} {value:>9.0} {unit:<5} {goal}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print("one observation, added to all that is known", observation(), "ns", "goal 1000");
    let time = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let whole = time.block_on(call(Learning::On))?;
    print("a whole call: all decisions, the attempt, the record", whole, "ns", "goal of the decisions 300");
    for (span, hours) in [("7 days", WEEK), ("a year", YEAR)] {
        let (exact, kept) = evidence(hours, MONDAY, Chance::record);
        print(&format!("one pass of all estimators after {span}"), pass(&exact)?, "ns", "");
        let now = Wall::from_millis(MONDAY * 3_600_000 - 1);
        let lately = Lately::of(&kept, now);
        let told = each(|| _ = black_box(lately.vitals(&kept, now)));
        print(&format!("how it does just now, after {span}"), told, "ns", "");
        let bytes = |kept: &History| {
            (size_of::<History>() + kept.heap_bytes() + size_of::<Lately>() + lately.heap_bytes()) as f64
        };
        print(&format!("evidence of one operation in the process, after {span}"), bytes(&kept), "bytes", "goal 8192");
        let (_, read) = evidence(hours, MONDAY, Chance::read);
        print(&format!("of one whose answers are kept, after {span}"), bytes(&read), "bytes", "goal 8192");
        let exact = exact.heap_bytes() as f64;
        print(&format!("the same by the hour, as the store in memory has it, {span}"), exact, "bytes", "");
    }
    Ok(())
}
