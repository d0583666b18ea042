use super::*;
use crate::evidence::Key;
use crate::outcome::Ending;
use crate::store::Trouble;
use crate::store::conformance::{self, change, outcome, target};
use rusqlite::Connection;
use std::fs;
use std::future::Future;
use std::io;
use std::process::{Child, Command};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tempfile::TempDir;

/// The answer of a store that answers at once.
fn now<T>(future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("an embedded store answers at once"),
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.db");
    (folder, path)
}

fn batch(rows: usize, counts: u64) -> Batch {
    let mut history = History::default();
    history.add(480_000, Key::Call(Ending::Done), counts);
    let outcomes = (0..rows).map(|n| OutcomeRow { execution: n as u64, ..outcome("crm", 1_000) }).collect();
    Batch { outcomes, evidence: vec![(target("crm"), history)], ..Batch::default() }
}

fn counted(store: &mut SqliteStore) -> u64 {
    now(store.evidence(&target("crm"), 0)).unwrap().total(Key::Call(Ending::Done))
}

fn rows(store: &mut SqliteStore) -> usize {
    now(store.outcomes(None, usize::MAX)).unwrap().len()
}

fn text(store: &SqliteStore, pragma: &str) -> String {
    let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
    let value = store.0.connection.as_ref().unwrap().pragma_query_value(None, pragma, read).unwrap();
    match value {
        rusqlite::types::Value::Integer(n) => n.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => format!("{other:?}"),
    }
}

/// What lies in the folder under a name that begins so.
fn beside(path: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).collect();
    found.sort();
    found
}

#[tokio::test]
async fn it_passes_every_claim_of_the_conformance_suite() {
    for claim in conformance::ALL {
        let (_folder, path) = folder();
        (claim.check)(&mut SqliteStore::open(path).unwrap()).await;
    }
}

#[test]
fn what_was_stored_is_there_after_it_was_closed() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    now(store.append(&batch(3, 7))).unwrap();
    now(store.publish(&change("crm", "timeout.attempt", None, 2.0), None)).unwrap();
    drop(store);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!((rows(&mut store), counted(&mut store)), (3, 7));
    assert_eq!(now(store.parameters()).unwrap().len(), 1);
    assert_eq!(store.set_aside(), None);
}

#[test]
fn its_settings_are_those_that_were_measured() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(path).unwrap();
    let settings = ["journal_mode", "synchronous", "auto_vacuum", "foreign_keys", "journal_size_limit", "mmap_size"];
    assert_eq!(settings.map(|pragma| text(&store, pragma)), ["wal", "1", "2", "1", "67108864", "0"]);
}

#[test]
fn a_move_is_written_durably_and_outcomes_are_not_slowed_by_it() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(path).unwrap();
    let during = queries::durably(store.0.connection.as_mut().unwrap(), |connection| {
        connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))
    });
    assert_eq!(during.unwrap(), 2, "FULL");
    now(store.publish(&change("crm", "timeout.attempt", None, 2.0), None)).unwrap();
    assert_eq!(text(&store, "synchronous"), "1", "NORMAL");
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _) = folder();
    let path = folder.path().join("state/poet/poet.db");
    let mut store = SqliteStore::open(&path).unwrap();
    now(store.append(&batch(1, 1))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = beside(&path, "poet.db");
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!(files.iter().map(|path| mode(path)).collect::<Vec<_>>(), [0o600; 3]);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn a_file_with_a_bad_header_is_set_aside_whole_and_replaced() {
    let (_folder, path) = folder();
    let (damaged, log) = (b"no database ".repeat(1_000), b"its log".to_vec());
    fs::write(&path, &damaged).unwrap();
    fs::write(path.with_file_name("poet.db-wal"), &log).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    now(store.append(&batch(1, 1))).unwrap();
    assert_eq!(counted(&mut store), 1);
    let aside = store.set_aside().unwrap();
    assert!(aside.to_str().unwrap().contains("poet.db.corrupt-2"), "{}", aside.display());
    assert!(fs::read(&aside).unwrap() == damaged, "the database was changed");
    let mut name = aside.into_os_string();
    name.push("-wal");
    assert!(fs::read(name).unwrap() == log, "the log was changed");
}

#[test]
fn damage_inside_the_file_is_found_when_it_is_opened() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    now(store.append(&batch(2_000, 1))).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    assert!(fs::read(store.set_aside().unwrap()).unwrap() == bytes, "the damaged file was changed");
    assert_eq!(rows(&mut store), 0);
}

#[test]
fn a_database_of_ours_without_its_tables_is_damaged() {
    let (_folder, path) = folder();
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch("DROP TABLE counters").unwrap();
    assert!(SqliteStore::open(&path).unwrap().set_aside().is_some());
}

