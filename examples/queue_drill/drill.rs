//! Directs the drill: starts the parts, kills them at random points, starts them again, and counts at the end.
//!
//! What was in flight when a worker was killed is what was leased to that very process: each has a name of its own.

use crate::domain::World;
use crate::options::Options;
use crate::part::Part;
use crate::producer::{self, Said};
use crate::tally::{Acknowledged, Tally};
use crate::worker;
use anyhow::{Context, bail, ensure};
use poet::Clock;
use poet::defer::{Filter, Keeper, SqliteQueue, State};
use poet_simulator::SplitMix64;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often is looked how far it has come.
const LOOK: Duration = Duration::from_millis(2);

/// The longest a drill may take, and what each of its jobs adds to that.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_millis(20));

/// Everything goes on in a folder that is deleted at the end.
pub(crate) async fn run(options: &Options, mut show: impl FnMut(&str)) -> anyhow::Result<Tally> {
    let folder = tempfile::tempdir().context("making a folder")?;
    let mut stage = Stage::set(options, folder.path().join("poet.db"), folder.path().join("ledger")).await?;
    let mut random = SplitMix64::of(options.seed, 1, 0);
    let mut points: Vec<f64> = (0..options.kills).map(|_| 0.02 + 0.9 * random.unit()).collect();
    points.sort_by(f64::total_cmp);
    let mut shown = Instant::now();
    loop {
        let counts = stage.keeper.counts().await?;
        let settled: u64 = State::ALL.into_iter().map(|state| counts.of(state)).sum::<u64>()
            - counts.of(State::Pending)
            - counts.of(State::Leased);
        let acknowledged = stage.acknowledged();
        let progress = (acknowledged as f64 + settled as f64) / (2 * options.jobs).max(1) as f64;
        if shown.elapsed() > Duration::from_millis(200) {
            let kills = stage.tally.kills;
            show(&format!("{acknowledged:>7} acknowledged  {settled:>7} settled  {kills:>3} kills "));
            shown = Instant::now();
        }
        stage.check_on_everybody()?;
        if points.first().is_some_and(|point| progress >= *point) {
            points.remove(0);
            sleep(Duration::from_millis(20).mul_f64(random.unit())).await;
            stage.kill_somebody(&mut random).await?;
        } else if stage.producer.is_none() && counts.of(State::Pending) + counts.of(State::Leased) == 0 {
            break;
        }
        let patience = PATIENCE.0 + PATIENCE.1 * u32::try_from(options.jobs)?;
        ensure!(stage.began.elapsed() < patience, "it does not come to an end: {counts:?}");
        sleep(LOOK).await;
    }
    stage.count().await
}

/// The processes and what is known about them.
struct Stage {
    options: Options,
    world: World,
    ledger: PathBuf,
    keeper: Keeper,
    server: Child,
    producer: Option<Producer>,
    workers: Vec<Worker>,
    started: u64,
    acknowledged: Arc<Mutex<Acknowledged>>,
    began: Instant,
    tally: Tally,
}

struct Producer {
    child: Child,
    /// Reads to the end what it acknowledged, however it ends.
    listener: JoinHandle<()>,
}

struct Worker {
    child: Child,
    /// Reads its name; one that was killed before it said it held nothing.
    listener: JoinHandle<Option<String>>,
}

