//! The tables, as the first migration makes them.
//!
//! Times are milliseconds since 1970-01-01 UTC, hours are counted from there, durations are microseconds. Names
//! (endings, classes, kinds) are stored as text, so that a person with `sqlite3` can read them; a name this version
//! does not know is skipped when reading. A table has at most one index beside its key, because an index on the
//! outcomes costs 3.6 times the insert.
//!
//! | Table | A row is | Bound |
//! |---|---|---|
//! | `targets` | a service and an operation of it | what the program calls |
//! | `functions` | a function site | what the program contains |
//! | `runs` | a process, and when its newest outcome ended | goes with its outcomes |
//! | `evidence` | a count of one kind in one hour | 90 days; a few hundred kinds an hour and target |
//! | `outcomes` | a finished call | retention, and [`MAX_OUTCOMES`] |
//! | `parameters` | a value in force | one for each parameter and target |
//! | `parameter_changes` | a move, never changed or deleted | moves are rare: each needs new evidence |
//! | `counters` | a number by name | the names in the code |

/// The most outcomes that are kept whatever their age: about 1 GB. A wrong clock may date rows so that they never
/// grow old.
pub(super) const MAX_OUTCOMES: i64 = 20_000_000;

/// Every table; one that is missing from a database of ours means that it is damaged.
pub(super) const TABLES: [&str; 8] =
    ["targets", "functions", "runs", "evidence", "outcomes", "parameters", "parameter_changes", "counters"];

/// Version 1.
pub(super) const V1: &str = "
CREATE TABLE targets (
    id        INTEGER PRIMARY KEY,
    service   TEXT NOT NULL,
    operation TEXT NOT NULL,
    UNIQUE (service, operation)
) STRICT;

CREATE TABLE functions (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE runs (
    id   INTEGER PRIMARY KEY,
    run  TEXT NOT NULL UNIQUE,
    seen INTEGER NOT NULL            -- when the newest of its outcomes ended
) STRICT;

CREATE TABLE evidence (
    target INTEGER NOT NULL REFERENCES targets (id),
    hour   INTEGER NOT NULL,
    kind   TEXT NOT NULL,            -- kind and idx: see evidence::Key::encode
    idx    INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (target, hour, kind, idx)
) STRICT, WITHOUT ROWID;

-- No foreign keys: they would be looked up for every row, and rows are deleted before what they point to.
CREATE TABLE outcomes (
    id        INTEGER PRIMARY KEY,   -- in the order of writing, which is nearly that of ending
    target    INTEGER NOT NULL,
    function  INTEGER,
    run       INTEGER NOT NULL,
    execution INTEGER NOT NULL,      -- a 64-bit pattern
    ended     INTEGER NOT NULL,
    ending    TEXT NOT NULL,
    class     TEXT,
    attempts  INTEGER NOT NULL,
    elapsed   INTEGER NOT NULL,
    timeout   INTEGER NOT NULL,
    retries   INTEGER NOT NULL,
    revision  INTEGER NOT NULL,      -- of the parameters that were in force; 0: nothing was learned yet
    withheld  TEXT                   -- why a retry that was due was not made
) STRICT;

CREATE TABLE parameters (
    target     INTEGER NOT NULL REFERENCES targets (id),
    name       TEXT NOT NULL,
    after      TEXT NOT NULL,        -- the kind of failure; empty where it applies to all
    value      REAL NOT NULL,
    applied    INTEGER NOT NULL,
    sample     INTEGER NOT NULL,
    low        REAL NOT NULL,
    high       REAL NOT NULL,
    confidence REAL NOT NULL,
    reason     TEXT NOT NULL,
    evidence   TEXT NOT NULL,        -- a JSON object
    changed    INTEGER NOT NULL,
    revision   INTEGER NOT NULL REFERENCES parameter_changes (revision),
    PRIMARY KEY (target, name, after)
) STRICT, WITHOUT ROWID;

CREATE TABLE parameter_changes (
    revision   INTEGER PRIMARY KEY,
    target     INTEGER NOT NULL REFERENCES targets (id),
    name       TEXT NOT NULL,
    after      TEXT NOT NULL,
    old        REAL,                 -- null: the default was in force
    value      REAL NOT NULL,
    applied    INTEGER NOT NULL,
    sample     INTEGER NOT NULL,
    low        REAL NOT NULL,
    high       REAL NOT NULL,
    confidence REAL NOT NULL,
    reason     TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    changed    INTEGER NOT NULL
) STRICT;

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    n    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";