#[test]
fn damage_met_in_use_is_mended_and_the_work_done_in_the_new_file_by_every_connection() {
    let (_folder, path) = folder();
    let mut here = SqliteStore::open(&path).unwrap();
    let mut there = SqliteStore::open(&path).unwrap();
    now(here.append(&batch(2_000, 1))).unwrap();
    now(there.append(&batch(10, 1))).unwrap();
    let checkpoint = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let connection = here.0.connection.as_ref().unwrap();
    assert_eq!(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], checkpoint).unwrap(), 0);
    let length = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    // What a connection keeps in its cache is not damaged; the next page it has to read is.
    for store in [&here, &there] {
        store.0.connection.as_ref().unwrap().execute_batch("PRAGMA shrink_memory").unwrap();
    }
    now(here.append(&batch(1, 5))).unwrap();
    now(there.append(&batch(1, 6))).unwrap();
    assert_eq!(counted(&mut here), 11);
    let mut aside = beside(&path, "poet.db.corrupt-");
    aside.retain(|path| !path.to_str().unwrap().ends_with("-wal") && !path.to_str().unwrap().ends_with("-shm"));
    assert_eq!(aside, [here.set_aside().unwrap()], "one file, moved once");
}

#[test]
fn a_file_deleted_under_us_is_made_anew() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    now(store.append(&batch(1, 1))).unwrap();
    for file in beside(&path, "poet.db") {
        fs::remove_file(file).unwrap();
    }
    now(store.append(&batch(1, 4))).unwrap();
    assert_eq!(counted(&mut SqliteStore::open(&path).unwrap()), 4);
}

#[test]
fn another_programs_database_and_one_of_a_newer_version_are_refused_and_left_alone() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let bytes = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.trouble(), Trouble::Foreign, "{error}");
    assert!(fs::read(&path).unwrap() == bytes, "the other program's database was changed");
    assert_eq!(beside(&path, "").len(), 1);

    let (_folder, path) = folder();
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let bytes = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.trouble(), Trouble::Newer);
    assert!(error.to_string().contains("layout 99"), "{error}");
    assert_eq!(SqliteStore::open_read_only(&path).unwrap_err().trouble(), Trouble::Newer);
    assert!(fs::read(&path).unwrap() == bytes, "the newer database was changed");
}

#[test]
fn a_file_of_the_first_version_keeps_what_it_has_and_serves_everybody_who_opens_it_at_once() {
    use crate::defer::{Answer, Change, DeferralQueue, NewJob, SqliteQueue};
    use crate::plan::journal::{Journal, Opening, SqliteJournal};
    use crate::{Clock, recorder::block_on::block_on};

    let (_folder, path) = folder();
    now(SqliteStore::open(&path).unwrap().append(&batch(7, 3))).unwrap();
    let names = |connection: &Connection| -> Vec<String> {
        let sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let old = Connection::open(&path).unwrap();
    let columns = |table: &str, added: &[&str]| {
        added.iter().map(|column| format!("ALTER TABLE {table} DROP COLUMN {column};")).collect::<String>()
    };
    let added =
        ["standing", "good", "good_revision", "predicted", "gain", "gain_low", "gain_high", "calls", "compared"];
    old.execute_batch(&(columns("parameters", &added[..4]) + &columns("parameter_changes", &added))).unwrap();
    let later = "DROP TABLE jobs; DROP TABLE job_counts; DROP TABLE plan_steps; DROP TABLE plan_runs; DROP TABLE schemas; \
                 DROP TABLE audit_fields; DROP TABLE audit; DROP TABLE needs; DROP TABLE past; \
                 PRAGMA user_version = 1";
    old.execute_batch(later).unwrap();
    let first = Connection::open_in_memory().unwrap();
    first.execute_batch(schema::V1).unwrap();
    assert_eq!(names(&old), names(&first), "it is as the first version made it");

    let refused = SqliteQueue::open_read_only(&path).unwrap_err();
    assert!(refused.to_string().contains("run the program once to convert it"), "{refused}");

    let moment = Clock::system().wall();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let jobs = vec![NewJob::new("p", "crm", "update", moment)];
                let put = [Change::Enqueue { jobs, max_pending: 10 }];
                let answers = block_on(SqliteQueue::at(&path).apply(&put)).unwrap();
                assert!(matches!(answers[..], [Ok(Answer::Enqueued)]), "{answers:?}");
            });
            scope.spawn(|| {
                let opening = Opening { key: "k", plan: "p", fingerprint: "f", began: moment };
                let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
                tokio.block_on(SqliteJournal::at(&path).open(&opening)).unwrap();
            });
            scope.spawn(|| assert_eq!(rows(&mut SqliteStore::open(&path).unwrap()), 7));
        }
    });
    // A process of the older version that had it open goes on.
    old.execute("INSERT INTO counters VALUES ('old', 1)", []).unwrap();
    let counts = block_on(SqliteQueue::open_read_only(&path).unwrap().counts()).unwrap();
    assert_eq!((counts.live(), counted(&mut SqliteStore::open(&path).unwrap())), (2, 3));
}

