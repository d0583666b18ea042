//! The service: executes what it is asked, and counts it.
//!
//! One line in, a job's key; one line out, what came of it. An execution is written to the ledger before it is
//! answered, as `began` and `ended`, so that two at once of one job are seen. Some jobs it refuses for good, some calls
//! it is too busy for, and now and then it is closed to everybody for a moment, long enough to open the circuits of
//! those who call; what it does not take it does not execute.

use anyhow::Context;
use poet_simulator::SplitMix64;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The call at which it closes first, how many calls later it does so again, and for how long.
const CLOSES_AT: u64 = 300;
const CLOSES_EVERY: u64 = 20_000;
const CLOSED_FOR: Duration = Duration::from_millis(300);

#[derive(Debug)]
struct Ledger {
    file: Mutex<File>,
    calls: AtomicU64,
    closed_until: Mutex<Option<Instant>>,
}

impl Ledger {
    /// A call has come; whether the server is closed.
    fn is_closed(&self) -> bool {
        let (call, now) = (self.calls.fetch_add(1, Ordering::Relaxed), Instant::now());
        let mut until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        if call % CLOSES_EVERY == CLOSES_AT {
            *until = Some(now + CLOSED_FOR);
        }
        until.is_some_and(|until| now < until)
    }

    fn note(&self, what: &str, key: &str) -> anyhow::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{what} {key}\n").as_bytes()).context("writing the ledger")
    }
}

pub(crate) async fn serve(ledger: &Path) -> anyhow::Result<()> {
    let file = File::options().create(true).append(true).open(ledger).context("opening the ledger")?;
    let ledger = Arc::new(Ledger { file: Mutex::new(file), calls: AtomicU64::new(0), closed_until: Mutex::default() });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listening")?;
    println!("listening {}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await.context("accepting")?;
        // A worker that is killed ends its connection, not what it asked for.
        tokio::spawn(answer(stream, Arc::clone(&ledger)));
    }
}

async fn answer(stream: TcpStream, ledger: Arc<Ledger>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (asked, mut answer) = stream.into_split();
    let mut lines = BufReader::new(asked).lines();
    for n in 0_u64.. {
        let Some(key) = lines.next_line().await? else { break };
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let mut of_job = SplitMix64::new(hasher.finish());
        let mut of_call = SplitMix64::new(hasher.finish() ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let said = if ledger.is_closed() {
            ledger.note("closed", &key)?;
            "closed\n"
        } else if of_job.unit() < 0.01 {
            "refused\n"
        } else if of_call.unit() < 0.01 {
            ledger.note("busy", &key)?;
            "busy\n"
        } else {
            ledger.note("began", &key)?;
            tokio::time::sleep(Duration::from_millis(1).mul_f64(4.0 * of_call.unit())).await;
            ledger.note("ended", &key)?;
            "done\n"
        };
        answer.write_all(said.as_bytes()).await?;
    }
    Ok(())
}
