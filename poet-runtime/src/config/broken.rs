//! One table of faults, and what is said about each: the messages are part of what users see.

use super::tests::parse;

#[test]
fn every_fault_is_named_with_its_line_its_column_and_what_to_write() {
    let mut wrong = Vec::new();
    for (text, expected) in BROKEN {
        let found = match parse(text) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        if found != format!("poet.toml:{expected}") {
            wrong.push(format!("---\n{text}\n  expected poet.toml:{expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One fault each: the text, and what is said about it after `poet.toml:`.
const BROKEN: &[(&str, &str)] = &[
    // Keys.
    ("learnin = \"on\"", "1:1: learnin: there is no such key; did you mean `learning`?"),
    (
        "colour = 1",
        "1:1: colour: there is no such key; expected `preset`, `store`, `learning`, `cache`, `queue`, `audit`, `connection_pool`, `load_balancer` or `services`",
    ),
    ("[service.crm]", "1:2: service: there is no such key; write `services.<name>`"),
    ("retry_policy = {}", "1:1: retry_policy: there is no such key; it is said of a service: `retry = \"standard\"`"),
    (
        "connection_pool = { min_connections = 9, max_connections = 3 }",
        "1:60: connection_pool.max_connections: of at least 9 connections at most 3 are allowed",
    ),
    (
        "connection_pool = { max_idle_time = 10 }",
        "1:37: connection_pool.max_idle_time: expected a duration from \"1s\" to \"3650d\", found 10",
    ),
    (
        "load_balancer = { strategy = \"roundrobin\" }",
        "1:30: load_balancer.strategy: expected \"peak_ewma\", \"round_robin\", \"weighted_round_robin\", \"least_connections\", \"health_based\", \"response_time_based\" or \"random\", found \"roundrobin\"; did you mean \"round_robin\"?",
    ),
    ("[audit]\nlevel = \"full\"", "2:9: audit.level: expected \"off\", \"on\" or \"strict\", found \"full\""),
    (
        "[audit]\nlevel = \"stric\"",
        "2:9: audit.level: expected \"off\", \"on\" or \"strict\", found \"stric\"; did you mean \"strict\"?",
    ),
    (
        "[audit]\nenabled = true",
        "2:1: audit.enabled: there is no such key; write `level = \"on\"` or `level = \"off\"`",
    ),
    ("[audit]\nfield = []", "2:1: audit.field: there is no such key; did you mean `fields`?"),
    ("[audit]\nfields = \"id\"", "2:10: audit.fields: expected a list, found \"id\""),
    ("[audit]\nfields = [\"\"]", "2:11: audit.fields[0]: expected a string that is not empty, found \"\""),
    (
        "[audit]\nretention = \"5m\"",
        "2:13: audit.retention: expected a duration from \"1h\" to \"3650d\", found \"5m\"",
    ),
    ("[audit]\nmax_entries = 10", "2:15: audit.max_entries: expected a whole number from 1000 to 100000000, found 10"),
    (
        "[audit]\nkey = \"hunter2\"",
        "2:7: audit.key: expected at least 16 characters; `openssl rand -hex 32` draws some",
    ),
    (
        "[services.a]\naudit = true",
        "2:9: services.a.audit: expected \"off\", \"on\", \"strict\", or a table with `level` and `fields`, found true",
    ),
    (
        "[services.a.tools.t]\naudit = { level = \"on\", retention = \"30d\" }",
        "2:25: services.a.tools.t.audit.retention: there is no such key; it is said for all: `retention` under `[audit]`",
    ),
    ("[store]\npaht = \"x\"", "2:1: store.paht: there is no such key; did you mean `path`?"),
    (
        "[services.a]\nretries = 2",
        "2:1: services.a.retries: there is no such key; write `retry_attempts`, which counts the first attempt too",
    ),
    (
        "[services.a]\nurl = \"http://a\"\nweight = 2",
        "3:1: services.a.weight: there is no such key; it is said of one of several places: `endpoints = [{ url = \"…\", weight = 2 }]`",
    ),
    (
        "[services.a]\nidempotent = true",
        "2:1: services.a.idempotent: there is no such key; it is said of one tool: `tools.<name>.idempotent`",
    ),
    (
        "[services.a.tools.t]\nidempotant = true",
        "2:1: services.a.tools.t.idempotant: there is no such key; did you mean `idempotent`?",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\", wait = 1 }]",
        "2:34: services.a.endpoints[0].wait: there is no such key; expected `weight` or `url`",
    ),
    // Types.
    ("services = 5", "1:12: services: expected a table, found 5"),
    ("[services]\ncrm = \"http://a\"", "2:7: services.crm: expected a table, found \"http://a\""),
    ("[services.a]\nendpoints = \"http://a\"", "2:13: services.a.endpoints: expected a list, found \"http://a\""),
    ("[services.a]\nendpoints = [\"http://a\"]", "2:14: services.a.endpoints[0]: expected a table, found \"http://a\""),
    ("[services.a]\ndomain = 7.5", "2:10: services.a.domain: expected a string, found 7.5"),
    ("[services.a]\ndomain = 2026-11-20", "2:10: services.a.domain: expected a string, found a date or time"),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\" }]\ntrusted = \"yes\"",
        "3:11: services.a.trusted: expected true or false, found \"yes\"",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\" }]\ntrusted = \"${SECRET}\"",
        "3:11: services.a.trusted: expected true or false, found the value of \"${SECRET}\"",
    ),
    ("[services.a.tools.t]\nread_only = 1", "2:13: services.a.tools.t.read_only: expected true or false, found 1"),
    ("[services.a.tools]\nt = []", "2:5: services.a.tools.t: expected a table, found an empty list"),
    ("[services.a]\ncommand = \"a\"\nargs = [\"x\", 5]", "3:14: services.a.args[1]: expected a string, found a number"),
    (
        "[services.a]\ncommand = \"a\"\nenv = { KEY = 12345 }",
        "3:15: services.a.env.KEY: expected a string, found a number",
    ),
    (
        "[services.a]\ncommand = \"a\"\nenv = { \"A=B\" = \"1\" }",
        "3:9: services.a.env.\"A=B\": no environment variable can have this name",
    ),
    ("[services.a]\ncommand = \"a\\u0000b\"", "2:11: services.a.command: contains a NUL character"),
    // Ranges.
    ("learning = \"of\"", "1:12: learning: expected \"on\", \"review\", \"shadow\" or \"off\", found \"of\""),
    (
        "[services.a]\ntransport = \"grpc\"",
        "2:13: services.a.transport: expected \"http\", \"stdio\", \"sse\" or \"websocket\", found \"grpc\"",
    ),
    ("[services.a]\ndomain = \" \"", "2:10: services.a.domain: expected a string that is not empty, found \" \""),
    ("[services.a]\ndeadline = 30", "2:12: services.a.deadline: expected a duration from \"10ms\" to \"1d\", found 30"),
    (
        "[services.a]\ndeadline = \"0s\"",
        "2:12: services.a.deadline: expected a duration from \"10ms\" to \"1d\", found \"0s\"",
    ),
    (
        "[services.a]\ntimeout = \"10m\"",
        "2:11: services.a.timeout: expected a duration from \"5ms\" to \"5m\", found \"10m\"",
    ),
    (
        "store.retention = \"4000d\"",
        "1:19: store.retention: expected a duration from \"1h\" to \"3650d\", found \"4000d\"",
    ),
    ("preset = \"prod\"", "1:10: preset: expected \"production\", \"development\" or \"test\", found \"prod\""),
    ("[store]\nmemory = \"yes\"", "2:10: store.memory: expected true or false, found \"yes\""),
    (
        "[store]\nmemory = true\npath = \"x\"",
        "2:10: store.memory: contradicts `path`: what is kept in memory is in no file; remove one of the two",
    ),
    ("store.path = \"~/poet.db\"", "1:14: store.path: `~` is not expanded; write `${HOME}`"),
    ("[services.a.tools.t]\ncost = -0.5", "2:8: services.a.tools.t.cost: expected a number from 0 up, found -0.5"),
    ("[services.a.tools.t]\ncost = nan", "2:8: services.a.tools.t.cost: expected a number from 0 up, found NaN"),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\", weight = 0 }]",
        "2:43: services.a.endpoints[0].weight: expected a whole number from 1 to 1000, found 0",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\", weight = 99999999999999999999 }]",
        "2:43: services.a.endpoints[0].weight: expected a whole number from 1 to 1000, found a number that is too large",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"ws://u:hunter2@a/mcp?k=hunter2\" }]",
        "2:22: services.a.endpoints[0].url: expected an address such as \"http://localhost:8002/mcp\", found \"ws://…@a/mcp?…\"; `transport = \"websocket\"` is reached at that",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://:80/\" }]",
        "2:22: services.a.endpoints[0].url: expected an address such as \"http://localhost:8002/mcp\", found \"http://:80/\"",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"${SECRET}\" }]",
        "2:22: services.a.endpoints[0].url: expected an address such as \"http://localhost:8002/mcp\", found the value of a variable",
    ),
    (
        "[services.a]\ntimezone = \"New York\"",
        "2:12: services.a.timezone: expected an IANA time zone such as \"America/New_York\", found \"New York\"",
    ),
    // What is missing, and what contradicts.
    ("[services.a]\nendpoints = []", "2:13: services.a.endpoints: expected at least one endpoint, found an empty list"),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\" }, { url = \"http://a\", weight = 2 }]",
        "2:36: services.a.endpoints[1]: is listed twice; give one of them the weight of both",
    ),
    ("[services.a]\nendpoints = [{ weight = 1 }]", "2:14: services.a.endpoints[0]: `url` is missing"),
    (
        "[services.a]\ntransport = \"http\"",
        "1:11: services.a: `url` is missing; write where it is reached, or `endpoints` where there are several places",
    ),
    ("[services.a]\ntransport = \"stdio\"", "1:11: services.a: `command` is missing; write the program to start"),
    (
        "[services.a]\ncommand = \"a\"\nendpoints = [{ url = \"http://a\" }]",
        "2:1: services.a.command: only `transport = \"stdio\"` understands this key",
    ),
    (
        "[services.a]\ncommand = \"a\"\nauth_token = \"${SECRET}\"",
        "3:1: services.a.auth_token: `transport = \"stdio\"` does not understand this key",
    ),
    ("[services.\"\"]\ndomain = \"x\"", "1:11: services.\"\": a service needs a name"),
    (
        "[services.a]\ntimeout = \"9s\"\ndeadline = \"2s\"",
        "2:11: services.a.timeout: one attempt may not take longer (9s) than the whole call (2s)",
    ),
    (
        "[services.a]\ndeadline = \"5s\"\n[services.a.tools.t]\ntimeout = \"9s\"",
        "4:11: services.a.tools.t.timeout: one attempt may not take longer (9s) than the whole call (5s)",
    ),
    (
        "[services.a]\ntimeout = \"9s\"\npin = { \"timeout.attempt\" = 5 }",
        "2:1: services.a.timeout: says the same as `pin.\"timeout.attempt\"`; keep one of the two",
    ),
    (
        "[services.a.tools.t]\nread_only = true\nidempotent = false",
        "3:14: services.a.tools.t.idempotent: contradicts `read_only`: what changes nothing may be executed more than once",
    ),
    // Pins.
    (
        "[services.a.pin]\n\"retry.max_retry\" = 2",
        "2:1: services.a.pin.\"retry.max_retry\": there is no parameter `retry.max_retry`; did you mean `retry.max_retries`?",
    ),
    (
        "[services.a.pin]\nretry.max_retry = 2",
        "2:7: services.a.pin.retry.max_retry: there is no parameter `retry.max_retry`; did you mean `retry.max_retries`?",
    ),
    (
        "[services.a.pin]\n\"retry.max_retries\" = 11",
        "2:23: services.a.pin.\"retry.max_retries\": expected a whole number from 0 to 10, found 11",
    ),
    (
        "[services.a.pin]\n\"retry.max_retries\" = 1.5",
        "2:23: services.a.pin.\"retry.max_retries\": expected a whole number from 0 to 10, found 1.5",
    ),
    (
        "[services.a.pin]\n\"retry.max_retries\" = \"2s\"",
        "2:23: services.a.pin.\"retry.max_retries\": expected a whole number from 0 to 10, found \"2s\"",
    ),
    (
        "[services.a.pin]\n\"retry.max_retries.tiemout\" = 0",
        "2:1: services.a.pin.\"retry.max_retries.tiemout\": `tiemout` is no kind of failure; did you mean `timeout`?",
    ),
    (
        "[services.a.pin]\n\"timeout.attempt\" = \"6m\"",
        "2:21: services.a.pin.\"timeout.attempt\": expected seconds from 0.005 to 300, or a duration such as \"2s\", found \"6m\"",
    ),
    (
        "[services.a.pin]\n\"breaker.open_for.timeout\" = 60",
        "2:1: services.a.pin.\"breaker.open_for.timeout\": `breaker.open_for` has one value for all kinds of failure; write `breaker.open_for`",
    ),
    (
        "[services.a.pin]\nretry.max_retries = 1\n\"retry.max_retries\" = 2",
        "3:1: services.a.pin.\"retry.max_retries\": is pinned twice; keep one of the two",
    ),
    // The bounds of the process.
    ("cache = true", "1:9: cache: expected a table, found true"),
    ("[cache]\nenabled = \"yes\"", "2:11: cache.enabled: expected true or false, found \"yes\""),
    ("[cache]\nmax_entries = 0", "2:15: cache.max_entries: expected a whole number from 1 to 10000000, found 0"),
    (
        "[cache]\nmax_bytes = \"64MB\"",
        "2:13: cache.max_bytes: expected a size from 1 to \"1TiB\", a number of bytes or such as \"64MiB\", found \"64MB\"",
    ),
    (
        "[cache]\nmax_bytes = -1",
        "2:13: cache.max_bytes: expected a size from 1 to \"1TiB\", a number of bytes or such as \"64MiB\", found -1",
    ),
    ("[cache]\nmax_size = 5", "2:1: cache.max_size: there is no such key; write `max_entries` or `max_bytes`"),
    (
        "[cache]\nttl = \"5m\"",
        "2:1: cache.ttl: there is no such key; write `cache = \"5m\"` of a tool, or `pin.\"cache.ttl\"` of a service",
    ),
    ("[cache]\nmax_entrys = 5", "2:1: cache.max_entrys: there is no such key; did you mean `max_entries`?"),
    ("queue = []", "1:9: queue: expected a table, found an empty list"),
    ("[queue]\nwork = 1", "2:8: queue.work: expected true or false, found 1"),
    ("[queue]\nconcurrency = 257", "2:15: queue.concurrency: expected a whole number from 1 to 256, found 257"),
    ("[queue]\nlease = \"2h\"", "2:9: queue.lease: expected a duration from \"1s\" to \"1h\", found \"2h\""),
    ("[queue]\nlease = 30", "2:9: queue.lease: expected a duration from \"1s\" to \"1h\", found 30"),
    ("[queue]\nmax_pending = 0", "2:15: queue.max_pending: expected a whole number from 1 to 10000000, found 0"),
    ("[queue]\nmax_attempts = 1001", "2:16: queue.max_attempts: expected a whole number from 1 to 1000, found 1001"),
    (
        "[queue]\nexpire_after = \"0s\"",
        "2:16: queue.expire_after: expected a duration from \"1s\" to \"3650d\", found \"0s\"",
    ),
    ("[queue]\nkeep = \"4000d\"", "2:8: queue.keep: expected a duration from \"1s\" to \"3650d\", found \"4000d\""),
    ("[queue]\nmax_retries = 5", "2:1: queue.max_retries: there is no such key; write `max_attempts`"),
    // Hours.
    ("[services.a]\navoid = \"12:00-14:00\"", "2:9: services.a.avoid: expected a list, found \"12:00-14:00\""),
    ("[services.a]\nmaintenance = [12]", "2:16: services.a.maintenance[0]: expected a string, found 12"),
    (
        "[services.a]\navoid = [\"${SECRET}\"]",
        "2:10: services.a.avoid[0]: expected hours of the week such as \"mon-fri 12:00-13:30\", found the value of \"${SECRET}\"",
    ),
    (
        "[services.a]\navoid = [\"12:00-14:00\", \"fry 08:00-09:00\"]",
        "2:25: services.a.avoid[1]: `fry 08:00-09:00`: `fry` is no day of the week (mon, tue, wed, thu, fri, sat, sun); write hours as `12:00-14:00`, after days as `mon-fri` or `sat,sun`, or after `first sat` (first, second, third, fourth, last) for once a month",
    ),
    (
        "[services.a]\navoid = [\"00:00-12:00\", \"12:00-00:00\"]",
        "2:9: services.a.avoid: leaves no hour of the week; leave some in which calls may be made",
    ),
    (
        "[services.a]\nmaintenance = [\"12:00-00:00\"]\navoid = [\"00:00-12:00\"]",
        "3:9: services.a.avoid: leaves no hour of the week with `maintenance`; leave some in which calls may be made",
    ),
    (
        "[services.a]\ntimezone = \"America/New_Yrok\"",
        "2:12: services.a.timezone: there is no such time zone; expected an IANA name such as \"America/New_York\"",
    ),
    // The cache of a tool.
    (
        "[services.a]\ncache = true",
        "2:1: services.a.cache: there is no such key; it is said of one tool: `tools.<name>.cache`",
    ),
    (
        "[services.a.tools.t]\ncache = 300",
        "2:9: services.a.tools.t.cache: expected true, false or a duration from \"1ms\" to \"1d\", found 300",
    ),
    (
        "[services.a.tools.t]\ncache = \"2d\"",
        "2:9: services.a.tools.t.cache: expected true, false or a duration from \"1ms\" to \"1d\", found \"2d\"",
    ),
    (
        "[services.a.tools.t]\ncache = \"0s\"",
        "2:9: services.a.tools.t.cache: expected true, false or a duration from \"1ms\" to \"1d\", found \"0s\"; write `cache = false` where nothing is to be kept",
    ),
    (
        "[services.a.tools.t]\ncache = { ttl = \"0s\" }",
        "2:17: services.a.tools.t.cache.ttl: expected a duration from \"1ms\" to \"1d\", found \"0s\"; write `cache = false` where nothing is to be kept",
    ),
    (
        "[services.a.tools.t]\ncache = { ttl = true }",
        "2:17: services.a.tools.t.cache.ttl: expected a duration from \"1ms\" to \"1d\", found true",
    ),
    (
        "[services.a.tools.t]\ncache = { stale_if_eror = \"1h\" }",
        "2:11: services.a.tools.t.cache.stale_if_eror: there is no such key; did you mean `stale_if_error`?",
    ),
    (
        "[services.a.tools.t]\ncache = { stale_if_error = \"8d\" }",
        "2:28: services.a.tools.t.cache.stale_if_error: expected a duration from \"0s\" to \"7d\", found \"8d\"",
    ),
    (
        "[services.a.tools.t]\ncache = { stale_while_revalidate = 5 }",
        "2:36: services.a.tools.t.cache.stale_while_revalidate: expected a duration from \"0s\" to \"7d\", found 5",
    ),
    (
        "[services.a.tools.t]\ncache_ttl = \"5m\"",
        "2:1: services.a.tools.t.cache_ttl: there is no such key; write `cache = \"5m\"`",
    ),
    (
        "[services.a.tools.t]\ncache = true\nread_only = false",
        "2:9: services.a.tools.t.cache: contradicts `read_only = false`: the answer of a write is never kept; remove one of the two",
    ),
    (
        "[services.a.tools.t]\ncache = \"5m\"\nidempotent = false",
        "2:9: services.a.tools.t.cache: contradicts `idempotent = false`: the answer of a write is never kept; remove one of the two",
    ),
    (
        "[services.a.tools.t]\ncache = \"5m\"\npin = { cache.ttl = \"5m\" }",
        "2:1: services.a.tools.t.cache: says the same as `pin.\"cache.ttl\"`; keep one of the two",
    ),
    ("[services.a.tools.t]\ninvalidates = \"u\"", "2:15: services.a.tools.t.invalidates: expected a list, found \"u\""),
    (
        "[services.a.tools.t]\ninvalidates = [\"u\", \"\"]",
        "2:21: services.a.tools.t.invalidates[1]: expected a string that is not empty, found \"\"",
    ),
    (
        "[services.a.tools.t]\ninvalidates = [\"${SECRET}.u\"]",
        "2:16: services.a.tools.t.invalidates[0]: expected a name without variables, found the value of \"${SECRET}.u\"",
    ),
    (
        "[services.billing]\n[services.a.tools.t]\ninvalidates = [\"u\", \"biling.get\"]",
        "3:21: services.a.tools.t.invalidates[1]: there is no service `biling`; did you mean `billing`?",
    ),
    (
        "[services.a.tools.t]\ninvalidates = [\"a.\"]",
        "2:16: services.a.tools.t.invalidates[0]: expected `tool` or `service.tool`, found \"a.\"",
    ),
    (
        "[services.a.tools.t]\ninvalidates = [\"t\"]",
        "2:16: services.a.tools.t.invalidates[0]: names the tool itself; name those whose kept answers it makes worthless",
    ),
    (
        "[services.a.tools.t]\ninvalidates = [\"a.t\"]",
        "2:16: services.a.tools.t.invalidates[0]: names the tool itself; name those whose kept answers it makes worthless",
    ),
    (
        "[services.a.tools.t]\ninvalidates = [\"u\"]\nread_only = true",
        "2:15: services.a.tools.t.invalidates: contradicts `read_only`: what changes nothing makes no kept answer worthless; remove one of the two",
    ),
    (
        "[services.a.tools.t]\ninvalidates = [\"u\"]\ncache = true",
        "2:15: services.a.tools.t.invalidates: contradicts `cache`: what is answered from memory changes nothing, and makes no kept answer worthless; remove one of the two",
    ),
    // Calls that wait.
    (
        "[services.a]\ndeferrable = true",
        "2:1: services.a.deferrable: there is no such key; it is said of one tool: `tools.<name>.deferrable`",
    ),
    (
        "[services.a.tools.t]\ndeferrable = \"yes\"",
        "2:14: services.a.tools.t.deferrable: expected true or false, found \"yes\"",
    ),
    (
        "[services.a.tools.t]\nqueued = \"lwo\"",
        "2:10: services.a.tools.t.queued: expected \"low\", \"normal\", \"high\" or \"critical\", found \"lwo\"; did you mean \"low\"?",
    ),
    ("[services.a.tools.t]\nqueued = true", "2:10: services.a.tools.t.queued: expected a string, found true"),
    (
        "[services.a.tools.t]\norder_by = \"\"",
        "2:12: services.a.tools.t.order_by: expected a string that is not empty, found \"\"",
    ),
    // Calls that are made together.
    (
        "[services.a]\nbatch = 5",
        "2:1: services.a.batch: there is no such key; it is said of one tool: `tools.<name>.batch`",
    ),
    ("[services.a.tools.t]\nbatch = 5", "2:9: services.a.tools.t.batch: expected a table, found 5"),
    ("[services.a.tools.t]\nbatch = { tool = \"u\" }", "2:9: services.a.tools.t.batch: `items` is missing"),
    ("[services.a.tools.t]\nbatch = { items = \"i\" }", "2:9: services.a.tools.t.batch: `tool` is missing"),
    (
        "[services.a.tools.t]\nbatch = { tool = \"t\", items = \"i\" }",
        "2:18: services.a.tools.t.batch.tool: `t` is the tool itself; name the one that takes many",
    ),
    (
        "[services.a.tools.t]\nbatch = { tool = \"u\", items = \"i\", results = \"a..b\" }",
        "2:46: services.a.tools.t.batch.results: expected names joined by dots, such as \"data.results\", found \"a..b\"",
    ),
    (
        "[services.a.tools.t]\nbatch = { tool = \"u\", items = \"i\", window = \"1s\" }",
        "2:36: services.a.tools.t.batch.window: there is no such key; write `pin.\"batch.window\"`",
    ),
    // Who answers instead.
    ("[services.a.tools.t]\nfallback = \"b.t\"", "2:12: services.a.tools.t.fallback: expected a table, found \"b.t\""),
    ("[services.a.tools.t]\nfallback = { tool = \"t\" }", "2:12: services.a.tools.t.fallback: `service` is missing"),
    (
        "[services.crm_backup]\n[services.a.tools.t]\nfallback = { service = \"crm_bakup\", tool = \"t\" }",
        "3:24: services.a.tools.t.fallback.service: there is no service `crm_bakup`; did you mean `crm_backup`?",
    ),
    (
        "[services.a.tools.t]\nfallback = { service = \"a\", tool = \"t\" }",
        "2:12: services.a.tools.t.fallback: is the tool itself; name another",
    ),
    (
        "[services.a.tools.t]\nfallback = { service = \"b\", tool = \"t\" }\n[services.b.tools.t]\nfallback = { service = \"a\", tool = \"u\" }\n[services.a.tools.u]\nfallback = { service = \"b\", tool = \"t\" }",
        "6:12: services.a.tools.u.fallback: goes round in a circle, by `a.u`, `b.t`; remove one",
    ),
    // Variables.
    (
        "[services.a]\nendpoints = [{ url = \"http://a\" }]\nauth_token = \"${A_TOKEN}\"",
        "3:14: services.a.auth_token: the environment variable A_TOKEN is not set; set it, or write `${A_TOKEN:-default}`",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\" }]\nauth_token = \"${A_TOKEN:?ask Ann}\"",
        "3:14: services.a.auth_token: the environment variable A_TOKEN is not set: ask Ann",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\" }]\nauth_token = \"${EMPTY}\"",
        "3:14: services.a.auth_token: expected a string that is not empty, found a string",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\" }]\nauth_token = \"${SECRET_LINE}\"",
        "3:14: services.a.auth_token: contains a character that no header may contain, perhaps a line break at its end",
    ),
    // What requests are signed with.
    (
        "[services.a]\nurl = \"http://a\"\nsigning = \"${SECRET}\"",
        "3:11: services.a.signing: expected a table, found a string",
    ),
    (
        "[services.a]\nurl = \"http://a\"\nsigning = { key_id = \"poet\", secret = \"${SECRET}\" }",
        "3:39: services.a.signing.secret: expected at least 16 bytes as base64; `openssl rand -base64 32` makes such a secret",
    ),
    (
        "[services.a]\nurl = \"http://a\"\nsigning = { key_id = \"ü\", secret = \"c2l4dGVlbiBieXRlcyEhIQ==\", algorithm = \"ed25519\" }",
        "3:22: services.a.signing.key_id: expected printable characters of ASCII, which alone may stand in a signature\npoet.toml:3:36: services.a.signing.secret: expected a private key of Ed25519: PKCS#8 as PEM, or its 32 bytes as base64; `openssl genpkey -algorithm ed25519` makes one",
    ),
    (
        "[services.a]\nurl = \"http://a\"\nsigning = { keyid = \"poet\", algorithm = \"hmac\" }",
        "3:11: services.a.signing: `key_id` is missing\npoet.toml:3:11: services.a.signing: `secret` is missing\npoet.toml:3:13: services.a.signing.keyid: there is no such key; did you mean `key_id`?\npoet.toml:3:41: services.a.signing.algorithm: expected \"hmac-sha256\" or \"ed25519\", found a string",
    ),
    (
        "[services.a]\ncommand = \"a\"\nsigning = { key_id = \"poet\", secret = \"c2l4dGVlbiBieXRlcyEhIQ==\" }",
        "3:1: services.a.signing: `transport = \"stdio\"` does not understand this key",
    ),
    (
        "[services.a]\nendpoints = [{ url = \"http://a\", signing = {} }]",
        "2:34: services.a.endpoints[0].signing: there is no such key; it is said of the service: `signing`",
    ),
    // What may be called, and what is checked.
    (
        "[services.a]\naccess = \"readonly\"",
        "2:10: services.a.access: expected \"all\" or \"read_only\", found \"readonly\"; did you mean \"read_only\"?",
    ),
    (
        "[services.a]\nread_only = true",
        "2:1: services.a.read_only: there is no such key; write `access = \"read_only\"`, or of one tool what it is: `tools.<name>.read_only`",
    ),
    ("[services.a]\nallow = []", "2:9: services.a.allow: allows no tool; name some, or remove it to allow every one"),
    ("[services.a]\ndeny = \"drop_*\"", "2:8: services.a.deny: expected a list, found \"drop_*\""),
    (
        "[services.a]\nallow = [\"get_*\", \"drop\"]\ndeny = [\"drop\"]",
        "3:9: services.a.deny[0]: `drop` is in `allow` too; remove it from one of the two",
    ),
    ("[services.a]\nmasked_errors = true", "2:17: services.a.masked_errors: expected a string, found true"),
    (
        "[services.a.tools.t]\nmasked_errors = \"detected\"",
        "2:17: services.a.tools.t.masked_errors: expected \"detect\" or \"off\", found \"detected\"; did you mean \"detect\"?",
    ),
    (
        "[services.a.tools.t]\nschemas = \"validate\"",
        "2:11: services.a.tools.t.schemas: expected \"check\" or \"off\", found \"validate\"",
    ),
    (
        "[services.a]\ndomain = \"ü${A:-${B}}\"",
        "2:10: services.a.domain: a variable inside a variable is not understood; give it a plain default",
    ),
    (
        "store = { path = \"ü\", retention = \"${NEVER}\" }",
        "1:35: store.retention: the environment variable NEVER is not set; set it, or write `${NEVER:-default}`",
    ),
];