#[test]
fn reading_only_reads_and_says_what_is_wrong_with_anything_else() {
    let (folder, path) = folder();
    let missing = SqliteStore::open_read_only(&path).unwrap_err();
    assert_eq!(missing.trouble(), Trouble::Missing, "{missing}");
    let mut writer = SqliteStore::open(&path).unwrap();
    now(writer.append(&batch(2, 3))).unwrap();
    let mut reader = SqliteStore::open_read_only(&path).unwrap();
    assert_eq!((rows(&mut reader), counted(&mut reader)), (2, 3));
    assert_eq!(now(reader.append(&batch(1, 1))).unwrap_err().trouble(), Trouble::ReadOnly);
    drop((writer, reader));
    assert_eq!(counted(&mut SqliteStore::open_read_only(&path).unwrap()), 3, "after a clean stop");

    let notes = folder.path().join("notes.txt");
    fs::write(&notes, "remember the milk, ".repeat(100)).unwrap();
    let error = SqliteStore::open_read_only(&notes).unwrap_err();
    assert!(error.to_string().contains("not a poet database"), "{error}");
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let error = SqliteStore::open_read_only(&foreign).unwrap_err();
    assert!(error.to_string().contains("not a poet database"), "{error}");
    assert_eq!(fs::read_to_string(&notes).unwrap().len(), 1_900);
}

#[test]
fn a_locked_database_is_reported_as_locked_and_takes_the_same_batch_later() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    store.0.connection.as_ref().unwrap().busy_timeout(Duration::from_millis(1)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(now(store.append(&batch(1, 1))).unwrap_err().trouble(), Trouble::Locked);
    other.execute_batch("COMMIT").unwrap();
    now(store.append(&batch(1, 1))).unwrap();
    assert_eq!((rows(&mut store), counted(&mut store)), (1, 1));
}

#[test]
fn a_full_database_takes_nothing_of_a_batch_and_all_of_it_later() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    let limit = |store: &SqliteStore, pages: i64| {
        let connection = store.0.connection.as_ref().unwrap();
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(&store, 1);
    let error = now(store.append(&batch(5_000, 1))).unwrap_err();
    assert_eq!(error.trouble(), Trouble::Full, "{error}");
    assert_eq!((rows(&mut store), counted(&mut store)), (0, 0));
    limit(&store, 1_000_000);
    now(store.append(&batch(5_000, 1))).unwrap();
    assert_eq!((rows(&mut store), counted(&mut store)), (5_000, 1));
}

#[test]
fn pruning_deletes_more_than_a_slice_gives_the_space_back_and_forgets_the_process() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    now(store.append(&batch(9_000, 1))).unwrap();
    let young = OutcomeRow { run: "young".to_owned(), ..outcome("crm", 2_000) };
    now(store.append(&Batch { outcomes: vec![young.clone()], ..Batch::default() })).unwrap();
    let pages = |store: &SqliteStore| text(store, "page_count").parse::<u64>().unwrap();
    let before = pages(&store);
    assert_eq!(now(store.prune(Wall::from_millis(1_500), 0)).unwrap(), 9_000);
    assert_eq!(now(store.outcomes(None, 10)).unwrap(), [young]);
    assert!(pages(&store) < before / 2, "{} of {before} pages left", pages(&store));
    let runs =
        store.0.connection.as_ref().unwrap().query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0));
    assert_eq!(runs.unwrap(), 1);
}

#[test]
fn rows_dated_in_the_future_do_not_keep_old_ones_behind_them() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    let mut misdated = batch(5_000, 1);
    misdated.outcomes.iter_mut().for_each(|row| row.ended = Wall::from_millis(i64::MAX));
    now(store.append(&misdated)).unwrap();
    now(store.append(&batch(100, 1))).unwrap();
    assert_eq!(now(store.prune(Wall::from_millis(2_000), 0)).unwrap(), 100);
}

