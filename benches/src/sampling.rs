//! Takes samples: short, flat, and of each case in turn.
//!
//! A sample is as many calls as last about 0.7 ms, so that most samples of a busy machine are not preempted and the
//! median is theirs. Cases take turns sample by sample, so that whatever slows the machine down for a second slows all
//! of them, and their ratios stand. Criterion measures one case after another and keeps its samples to itself, which
//! is why it is not used here.

use crate::heap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// How long a sample should last.
const SAMPLE: Duration = Duration::from_micros(700);
/// How long a case runs before its first sample.
const WARM_UP: Duration = Duration::from_millis(30);
/// Calls whose heap blocks are counted.
const COUNTED: u64 = 20_000;

/// What a case belongs to; a ratio is taken within a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// A future that is ready at once.
    Ready,
    /// A future that is pending once.
    Pending,
    /// One operation of which calls are made.
    Primitive,
}

impl Group {
    /// The heading in the table.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ready => "a call of a ready future",
            Self::Pending => "a call of a future that is pending once",
            Self::Primitive => "one operation",
        }
    }
}

/// Something to be measured.
pub struct Case {
    name: &'static str,
    group: Group,
    future: Option<usize>,
    run: Box<dyn FnMut(u64)>,
    /// What is done after each sample, outside the time taken.
    between: Option<Box<dyn FnMut()>>,
}

impl Case {
    /// A case that awaits `call` again and again inside one `block_on`. `future` is the size of the future of a call.
    pub fn new<T>(
        bench: &Bench,
        group: Group,
        name: &'static str,
        future: usize,
        mut call: impl AsyncFnMut(u64) -> T + 'static,
    ) -> Self {
        let runtime = Rc::clone(&bench.runtime);
        let run = move |calls| {
            runtime.block_on(async {
                for n in 0..calls {
                    black_box(call(black_box(n)).await);
                }
            });
        };
        Self { name, group, future: Some(future), run: Box::new(run), between: None }
    }

    /// A case that is no call.
    pub fn primitive<T>(name: &'static str, mut operation: impl FnMut() -> T + 'static) -> Self {
        let run = move |times| {
            for _ in 0..times {
                black_box(operation());
            }
        };
        Self { name, group: Group::Primitive, future: None, run: Box::new(run), between: None }
    }

    /// Whether its name, or the group it belongs to, has this in it.
    #[must_use]
    pub fn is_about(&self, words: &str) -> bool {
        format!("{}: {}", self.group.title(), self.name).contains(words)
    }

    /// Does something after each sample, outside the time taken.
    #[must_use]
    pub fn between(mut self, f: impl FnMut() + 'static) -> Self {
        self.between = Some(Box::new(f));
        self
    }

    fn time(&mut self, calls: u64) -> Duration {
        // The case before has cooled the caches down, and the recorder may have to be woken.
        (self.run)(calls / 16 + 1);
        let began = Instant::now();
        (self.run)(calls);
        let took = began.elapsed();
        if let Some(between) = &mut self.between {
            between();
        }
        took
    }
}

/// What was measured of a case.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The case.
    pub name: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// Nanoseconds per call: the quartiles of all samples.
    pub quartiles: [f64; 3],
    /// Heap blocks per call.
    pub blocks: f64,
    /// Heap bytes per call.
    pub bytes: f64,
    /// The size of the future of a call.
    pub future: Option<usize>,
}

impl Measured {
    /// The median, in nanoseconds per call.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quartiles[1]
    }
}

/// The single thread that everything is measured on.
pub struct Bench {
    /// Under every case.
    pub runtime: Rc<Runtime>,
}

impl Bench {
    /// A current-thread runtime with timers.
    ///
    /// # Errors
    ///
    /// The operating system's, if it has no resources for one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { runtime: Rc::new(Builder::new_current_thread().enable_time().build()?) })
    }

    /// Takes `samples` of each case, in turn.
    #[must_use]
    pub fn measure(&self, mut cases: Vec<Case>, samples: usize) -> Vec<Measured> {
        let calls: Vec<u64> = cases.iter_mut().map(calibrate).collect();
        let mut taken = vec![Vec::with_capacity(samples); cases.len()];
        for _ in 0..samples {
            for ((case, calls), taken) in cases.iter_mut().zip(&calls).zip(&mut taken) {
                taken.push(case.time(*calls).as_nanos() as f64 / *calls as f64);
            }
        }
        cases.iter_mut().zip(taken).map(|(case, taken)| settle(case, taken)).collect()
    }
}

/// Warms a case up and finds how many calls make a sample.
fn calibrate(case: &mut Case) -> u64 {
    let began = Instant::now();
    let mut calls = 64;
    let mut fastest = f64::INFINITY;
    while began.elapsed() < WARM_UP {
        let took = case.time(calls);
        fastest = fastest.min(took.as_secs_f64() / calls as f64);
        if took < SAMPLE / 2 {
            calls *= 2;
        }
    }
    (SAMPLE.as_secs_f64() / fastest).ceil() as u64
}

fn settle(case: &mut Case, mut samples: Vec<f64>) -> Measured {
    let (blocks, bytes) = heap::counted(|| (case.run)(COUNTED));
    samples.sort_by(f64::total_cmp);
    let at = |quarter: usize| samples.get(samples.len() * quarter / 4).copied().unwrap_or(f64::NAN);
    Measured {
        name: case.name,
        group: case.group,
        quartiles: [at(1), at(2), at(3)],
        blocks: blocks as f64 / COUNTED as f64,
        bytes: bytes as f64 / COUNTED as f64,
        future: case.future,
    }
}
