//! The tables, as the migrations make them.
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
//! | `past` | the attempts of an hour whose evidence is gone | 13 months; 24 rows a day and target |
//! | `needs` | what a function felt of an operation it calls, in one hour | 90 days; eight operations an execution |
//! | `outcomes` | a finished call | retention, and [`MAX_OUTCOMES`] |
//! | `parameters` | a value in force | one for each parameter and target |
//! | `parameter_changes` | a move, never changed or deleted | moves are rare: each needs new evidence |
//! | `counters` | a number by name | the names in the code |
//! | `jobs` | a call that was put off | `max_pending` that have not ended; of the others, age and number |
//! | `job_counts` | how many jobs are in a state | the states |
//! | `plan_runs` | a run of a plan that has a key or has ended | 10,000 that have ended |
//! | `schemas` | a schema that an operation was seen with | 32 for each target |
//! | `plan_steps` | what happened to a step of a run | goes when its run ends |
//! | `audit` | what is written down about a call | `[audit]`: retention, `max_entries` |
//! | `audit_fields` | an argument of such a call | goes with its entry; few for each |
//!
//! Jobs have more indexes than one, because a worker has to find 16 among 100,000 at once. All but the one of their
//! ids are partial, so that a job stands in the few that its state needs. So does the audit: it is looked for by whom it
//! is about, and an entry is large beside what an index adds.

/// The most outcomes that are kept whatever their age: about 1 GB. A wrong clock may date rows so that they never
/// grow old.
pub(super) const MAX_OUTCOMES: i64 = 20_000_000;

/// Every table; one that is missing from a database of ours means that it is damaged.
pub(super) const TABLES: [&str; 17] = [
    "targets",
    "functions",
    "runs",
    "evidence",
    "past",
    "needs",
    "outcomes",
    "parameters",
    "parameter_changes",
    "counters",
    "jobs",
    "job_counts",
    "plan_runs",
    "plan_steps",
    "audit",
    "audit_fields",
    "schemas",
];

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

/// Version 2: jobs.
pub(super) const V2: &str = "
CREATE TABLE jobs (
    number       INTEGER PRIMARY KEY, -- in the order in which they were put there
    id           TEXT NOT NULL UNIQUE,
    profile      TEXT NOT NULL,
    service      TEXT NOT NULL,
    operation    TEXT NOT NULL,
    arguments    TEXT,                -- a JSON object; null once it is done
    options      TEXT,                -- JSON; null once it is done
    repeatable   INTEGER NOT NULL,
    priority     INTEGER NOT NULL,    -- 0 low to 3 critical
    order_key    TEXT,
    head         INTEGER NOT NULL,    -- of a pending job: whether no other of its key has to come first
    reason       TEXT NOT NULL,
    state        TEXT NOT NULL,
    created      INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    started      INTEGER,
    ended        INTEGER,
    attempts     INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    owner        TEXT,
    token        INTEGER NOT NULL,
    until        INTEGER,
    execution    TEXT,
    error        TEXT,
    result       TEXT,                -- JSON
    resolved     TEXT
) STRICT;

CREATE INDEX jobs_due ON jobs (priority, due, number) WHERE state = 'pending' AND head = 1;
CREATE INDEX jobs_expires ON jobs (expires) WHERE state = 'pending';
CREATE INDEX jobs_until ON jobs (until) WHERE state = 'leased';
CREATE INDEX jobs_ended ON jobs (ended) WHERE state IN ('done', 'failed', 'dead');
CREATE INDEX jobs_keys ON jobs (order_key, state, number)
    WHERE order_key IS NOT NULL AND state IN ('pending', 'leased', 'uncertain');
CREATE INDEX jobs_heads ON jobs (order_key) WHERE order_key IS NOT NULL AND state = 'pending' AND head = 1;