#[test]
fn names_of_a_newer_version_are_skipped() {
    let (_folder, path) = folder();
    let mut store = SqliteStore::open(&path).unwrap();
    now(store.append(&batch(2, 3))).unwrap();
    now(store.publish(&change("crm", "timeout.attempt", None, 2.0), None)).unwrap();
    let newer = "UPDATE outcomes SET ending = 'hedged' WHERE id = 1;
                 INSERT INTO evidence SELECT target, hour, 'hedged', 1, 1 FROM evidence;
                 INSERT INTO parameters SELECT target, name, 'hedged', value, applied, sample, low, high, confidence,
                     reason, evidence, changed, revision, standing, good, good_revision, predicted FROM parameters;
                 INSERT INTO parameters SELECT target, 'retry.base_delay', after, value, applied, sample, low, high,
                     confidence, reason, evidence, changed, revision, 'foreseen', good, good_revision, predicted
                     FROM parameters;";
    store.0.connection.as_ref().unwrap().execute_batch(newer).unwrap();
    assert_eq!((rows(&mut store), counted(&mut store)), (1, 3));
    assert_eq!(now(store.parameters()).unwrap().len(), 1);
}

#[test]
fn many_connections_may_make_the_same_database_at_once() {
    let (_folder, path) = folder();
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| SqliteStore::open(&path))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for store in opened {
        assert_eq!(store.unwrap().set_aside(), None);
    }
}

/// What a process started by another test does, and where.
const ROLE: &str = "POET_TEST_STORE_ROLE";
const PLACE: &str = "POET_TEST_STORE_PATH";

fn spawn(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::sqlite::tests::a_process_of_another_test"]);
    command.env(ROLE, role).env(PLACE, path);
    command
}

/// Not a test of its own: what the processes started by other tests do.
#[test]
fn a_process_of_another_test() {
    let (Ok(role), Ok(path)) = (std::env::var(ROLE), std::env::var(PLACE)) else {
        return;
    };
    match role.as_str() {
        "writer" => write_and_publish(Path::new(&path)),
        "stranger" => meet_closed_doors(Path::new(&path)),
        other => panic!("no role {other}"),
    }
}

const WRITES: u64 = 100;
const MOVES: usize = 20;

fn write_and_publish(path: &Path) {
    let mut store = SqliteStore::open(path).unwrap();
    for _ in 0..WRITES {
        now(store.append(&batch(10, 3))).unwrap();
    }
    let (mut before, mut moved): (Option<ParameterRow>, _) = (None, 0);
    while moved < MOVES {
        let value = f64::from(std::process::id()) + moved as f64 / 100.0;
        let old = before.as_ref().map(|row| row.value);
        let change = ParameterChange { old, ..change("crm", "timeout.attempt", None, value) };
        let expected = before.map(|row| row.revision);
        before = Some(match now(store.publish(&change, expected)).unwrap() {
            Published::Moved(row) => {
                moved += 1;
                row
            }
            Published::Superseded(row) => row,
        });
    }
}

#[test]
fn several_processes_add_to_one_file_and_none_overwrites_a_move_of_another() {
    let (_folder, path) = folder();
    let children: io::Result<Vec<Child>> = (0..3).map(|_| spawn("writer", &path).spawn()).collect();
    for child in children.unwrap() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(rows(&mut store), 3 * 10 * WRITES as usize);
    assert_eq!(counted(&mut store), 3 * 3 * WRITES);
    let changes = now(store.changes(None)).unwrap();
    let mut before = None;
    for change in &changes {
        assert_eq!(change.old, before, "a move was made by a process that did not know the one before it");
        before = Some(change.new.value);
    }
    let revisions: Vec<_> = changes.iter().map(|change| change.new.revision).collect();
    assert_eq!(revisions, (1..=3 * MOVES as u64).collect::<Vec<_>>());
    assert_eq!(store.set_aside(), None);
}

/// As a user who may read the file and not write the folder.
fn meet_closed_doors(path: &Path) {
    let log = SqliteStore::open_read_only(path).unwrap_err();
    assert_eq!(log.trouble(), Trouble::ReadOnly);
    assert!(log.to_string().contains("write-ahead log"), "{log}");
    let write = SqliteStore::open(path).unwrap_err();
    assert_eq!(write.trouble(), Trouble::ReadOnly, "{write}");
    let create = SqliteStore::open(path.with_file_name("new.db")).unwrap_err();
    assert_eq!(create.trouble(), Trouble::ReadOnly, "{create}");
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_is_reported_as_such() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let (folder, path) = folder();
    now(SqliteStore::open(&path).unwrap().append(&batch(1, 1))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let mut child = spawn("stranger", &path);
    // The superuser writes where it likes, so the other process must be somebody else.
    let superuser = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&path).unwrap()) == 0;
    if superuser {
        child.uid(65_534).gid(65_534);
    }
    let output = child.output();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