impl Stage {
    async fn set(options: &Options, database: PathBuf, ledger: PathBuf) -> anyhow::Result<Self> {
        let keeper = Keeper::new(Box::new(SqliteQueue::open(&database)?), &Clock::system());
        let mut server = Part::Server { ledger: ledger.clone() }.start()?;
        let mut lines = lines(&mut server)?;
        let port = loop {
            let line = lines.next_line().await?.context("the server ended")?;
            if let Some(port) = line.strip_prefix("listening ") {
                break port.parse()?;
            }
        };
        let mut stage = Self {
            options: options.clone(),
            world: World { database, server: port, lease: options.lease },
            ledger,
            keeper,
            server,
            producer: None,
            workers: Vec::new(),
            started: 0,
            acknowledged: Arc::default(),
            began: Instant::now(),
            tally: Tally::default(),
        };
        stage.start_producer()?;
        for _ in 0..options.workers {
            stage.start_worker()?;
        }
        Ok(stage)
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).jobs.len()
    }

    fn start_producer(&mut self) -> anyhow::Result<()> {
        self.started += 1;
        let seed = SplitMix64::of(self.options.seed, 2, self.started).next_u64();
        let jobs = self.options.jobs.saturating_sub(self.acknowledged());
        let mut child = Part::Producer { world: self.world.clone(), jobs, seed }.start()?;
        let (mut lines, acknowledged) = (lines(&mut child)?, Arc::clone(&self.acknowledged));
        let listener = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                match producer::said(&line) {
                    Some(Said::Acknowledged(id)) => drop(acknowledged.jobs.insert(id)),
                    Some(Said::Made) => acknowledged.made_at_once += 1,
                    None => {}
                }
            }
        });
        self.producer = Some(Producer { child, listener });
        Ok(())
    }

    fn start_worker(&mut self) -> anyhow::Result<()> {
        let mut child = Part::Worker { world: self.world.clone() }.start()?;
        let mut lines = lines(&mut child)?;
        let listener = tokio::spawn(async move {
            let mut name = None;
            while let Ok(Some(line)) = lines.next_line().await {
                name = worker::named(&line).map(str::to_owned).or(name);
            }
            name
        });
        self.workers.push(Worker { child, listener });
        Ok(())
    }

    /// A producer may end by itself once it is done; nobody else may.
    fn check_on_everybody(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.server.try_wait()? {
            bail!("the server ended by itself: {ended}");
        }
        for worker in &mut self.workers {
            if let Some(ended) = worker.child.try_wait()? {
                bail!("a worker ended by itself: {ended}");
            }
        }
        if let Some(producer) = &mut self.producer
            && let Some(ended) = producer.child.try_wait()?
            && producer.listener.is_finished()
        {
            ensure!(ended.success(), "the producer ended by itself: {ended}");
            self.producer = None;
        }
        Ok(())
    }

    async fn kill_somebody(&mut self, random: &mut SplitMix64) -> anyhow::Result<()> {
        let everybody = self.workers.len() + usize::from(self.producer.is_some());
        let victim = (random.unit() * everybody as f64) as usize;
        self.tally.kills += 1;
        if victim < self.workers.len() {
            let mut worker = self.workers.remove(victim);
            worker.child.kill().await.context("killing a worker")?;
            let name = worker.listener.await?;
            let filter = Filter { state: Some(State::Leased), ..Filter::default() };
            for job in self.keeper.list(&filter, usize::MAX).await? {
                if job.owner.is_some() && job.owner == name {
                    self.tally.in_flight(job.id);
                }
            }
            return self.start_worker();
        }
        let mut producer = self.producer.take().context("nobody is there to be killed")?;
        producer.child.kill().await.context("killing the producer")?;
        producer.listener.await?;
        self.start_producer()
    }

    async fn count(mut self) -> anyhow::Result<Tally> {
        self.tally.took(self.began.elapsed());
        for worker in &mut self.workers {
            worker.child.kill().await?;
        }
        self.server.kill().await?;
        let ledger = fs::read_to_string(&self.ledger).context("reading the ledger")?;
        let jobs = self.keeper.list(&Filter::default(), usize::MAX).await?;
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        self.tally.count(&acknowledged, &jobs, &ledger);
        Ok(self.tally)
    }
}

fn lines(child: &mut Child) -> anyhow::Result<Lines<BufReader<ChildStdout>>> {
    Ok(BufReader::new(child.stdout.take().context("its output is read here")?).lines())
}
