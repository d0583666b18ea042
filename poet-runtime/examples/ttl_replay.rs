//! Judges the learned freshness on real change times: how much is out of date, and how much of the hit rate of the best
//! constant freshness in hindsight is kept.
//!
//! `cargo run --example ttl_replay -- --data DIR` reads every `*.csv` of a directory, one column `minute` of the times
//! at which a resource was seen to have changed. Requests come at random, once in a mean interval; what is learned is
//! learned by the runtime itself, in virtual time. The second half of each trace is measured.

#![expect(clippy::print_stdout, reason = "a program for people")]

use poet_runtime::service::ServiceCall;
use poet_runtime::store::{MemoryStore, Store};
use poet_runtime::{Anchor, Clock, Profile, Runtime, Shown, Wall, evidence};
use std::time::Duration;

const ALLOWED: f64 = 0.05;
/// Of the hits this share is asked for again, so that young answers are seen as well.
const REVALIDATED: f64 = 0.02;
/// Minutes between requests, in the mean.
const INTERVALS: [f64; 2] = [2.0, 10.0];
/// The longest stretch of a trace that is replayed, in minutes.
const LONGEST: f64 = 20.0 * 1_440.0;

static PROFILE: Profile = Profile { staleness: ALLOWED, ..Profile::named("replay") };

/// When a resource changed, in minutes after the first change.
struct Trace(Vec<f64>);

/// How a share of requests was answered.
#[derive(Default)]
struct Tally {
    requests: f64,
    hits: f64,
    stale: f64,
}

impl Tally {
    fn hit_rate(&self) -> f64 {
        self.hits / self.requests.max(1.0)
    }

    fn stale_share(&self) -> f64 {
        self.stale / self.hits.max(1.0)
    }
}

impl Trace {
    fn read(path: &std::path::Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let minutes: Vec<f64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        let first = minutes.first().copied().unwrap_or(0.0);
        Ok(Self(minutes.iter().map(|minute| minute - first).take_while(|minute| *minute <= LONGEST).collect()))
    }

    fn end(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    fn changed(&self, fetched: f64, now: f64) -> bool {
        self.0.partition_point(|change| *change <= fetched) != self.0.partition_point(|change| *change <= now)
    }

    fn requests(&self, interval: f64) -> Vec<f64> {
        let mut random = Random(7);
        let mut at = 0.0;
        std::iter::from_fn(|| {
            at -= interval * random.next().ln();
            (at < self.end()).then_some(at)
        })
        .collect()
    }

    /// The second half under a constant freshness.
    fn constant(&self, requests: &[f64], ttl: f64) -> Tally {
        let mut tally = Tally::default();
        let mut fetched = f64::NEG_INFINITY;
        for &now in requests.iter().filter(|at| **at >= self.end() / 2.0) {
            tally.requests += 1.0;
            if now - fetched < ttl {
                tally.hits += 1.0;
                tally.stale += f64::from(u8::from(self.changed(fetched, now)));
            } else {
                fetched = now;
            }
        }
        tally
    }

    /// The best constant freshness in hindsight.
    fn oracle(&self, requests: &[f64]) -> (f64, Tally) {
        (0..160)
            .map(|n| 0.05 * 1.1_f64.powi(n))
            .map(|ttl| (ttl, self.constant(requests, ttl)))
            .filter(|(_, tally)| tally.stale_share() <= ALLOWED)
            .max_by(|a, b| a.1.hit_rate().total_cmp(&b.1.hit_rate()))
            .unwrap_or_default()
    }

    /// The second half under what the runtime learns.
    async fn learned(&self, requests: &[f64]) -> Result<(f64, Tally), Box<dyn std::error::Error>> {
        let mut store = MemoryStore::new();
        let runtime = Runtime::builder()
            .store(store.clone())
            .clock(Clock::virtual_from(Wall::from_millis(1_700_000_000_000)))
            .build()?;
        let Anchor { instant: began, .. } = runtime.clock().anchor();
        let mut random = Random(11);
        let mut tally = Tally::default();
        let mut fetched: Option<f64> = None;
        let mut ttl = PROFILE.cache_ttl.as_secs_f64() / 60.0;
        for &now in requests {
            let measured = now >= self.end() / 2.0;
            tally.requests += f64::from(u8::from(measured));
            if let Some(fetched) = fetched.filter(|fetched| now - fetched < ttl) {
                tally.hits += f64::from(u8::from(measured));
                tally.stale += f64::from(u8::from(measured && self.changed(fetched, now)));
                if random.next() > REVALIDATED {
                    continue;
                }
            }
            let until = Duration::from_secs_f64(now * 60.0);
            tokio::time::advance(until.saturating_sub(runtime.clock().now().duration_since(began))).await;
            let call = ServiceCall {
                repeatable: true,
                shown: fetched.map(|fetched| Shown::Refetched {
                    age: evidence::age_bin(Duration::from_secs_f64((now - fetched) * 60.0)),
                    changed: self.changed(fetched, now),
                }),
                ..ServiceCall::new("web", "page", &PROFILE)
            };
            runtime.call(&call, |_| async { Ok(()) }).await?;
            fetched = Some(now);
            let learned = store.parameters().await?;
            if let Some(row) = learned.iter().find(|row| row.key.name == "cache.ttl") {
                ttl = row.value / 60.0;
            }
        }
        Ok((ttl, tally))
    }
}

/// SplitMix64, so that every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--data").skip(1);
    let data = arguments.next().ok_or("--data DIR is missing")?;
    let mut paths: Vec<_> = std::fs::read_dir(data)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>7} {:>7} {:>6}",
        "resource", "every", "oracle", "learned", "stale", "hits", "of it"
    );
    let (mut runs, mut within, mut kept) = (0.0, 0.0, 0.0);
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "csv")) {
        let trace = Trace::read(path)?;
        for interval in INTERVALS {
            let requests = trace.requests(interval);
            let (best, oracle) = trace.oracle(&requests);
            let (ttl, learned) = trace.learned(&requests).await?;
            let of_oracle = learned.hit_rate() / oracle.hit_rate().max(1e-9);
            runs += 1.0;
            within += f64::from(u8::from(learned.stale_share() <= 1.2 * ALLOWED));
            kept += of_oracle;
            let name: String = path.file_stem().unwrap_or_default().to_string_lossy().chars().take(44).collect();
            println!(
                "{name:<44} {interval:>4} min {best:>4.1} min {ttl:>4.1} min {:>5.1} % {:>5.1} % {of_oracle:>6.2}",
                100.0 * learned.stale_share(),
                100.0 * learned.hit_rate(),
            );
        }
    }
    println!(
        "within 1.2 x {ALLOWED}: {:.0} % of {runs} runs; {:.0} % of the oracle's hit rate",
        100.0 * within / runs,
        100.0 * kept / runs,
    );
    Ok(())
}
