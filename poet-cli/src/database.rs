//! Which database is meant, and what stands in it.

use crate::Refusal;
use crate::arguments::Arguments;
use poet_runtime::Clock;
use poet_runtime::report::{Report, Scope};
use poet_runtime::store::SqliteStore;
use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The database named on the command line, else by `POET_DB`.
pub(crate) fn named(arguments: &Arguments, poet_db: Option<OsString>) -> Option<PathBuf> {
    arguments.db.clone().or(poet_db.filter(|path| !path.is_empty()).map(PathBuf::from))
}

/// The database named on the command line, else by `POET_DB`, else by the configuration.
pub(crate) fn path(arguments: &Arguments, poet_db: Option<OsString>) -> Result<PathBuf, Refusal> {
    if let Some(path) = named(arguments, poet_db) {
        return Ok(path);
    }
    let config = arguments.read_config();
    // Where a program without all of this keeps its database is named after the program, which we are not.
    config.map_err(|error| Refusal::usage(error.to_string()))?.store.path.ok_or_else(|| {
        Refusal::usage(
            "which database? write `--db PATH`, or set POET_DB or `path` under `[store]` in poet.toml to the file that the \
             program writes; a program that was told none writes ~/.local/state/poet/PROGRAM.db, and logs it",
        )
    })
}

/// Reads a report from the database at a path.
pub(crate) fn gather(path: &Path, scope: &Scope) -> Result<Report, Refusal> {
    if path.is_dir() {
        return Err(Refusal::nothing(format!("opening outcome store at {}: it is a folder", path.display())));
    }
    let now = Clock::system().anchor().wall;
    let mut store = SqliteStore::open_read_only(path).map_err(|error| Refusal::nothing(error.to_string()))?;
    block_on(Report::gather_within(&mut store, scope, now)).map_err(|error| Refusal::nothing(error.to_string()))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread: an embedded store has its answer at once, and a runtime would be the larger part of us.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
