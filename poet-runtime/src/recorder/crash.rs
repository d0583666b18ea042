//! The drill: a process that records as it goes is killed at any moment, again and again, on one database.
//!
//! It says on its standard output what it recorded and which moves were acknowledged; afterwards the database must
//! be sound, hold every acknowledged move and every promised entry of the audit, and lack only what was recorded in the
//! last moments.

use super::tests::call;
use super::*;
use crate::audit::AuditFilter;
use crate::evidence::Key;
use crate::outcome::Ending;
use crate::store::SqliteStore;
use crate::store::conformance::{change, entry, target};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const PLACE: &str = "POET_TEST_CRASH_PATH";
const ROUNDS: u64 = 20;
const PER_TICK: u64 = 20;

/// Every so many ticks an entry of the audit is promised; in each, one is written that nobody waits for.
const PROMISED: u64 = 16;

/// What a killed process may lose (law 10).
const LOSS: i64 = 250;

struct Loud;

impl Directory for Loud {
    fn target(&self, _: TargetId) -> Option<TargetKey> {
        Some(target("crm"))
    }

    fn domain(&self, _: &TargetKey) -> &'static str {
        "web"
    }

    fn learn(&self, id: TargetId, seen: &Seen<'_>, _: Wall) -> Lesson {
        let attempts = (seen.histories)(id).map_or(0, History::attempts);
        let moves = vec![change("crm", "timeout.attempt", None, attempts as f64)];
        Lesson { moves, ..Lesson::default() }
    }

    fn utility(&self, _: TargetId) -> Option<Utility> {
        None
    }

    fn tell(&self, _: TargetId, _: Vitals) {}

    fn apply(&self, row: &ParameterRow) {
        println!("\nmoved {} {}", row.revision, row.value);
    }
}

fn wall() -> i64 {
    Clock::system().anchor().wall.millis()
}

/// Not a test of its own: what the process started by the drill does.
#[test]
fn a_process_to_be_killed() {
    let Ok(path) = std::env::var(PLACE) else { return };
    let store = Box::new(SqliteStore::open(path).unwrap());
    let recorder = Recorder::start(store, Clock::system(), RecorderSettings::default(), Arc::new(Loud));
    println!("\nrun {}", recorder.run());
    for tick in 0.. {
        let at = wall();
        (0..PER_TICK).for_each(|n| recorder.record(call(tick * PER_TICK + n, Instant::now())));
        recorder.write_down(entry(&format!("{}-{tick}", recorder.run()), at));
        println!("\nrecorded {tick} {at}");
        if tick % PROMISED == 0 {
            let promised = format!("{}-p{tick}", recorder.run());
            block_on::block_on(recorder.promise(entry(&promised, at))).unwrap();
            println!("\npromised {promised}");
        }
        // A pace the writer keeps up with even unoptimised, so that nothing is folded.
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// What a process said before it died.
#[derive(Default)]
struct Said {
    run: String,
    /// When the executions of each tick were recorded.
    ticks: Vec<i64>,
    /// Entries of the audit that were on disk.
    promised: Vec<String>,
    /// The last acknowledged move.
    moved: Option<(u64, f64)>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["run", run] => self.run = run.to_owned(),
            ["recorded", _, at] => self.ticks.push(at.parse().unwrap()),
            ["promised", execution] => self.promised.push(execution.to_owned()),
            ["moved", revision, value] => self.moved = Some((revision.parse().unwrap(), value.parse().unwrap())),
            _ => {}
        }
    }
}

/// Runs the process until it said so many lines, kills it, and returns what it said.
fn run_and_kill(path: &Path, lines: u64) -> Said {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "recorder::crash::a_process_to_be_killed"]);
    let mut child = command.env(PLACE, path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut line, mut heard) = (Said::default(), String::new(), 0);
    loop {
        line.clear();
        let read = output.read_line(&mut line).unwrap();
        // The last line may have been cut by the kill.
        if read == 0 || !line.ends_with('\n') {
            break;
        }
        said.hear(line.trim_end());
        heard += 1;
        if heard == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(heard >= lines, "the process ended by itself after {heard} lines");
    said
}

#[tokio::test]
async fn killed_at_any_moment_it_loses_no_more_than_the_last_interval_and_no_move() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.db");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut longest, mut lost, mut recorded) = (0, 0, 0);
    for round in 0..ROUNDS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let said = run_and_kill(&path, 20 + (state >> 33) % 600);

        let connection = rusqlite::Connection::open(&path).unwrap();
        let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok", "round {round}");
        drop(connection);

        let mut store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.set_aside(), None, "round {round}");
        let rows = store.outcomes(None, usize::MAX).await.unwrap();
        let counted = store.evidence(&target("crm"), 0).await.unwrap().total(Key::Call(Ending::Done));
        assert_eq!(counted, rows.len() as u64, "round {round}: counts and rows are stored together");

        let mut stored: Vec<_> = rows.iter().filter(|row| row.run == said.run).map(|row| row.execution).collect();
        stored.sort_unstable();
        assert!(stored.iter().copied().eq(0..stored.len() as u64), "round {round}: a row is missing in the middle");
        let first_lost = stored.len() as u64 / PER_TICK;
        if let (Some(at), Some(last)) = (said.ticks.get(first_lost as usize), said.ticks.last()) {
            // To its last word, not to the kill: on a busy machine it may not have run at all in between.
            let age = last - at;
            assert!(age < LOSS, "round {round}: an outcome {age} ms old was lost");
            longest = longest.max(age);
            lost += said.ticks.len() as u64 * PER_TICK - stored.len() as u64;
        }
        recorded += said.ticks.len() as u64 * PER_TICK;

        let of_run = AuditFilter { prefix: Some(format!("{}-", said.run)), ..AuditFilter::default() };
        let written: BTreeSet<_> =
            store.audit(&of_run, usize::MAX).await.unwrap().into_iter().map(|entry| entry.execution).collect();
        for promised in &said.promised {
            assert!(written.contains(promised), "round {round}: {promised} was promised");
        }
        let missing = (0..said.ticks.len()).find(|tick| !written.contains(&format!("{}-{tick}", said.run)));
        if let (Some(missing), Some(last)) = (missing, said.ticks.last()) {
            let age = last - said.ticks[missing];
            assert!(age < LOSS, "round {round}: an entry {age} ms old was lost");
        }

        let in_force = store.parameters().await.unwrap();
        if let Some((revision, value)) = said.moved {
            let changes = store.changes(None).await.unwrap();
            let acknowledged = changes.iter().find(|change| change.new.revision == revision);
            assert_eq!(acknowledged.map(|change| change.new.value), Some(value), "round {round}");
            // One more may have been stored and not yet said.
            assert!(in_force[0].revision - revision <= 1, "round {round}: {} after {revision}", in_force[0].revision);
            assert_eq!(Some(&in_force[0]), changes.last().map(|change| &change.new), "round {round}");
        }
    }
    println!("{ROUNDS} kills, {recorded} recorded, {lost} lost, the oldest of them {longest} ms old");
}