-- Counted as they change, because counting 100,000 rows for every new one would be most of its cost.
CREATE TABLE job_counts (
    state TEXT PRIMARY KEY,
    n     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO job_counts VALUES
    ('pending', 0), ('leased', 0), ('done', 0), ('failed', 0), ('dead', 0), ('uncertain', 0);

CREATE TRIGGER jobs_added AFTER INSERT ON jobs BEGIN
    UPDATE job_counts SET n = n + 1 WHERE state = NEW.state;
END;

CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
    UPDATE job_counts SET n = n - 1 WHERE state = OLD.state;
    UPDATE job_counts SET n = n + 1 WHERE state = NEW.state;
END;

CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET n = n - 1 WHERE state = OLD.state;
END;
";

/// Version 3: the journal of plans, which says itself what it keeps.
pub(super) const V3: &str = crate::plan::journal::sqlite::MIGRATION;

/// Version 4: what becomes of a move after it was made. What was in force by then has proven itself.
pub(super) const V4: &str = "
ALTER TABLE parameters ADD COLUMN standing TEXT NOT NULL DEFAULT 'confirmed';
ALTER TABLE parameters ADD COLUMN good REAL;              -- the last good value; null: none is remembered
ALTER TABLE parameters ADD COLUMN good_revision INTEGER;  -- of the values in force beside it
ALTER TABLE parameters ADD COLUMN predicted REAL;
UPDATE parameters SET standing = 'shadow' WHERE applied = 0;

ALTER TABLE parameter_changes ADD COLUMN standing TEXT NOT NULL DEFAULT 'confirmed';
ALTER TABLE parameter_changes ADD COLUMN good REAL;
ALTER TABLE parameter_changes ADD COLUMN good_revision INTEGER;
ALTER TABLE parameter_changes ADD COLUMN predicted REAL;
ALTER TABLE parameter_changes ADD COLUMN gain REAL;       -- what it turned out to bring; null: not known yet
ALTER TABLE parameter_changes ADD COLUMN gain_low REAL;
ALTER TABLE parameter_changes ADD COLUMN gain_high REAL;
ALTER TABLE parameter_changes ADD COLUMN calls INTEGER;
ALTER TABLE parameter_changes ADD COLUMN compared INTEGER;
UPDATE parameter_changes SET standing = 'shadow' WHERE applied = 0;
";

/// Version 5: by what a service is asked that has taken a job on.
pub(super) const V5: &str = "ALTER TABLE jobs ADD COLUMN accepted TEXT";

/// Version 6: the audit.
pub(super) const V6: &str = "
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY,   -- in the order of writing, which is that of beginning where it is strict
    execution TEXT NOT NULL UNIQUE,  -- run and number, as programs see it
    target    INTEGER NOT NULL,
    function  INTEGER,               -- the function around it
    inside    TEXT,                  -- the execution of that
    job       TEXT,                  -- put off as, or made for
    began     INTEGER NOT NULL,
    ended     INTEGER,               -- null: about to be made, or its process was killed meanwhile
    ending    TEXT,
    detail    TEXT NOT NULL          -- a JSON object
) STRICT;

CREATE INDEX audit_began ON audit (began);
CREATE INDEX audit_job ON audit (job) WHERE job IS NOT NULL;
CREATE INDEX audit_inside ON audit (inside) WHERE inside IS NOT NULL;

CREATE TABLE audit_fields (
    name  TEXT NOT NULL,
    value TEXT NOT NULL,             -- as it is where it is allowed by name, else a hash
    audit INTEGER NOT NULL REFERENCES audit (id) ON DELETE CASCADE,
    PRIMARY KEY (name, value, audit)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_fields_audit ON audit_fields (audit);
";

/// Version 7: what functions feel of the operations they call.
pub(super) const V7: &str = super::needs::MIGRATION;

/// Version 8: the schemas of operations, by which it is known when one becomes another.
pub(super) const V8: &str = "
CREATE TABLE schemas (
    id     INTEGER PRIMARY KEY,      -- in the order in which they were seen first
    target INTEGER NOT NULL REFERENCES targets (id),
    schema INTEGER NOT NULL,         -- a 64-bit pattern
    seen   INTEGER NOT NULL,
    began  INTEGER NOT NULL,         -- whether the operation became another one by it
    UNIQUE (target, schema)
) STRICT;
";

/// Version 9: the ages of answers are counted in bins of a quarter octave, and not of a half any more. What was counted
/// goes to the younger of the two that its bin has become: taken for younger, an answer is kept rather too short than too
/// long. Twice, because a bin's new number is the old one of another.
pub(super) const V9: &str = "
UPDATE evidence SET idx = 1000 + 2 * idx WHERE kind IN ('unchanged', 'changed');
UPDATE evidence SET idx = idx - 1000 WHERE kind IN ('unchanged', 'changed');
";

/// Version 10: the attempts of hours whose evidence is gone.
pub(super) const V10: &str = super::past::MIGRATION;
