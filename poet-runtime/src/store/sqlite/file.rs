//! The file: made private, opened with the right settings, and set aside when it is damaged.
//!
//! A damaged database costs what was learned, never a call, and is never deleted: it is renamed with its log beside
//! it, and an empty one takes its place. Nothing here opens the file other than through SQLite, because closing any
//! other descriptor of it would drop every lock this process holds on it (POSIX).

use super::codec::trouble;
use super::migrations::{Identity, identify, migrate, missing_table};
use crate::clock::{self, Clock};
use crate::store::{StoreError, Trouble};
use chrono::DateTime;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How long a statement, or the opening itself, waits for another process to let go.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How often that is looked at where SQLite does not wait by itself.
const POLL: Duration = Duration::from_millis(10);

/// A file up to this size is checked whole when it is opened (about 0.2 s); in a larger one the outcomes are left
/// out, and damage there is found when it is met.
const CHECKED_WHOLE: u64 = 64 << 20;

/// SQLITE_READONLY_DIRECTORY, for which there is no name in every version of rusqlite we accept.
const READONLY_DIRECTORY: i32 = 1544;

/// Opens the database for writing and makes it where it is missing. Where it was damaged, also says where it was
/// moved.
pub(super) fn open(path: &Path) -> Result<(Connection, Option<PathBuf>), StoreError> {
    match open_sound(path) {
        Err(error) if error.trouble() == Trouble::Corrupt => {}
        other => return other.map(|connection| (connection, None)),
    }
    let _held = hold_folder(path)?;
    // Another process may have replaced it while this one waited: then what lies there now must not be moved.
    match open_sound(path) {
        Err(error) if error.trouble() == Trouble::Corrupt => {
            let aside = set_aside(path, &error.to_string())?;
            open_sound(path).map(|connection| (connection, Some(aside)))
        }
        other => other.map(|connection| (connection, None)),
    }
}

/// Sets aside a database that is sound to look at but damaged in use, unless another process has done so already.
pub(super) fn replace(path: &Path, found: Option<(u64, u64)>) -> Result<Option<PathBuf>, StoreError> {
    let _held = hold_folder(path)?;
    if found.is_none() || identity(path) != found {
        return Ok(None);
    }
    set_aside(path, "damage was met while using it").map(Some)
}

/// Opens the database for reports: nothing is created, migrated or moved.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let fail = |trouble, why: String| Err(StoreError::of(trouble, attempted(path), why));
    if let Err(error) = fs::metadata(path) {
        return Err(io_error("opening outcome store at", path, error));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let identity = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok((identify(&connection)?, connection))
    });
    let (identity, connection) = match identity {
        Ok(opened) => opened,
        Err(error) if is_missing_log(&error) => {
            let why = "its write-ahead log has to be created beside it, and the folder may not be written by this \
                       user; read it as its owner, or while the program that writes it is running";
            return fail(Trouble::ReadOnly, why.to_owned());
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return fail(Trouble::Foreign, "not a poet database: it is no SQLite file, or it is damaged".to_owned());
        }
        Err(error) => return Err(StoreError::of(trouble(&error), attempted(path), error)),
    };
    match identity {
        Identity::Current => Ok(connection),
        Identity::Older => fail(
            Trouble::ReadOnly,
            "an older version of poet wrote it, and it is opened for reading only; run the program once to convert it"
                .to_owned(),
        ),
        Identity::Newer(version) => fail(Trouble::Newer, newer(version)),
        Identity::Fresh | Identity::Foreign => fail(Trouble::Foreign, "not a poet database".to_owned()),
    }
}

fn is_missing_log(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| (error.code, error.extended_code));
    matches!(code, Some((_, READONLY_DIRECTORY) | (ErrorCode::CannotOpen, _)))
}

/// What tells one file from another under the same name; `None` where nothing is there.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Some((0, 0))
    }
}

fn open_sound(path: &Path) -> Result<Connection, StoreError> {
    create_private(path).map_err(|error| io_error("creating outcome store at", path, error))?;
    let give_up = clock::real() + BUSY_TIMEOUT;
    loop {
        match configure(path) {
            // Turning to WAL and recovering a log do not wait for the lock by themselves.
            Err(error) if error.trouble() == Trouble::Locked && clock::real() < give_up => sleep(POLL),
            other => return other,
        }
    }
}

fn configure(path: &Path) -> Result<Connection, StoreError> {
    let fail = |trouble, why: String| Err(StoreError::of(trouble, attempted(path), why));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)
        .map_err(|error| StoreError::of(trouble(&error), attempted(path), error))?;
    let judged = judge(&connection, path);
    if !matches!(judged, Ok(Verdict::Sound)) {
        // Whatever it is, closing it must not write its log back into it.
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
    match judged.map_err(|error| StoreError::of(trouble(&error), attempted(path), error))? {
        Verdict::Sound => {}
        Verdict::ReadOnly => return fail(Trouble::ReadOnly, "the file may not be written".to_owned()),
        Verdict::Foreign => {
            return fail(Trouble::Foreign, "it is another program's SQLite database; it was left alone".to_owned());
        }
        Verdict::Newer(version) => return fail(Trouble::Newer, newer(version)),
        Verdict::Damaged(why) => return fail(Trouble::Corrupt, why),
    }
    let configured = settings(&connection).and_then(|()| migrate(&mut connection));
    configured.map_err(|error| StoreError::of(trouble(&error), attempted(path), error))?;
    match missing_table(&connection).map_err(|error| StoreError::of(trouble(&error), attempted(path), error))? {
        None => Ok(connection),
        Some(table) => {
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            fail(Trouble::Corrupt, format!("the table {table} is missing"))
        }
    }
}

enum Verdict {
    Sound,
    ReadOnly,
    Foreign,
    Newer(i64),
    Damaged(String),
}

/// Looks before anything is changed.
fn judge(connection: &Connection, path: &Path) -> rusqlite::Result<Verdict> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if connection.is_readonly("main")? {
        return Ok(Verdict::ReadOnly);
    }
    match identify(connection)? {
        Identity::Foreign => Ok(Verdict::Foreign),
        Identity::Newer(version) => Ok(Verdict::Newer(version)),
        Identity::Fresh => Ok(Verdict::Sound),
        Identity::Current | Identity::Older => {
            let whole = fs::metadata(path).map_or(0, |metadata| metadata.len()) <= CHECKED_WHOLE;
            let checks: &[&str] = if whole {
                &["PRAGMA quick_check(1)"]
            } else {
                &[
                    "PRAGMA quick_check(parameters)",
                    "PRAGMA quick_check(parameter_changes)",
                    "PRAGMA quick_check(evidence)",
                    "PRAGMA quick_check(jobs)",
                ]
            };
            for check in checks {
                let found: String = connection.query_row(check, [], |row| row.get(0))?;
                if found != "ok" {
                    return Ok(Verdict::Damaged(found));
                }
            }
            Ok(Verdict::Sound)
        }
    }
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    // Must stand before the first table, and is ignored after it.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Makes the file readable by its owner only, because SQLite would follow the umask; its log takes the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Keeps other processes from setting the same file aside; let go when the result is dropped.
fn hold_folder(path: &Path) -> Result<Option<File>, StoreError> {
    // A folder can be locked on Unix; elsewhere an open file cannot be renamed under another process anyway.
    let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) else {
        return Ok(None);
    };
    let give_up = clock::real() + BUSY_TIMEOUT;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(Some(folder)),
            Err(fs::TryLockError::Error(_)) => return Ok(None),
            Err(fs::TryLockError::WouldBlock) if clock::real() < give_up => sleep(POLL),
            Err(fs::TryLockError::WouldBlock) => {
                let why = "another process is replacing the damaged file";
                return Err(StoreError::of(Trouble::Locked, attempted(path), why));
            }
        }
    }
}

/// Renames the file and what belongs to it. The log goes first: left beside an empty database, it would be replayed
/// into it.
fn set_aside(path: &Path, why: &str) -> Result<PathBuf, StoreError> {
    let aside = vacant(path).and_then(|aside| {
        for suffix in ["-wal", "-shm", ""] {
            match fs::rename(suffixed(path, suffix), suffixed(&aside, suffix)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !suffix.is_empty() => {}
                other => other?,
            }
        }
        Ok(aside)
    });
    let aside = aside.map_err(|error| io_error("setting aside damaged outcome store at", path, error))?;
    tracing::error!(path = %path.display(), aside = %aside.display(), why, "outcome store was damaged; set aside");
    Ok(aside)
}

/// A name that says when, and that nothing bears yet.
fn vacant(path: &Path) -> io::Result<PathBuf> {
    let now = Clock::system().anchor().wall;
    let date = DateTime::from_timestamp_millis(now.millis()).unwrap_or_default().format("%Y%m%dT%H%M%SZ").to_string();
    let mut aside = suffixed(path, &format!(".corrupt-{date}"));
    let mut n = 1;
    while aside.try_exists()? {
        n += 1;
        aside = suffixed(path, &format!(".corrupt-{date}-{n}"));
    }
    Ok(aside)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn attempted(path: &Path) -> String {
    format!("opening outcome store at {}", path.display())
}

fn newer(version: i64) -> String {
    format!("a newer version of poet wrote it (layout {version}); it was left alone, use that version or another file")
}

fn io_error(attempted: &str, path: &Path, error: io::Error) -> StoreError {
    let trouble = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::Full,
        io::ErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Other,
    };
    StoreError::of(trouble, format!("{attempted} {}", path.display()), error)
}
