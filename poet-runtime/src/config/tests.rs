//! Claims about whole files.

use super::*;
use crate::calendar::Window;
use crate::outcome::FailureKind;
use crate::parameter::{ATTEMPT_TIMEOUT, BASE_DELAY, CACHE_TTL, MAX_RETRIES};
use crate::site::Priority;

const EXAMPLE: &str = r#"
[store]
path = "poet.db"

[services.salesforce_crm]
domain     = "mcp_integration"
transport  = "http"                                   # http | stdio | sse | websocket
endpoints  = [{ url = "${CRM_MCP_URL:-http://localhost:8002/mcp}", weight = 2 }]
auth_token = "${CRM_TOKEN}"
timezone   = "America/New_York"

[services.salesforce_crm.tools.update_contact]
idempotent = true
cost       = 0.02

[services.salesforce_crm.pin]
"retry.max_retries" = 2
"#;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "CRM_TOKEN" | "SECRET" => "hunter2",
        "SECRET_LINE" => "hunter2\n",
        "YES" => "true",
        "PRICE" => "0.5",
        "LIMIT" => "3s",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

pub(super) fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("poet.toml", text, &env)
}

#[test]
fn the_example_means_what_it_says() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.store, StoreConfig { path: Some("poet.db".into()), ..StoreConfig::default() });
    let expected = ServiceConfig {
        endpoints: vec![Endpoint { url: "http://localhost:8002/mcp".to_owned(), weight: 2 }],
        timezone: Some("America/New_York".to_owned()),
        ..ServiceConfig::named("salesforce_crm")
    }
    .domain("mcp_integration")
    .auth_token("hunter2")
    .tool("update_contact", ToolConfig::default().idempotent().cost(0.02))
    .pin("retry.max_retries", 2);
    assert_eq!(config.services["salesforce_crm"], expected);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn what_may_be_called_and_what_is_checked_is_read_of_a_service_and_of_a_tool() {
    let config = parse(
        "[services.a]\naccess = \"read_only\"\nallow = [\"get_*\"]\ndeny = [\"get_all\"]\nmasked_errors = \"off\"\n\
         schemas = \"off\"\nprogress_extends = false\n[services.a.tools.get_one]\nmasked_errors = \"detect\"\n\
         schemas = \"check\"\nprogress_extends = true",
    )
    .unwrap();
    let tool = ToolConfig::default().masked_errors(Check::On).schemas(Check::On).progress_extends(true);
    let expected = ServiceConfig::named("a").read_only().allow("get_*").deny("get_all");
    let expected = expected.masked_errors(Check::Off).schemas(Check::Off).progress_extends(false).tool("get_one", tool);
    assert_eq!(config.services["a"], expected);
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
learning = "shadow"

[store]
path = "/var/lib/shop/poet.db"
retention = "7d"

[services.files]
command   = "files-server"
args      = ["--root", "${ROOT:-/srv}"]
env       = { TOKEN = "${SECRET}" }
trusted   = true
learning  = "off"
deadline  = "20s"
timeout   = "${LIMIT}"

[services.files.pin]
retry.base_delay = "250ms"

[services.files.tools."read.file"]
read_only = "${YES}"
cost      = "${PRICE}"
timeout   = "1s"
deadline  = "2s"
pin       = { retry.max_retries = 3 }

[services.files.tools.write]
pin = { "retry.max_retries" = 1, "retry.max_retries.timeout" = 0, "timeout.attempt" = 1.5 }

[services.stripe]
domain = "payments"
pin.retry.max_retries.connect = 3
"#,
    )
    .unwrap();
    assert_eq!(config.learning, Learning::Shadow);
    assert_eq!(config.store.retention, Duration::from_secs(7 * 86_400));

    let files = &config.services["files"];
    assert_eq!((files.transport, files.command.as_deref()), (Transport::Stdio, Some("files-server")));
    assert_eq!(files.args, ["--root", "/srv"]);
    assert_eq!(files.env["TOKEN"], "hunter2");
    assert!(files.trusted && files.has_address());
    assert_eq!(files.learning, Some(Learning::Off));
    assert_eq!((files.timeout, files.deadline), (Some(Duration::from_secs(3)), Some(Duration::from_secs(20))));
    assert_eq!(files.pin.get(&BASE_DELAY, None), Some(0.25));

    let read = &files.tools["read.file"];
    assert_eq!((read.read_only, read.idempotent, read.cost), (Some(true), None, Some(0.5)));
    assert_eq!((read.timeout, read.deadline), (Some(Duration::from_secs(1)), Some(Duration::from_secs(2))));
    assert_eq!(read.pin.get(&MAX_RETRIES, None), Some(3.0));

    let write = &files.tools["write"].pin;
    assert_eq!(write.get(&MAX_RETRIES, Some(FailureKind::Timeout)), Some(0.0));
    assert_eq!(write.get(&MAX_RETRIES, Some(FailureKind::Connect)), Some(1.0));
    assert_eq!(write.get(&ATTEMPT_TIMEOUT, None), Some(1.5));

    let stripe = &config.services["stripe"];
    assert!(!stripe.has_address());
    assert_eq!(stripe.pin.get(&MAX_RETRIES, Some(FailureKind::Connect)), Some(3.0));
    assert_eq!(stripe.pin.get(&MAX_RETRIES, None), None);
}

#[test]
fn every_key_that_moves_a_call_is_read() {
    let config = parse(
        r#"
[cache]
enabled     = false
max_entries = 5_000
max_bytes   = "1GiB"

[queue]
work         = "${NO:-false}"
concurrency  = 2
lease        = "10s"
max_pending  = 7
backoff = "5s"
max_attempts = 3
expire_after = "1h"
keep         = "2d"

[services.crm]
timezone    = "America/New_York"
avoid       = ["12:00-14:00", "mon-fri 08:00-09:00"]
maintenance = ["${NO:-first sat 02:00-06:00}"]

[services.crm.tools.get_customer]
read_only = true
cache     = { ttl = "5m", stale_while_revalidate = "1m", stale_if_error = "0s" }

[services.crm.tools.list]
cache = true
pin   = { "cache.ttl" = "2m", "batch.threshold" = 3, "batch.window" = 0.5, "batch.max_size" = 20 }

[services.crm.tools.find]
idempotent = true
cache      = "${LIMIT}"

[services.crm.tools.count]
cache = false

[services.crm.tools.update_customer]
invalidates = ["get_customer", "billing.get_account", "crm.list", "billing.eu.get"]
deferrable  = true
queued      = "low"
order_by    = "id"
batch       = { tool = "update_customers", items = "customers", results = "data.results" }
fallback    = { service = "billing.eu", tool = "update_customer" }

[services.crm.tools.score]
batch = { tool = "score_many", items = "rows" }

[services.billing]
[services."billing.eu"]
"#,
    )
    .unwrap();
    assert_eq!(config.cache, CacheBounds { enabled: false, max_entries: 5_000, max_bytes: 1 << 30 });
    let expected = QueueConfig {
        work: false,
        concurrency: 2,
        lease: Duration::from_secs(10),
        max_pending: 7,
        backoff: Duration::from_secs(5),
        max_attempts: 3,
        expire_after: Duration::from_secs(3_600),
        keep: Duration::from_secs(2 * 86_400),
    };
    assert_eq!(config.queue, expected);

    let hours = |windows: &[Window]| windows.iter().map(Window::to_string).collect::<Vec<_>>();
    assert_eq!(hours(&config.services["crm"].avoid), ["12:00-14:00", "mon-fri 08:00-09:00"]);
    assert_eq!(hours(&config.services["crm"].maintenance), ["first sat 02:00-06:00"]);

    let tools = &config.services["crm"].tools;
    let full = CacheConfig {
        ttl: Some(Duration::from_secs(300)),
        stale_while_revalidate: Some(Duration::from_secs(60)),
        stale_if_error: Some(Duration::ZERO),
    };
    assert_eq!(tools["get_customer"].cache, Some(full));
    assert_eq!(tools["list"].cache, Some(CacheConfig::default()));
    assert_eq!(tools["list"].pin.get(&CACHE_TTL, None), Some(120.0));
    assert_eq!(tools["list"].pin.iter().count(), 4);
    let three = CacheConfig { ttl: Some(Duration::from_secs(3)), ..CacheConfig::default() };
    assert_eq!(tools["find"].cache, Some(three));
    assert_eq!(tools["count"], ToolConfig::default());
    let update = ToolConfig::default()
        .invalidates("get_customer")
        .invalidates("billing.get_account")
        .invalidates("crm.list")
        .invalidates("billing.eu.get")
        .deferrable()
        .queued(Priority::Low)
        .order_by("id")
        .batch("update_customers", "customers", "data.results")
        .fallback("billing.eu", "update_customer");
    assert_eq!(tools["update_customer"], update);
    assert_eq!(tools["score"], ToolConfig::default().batch("score_many", "rows", ""));
    assert_eq!(config.check(), Ok(()));

    assert_eq!(config.operation("crm", "billing.eu.get"), Ok(("billing.eu", "get")));
    assert_eq!(config.operation("crm", "billing.get.all"), Ok(("billing", "get.all")));
    assert_eq!(config.operation("crm", "list"), Ok(("crm", "list")));
}

#[test]
fn a_tool_whose_name_has_dots_is_one_of_its_own_service() {
    let text = "[services.files.tools.\"read.file\"]\ncache = true\n\
                [services.files.tools.write]\ninvalidates = [\"read.file\", \"files.read.file\"]\n";
    let config = parse(text).unwrap();
    for written in ["read.file", "files.read.file"] {
        assert_eq!(config.operation("files", written), Ok(("files", "read.file")), "{written}");
    }
}

#[test]
fn contradictions_stand_among_the_other_problems_in_the_order_of_the_text_however_tables_are_written() {
    let error = parse(
        "[services.a.tools.t]\nidempotent = false\nqueued = \"lo\"\n\n[services.a.tools.t.cache]\nttl = \"5m\"\n\n\
         [services.a.tools.t.pin]\ncache.ttl = 60\n\n[services.a.tools.u]\nread_only = false\ncache.ttl = \"5m\"\n\
         fallback.service = \"b\"\nfallback.tool = \"u\"\n\n[queue]\nconcurrency = 0\n",
    )
    .unwrap_err();
    let told: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    let begins = [
        "poet.toml:3:10: services.a.tools.t.queued: expected \"low\"",
        "poet.toml:5:1: services.a.tools.t.cache: contradicts `idempotent = false`",
        "poet.toml:5:21: services.a.tools.t.cache: says the same as `pin.\"cache.ttl\"`",
        "poet.toml:13:1: services.a.tools.u.cache: contradicts `read_only = false`",
        "poet.toml:14:20: services.a.tools.u.fallback.service: there is no service `b`",
        "poet.toml:18:15: queue.concurrency: expected a whole number from 1 to 256, found 0",
    ];
    assert_eq!(told.len(), begins.len(), "{error}");
    for (told, begins) in told.iter().zip(begins) {
        assert!(told.starts_with(begins), "{told}");
    }
}

#[test]
fn a_circle_of_fallbacks_is_told_once_and_what_leads_into_it_is_not_accused() {
    let tool = |service, tool| ToolConfig::default().fallback(service, tool);
    let config = Config::default()
        .service(ServiceConfig::named("a").tool("t", tool("b", "t")))
        .service(ServiceConfig::named("b").tool("t", tool("c", "t")))
        .service(ServiceConfig::named("c").tool("t", tool("b", "t")))
        .service(ServiceConfig::named("d").tool("t", tool("e", "t")))
        .service(ServiceConfig::named("e"));
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "services.b.tools.t.fallback: goes round in a circle, by `b.t`, `c.t`; remove one"
    );
}

#[test]
fn every_key_stands_before_the_preset_wherever_it_is_written() {
    let config = parse("cache.max_entries = 5\nlearning = \"on\"\npreset = \"test\"\nstore.path = \"t.db\"\n").unwrap();
    assert_eq!(config.preset, Some(&Preset::TEST));
    assert_eq!(config.learning, Learning::On);
    assert_eq!(config.cache, CacheBounds { enabled: false, max_entries: 5, ..CacheBounds::default() });
    assert!(!config.queue.work);
    assert_eq!((config.store.path, config.store.memory), (Some("t.db".into()), false), "who names a file wants one");
    for preset in Preset::ALL {
        let file = Config { file: Some("poet.toml".into()), ..Config::preset(preset) };
        assert_eq!(parse(&format!("preset = \"{}\"", preset.name)), Ok(file));
    }
}

#[test]
fn a_retry_strategy_is_that_of_a_service_or_of_a_tool() {
    let config = parse(
        "[services.a]\nretry = \"standard\"\nretry_attempts = 2\n\n[services.a.tools.t]\nretry = \"throttle\"\n\
         timeout_ms = 250\n\n[services.a.tools.u]\nretry_attempts = 1\n",
    )
    .unwrap();
    let meant = |operation: &str| {
        let values = config.services["a"].values(operation, crate::Profile::GENERAL);
        (values.most_retries(), values.base_delay, values.max_delay, values.attempt_timeout)
    };
    let second = Duration::from_secs(1);
    assert_eq!(meant("any"), (1, second, 30 * second, 10 * second));
    assert_eq!(meant("t"), (2, 2 * second, 30 * second, second / 4));
    assert_eq!(meant("u"), (0, second, 30 * second, 10 * second));
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("# nothing\n").unwrap();
    assert_eq!(config, Config { file: Some("poet.toml".into()), ..Config::default() });
}

#[test]
fn all_problems_of_a_file_are_reported_at_once_in_their_order() {
    let error = parse(
        "learning = 5\n\n[services.b]\ntrusted = \"no\"\ncolour = 1\nendpoints = [{ url = \"${X} ${Y}\" }]\n\
         [services.a]\ndeadline = \"1y\"\n",
    )
    .unwrap_err();
    let places: Vec<_> = error.problems().iter().filter_map(Problem::place).map(|p| (p.line, p.column)).collect();
    assert_eq!(places, [(1, 12), (4, 11), (5, 1), (6, 22), (6, 22), (8, 12)]);
    assert_eq!(error.to_string().lines().count(), 6);
    assert_eq!(error.problems()[0].file(), Some("poet.toml"));
}

#[test]
fn errors_of_syntax_are_placed_and_do_not_quote_the_line() {
    for text in [
        "a = 1\n[services.a]\nauth_token = hunter2\n",
        "a = 1\n[services.a]\nauth_token = \"hunter2\n",
        "a = 1\n[services.a]\nauth_token = \"hunter2\" hunter2\n",
        "a = 1\n[services.a]\nauth_token \"hunter2\"\n",
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.problems()[0].place().map(|place| place.line), Some(3), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let twice = parse("a = 1\na = 2\nb = 1\nb = 2\n").unwrap_err();
    assert_eq!(twice.to_string(), "poet.toml:2:1: duplicate key\npoet.toml:4:1: duplicate key");
}

#[test]
fn what_requests_are_signed_with_is_read_of_a_table() {
    let read = |signing: &str| {
        let config = parse(&format!("[services.a]\nurl = \"http://a\"\nsigning = {signing}")).unwrap();
        config.services["a"].signing.clone().unwrap()
    };
    let shared = read(r#"{ key_id = "poet-1", secret = "c2l4dGVlbiBieXRlcyEhIQ==" }"#);
    assert_eq!((shared.algorithm(), shared.key_id()), (SigningAlgorithm::HmacSha256, "poet-1"));
    assert_eq!(shared.key(), b"sixteen bytes!!!");
    let seed = "n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=";
    let own = read(&format!("{{ key_id = \"poet-1\", secret = \"{seed}\", algorithm = \"ed25519\" }}"));
    assert_eq!(Ok(own), Signing::new(SigningAlgorithm::Ed25519, "poet-1", seed));
}

/// Every place a string can stand in, with a secret in it.
#[test]
fn no_secret_is_in_an_error_or_a_debug_form() {
    let config = parse(EXAMPLE).unwrap();
    assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
    assert_eq!(config.services["salesforce_crm"].auth_token.as_ref().map(Secret::expose), Some("hunter2"));

    let service_keys = [
        "domain",
        "transport",
        "endpoints",
        "command",
        "args",
        "env",
        "auth_token",
        "signing",
        "signing.key_id",
        "signing.secret",
        "signing.algorithm",
        "trusted",
        "timezone",
        "learning",
        "deadline",
        "timeout",
        "timeout_ms",
        "retry",
        "retry_attempts",
        "url",
        "tools",
        "pin",
        "avoid",
        "maintenance",
        "unknown",
    ];
    let tool_keys = [
        "idempotent",
        "read_only",
        "cost",
        "timeout",
        "timeout_ms",
        "retry",
        "retry_attempts",
        "deadline",
        "pin",
        "cache",
        "invalidates",
        "deferrable",
        "queued",
        "order_by",
        "batch",
        "batch.tool",
        "batch.results",
        "fallback",
        "fallback.service",
    ];
    let in_services = service_keys.map(|key| format!("[services.a]\nbad = 1\n{key}"));
    let in_tools = tool_keys.map(|key| format!("[services.a]\nbad = 1\n[services.a.tools.t]\n{key}"));
    for key in in_services.iter().chain(&in_tools) {
        for value in ["\"${SECRET}\"", "[\"${SECRET}\"]", "{ x = \"${SECRET}\" }", "[{ url = \"${SECRET}\" }]"] {
            let error = parse(&format!("{key} = {value}")).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{key} = {value}: {error}");
        }
    }
    for key in [
        "preset",
        "[store]\nmemory",
        "[cache]\nmax_bytes",
        "[cache]\nenabled",
        "[queue]\nlease",
        "[queue]\nconcurrency",
    ] {
        let error = parse(&format!("{key} = \"${{SECRET}}\"")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{key}: {error}");
    }
    for key in ["auth_token = \"hunter2\\n\"", "env = \"hunter2\"", "args = \"hunter2\"", "env = { A = [\"hunter2\"] }"]
    {
        let error = parse(&format!("[services.a]\n{key}")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{key}: {error}");
    }
}

#[test]
fn what_a_program_got_wrong_is_found_by_check() {
    let config = Config::default().service(
        ServiceConfig::http("a", "http://a")
            .pin("retry.max_retris", 1)
            .tool("t", ToolConfig::default().pin("timeout.attempt", 900)),
    );
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "services.a.pin.\"retry.max_retris\": there is no parameter `retry.max_retris`; did you mean \
         `retry.max_retries`?\nservices.a.tools.t.pin.\"timeout.attempt\": expected seconds from 0.005 to 300, or a \
         duration such as \"2s\", found 900"
    );
}

#[test]
fn a_program_is_told_the_contradictions_that_a_file_is_told() {
    let five = CacheConfig { ttl: Some(Duration::from_secs(300)), ..CacheConfig::default() };
    let never = CacheConfig { ttl: Some(Duration::ZERO), ..CacheConfig::default() };
    let write = ToolConfig { read_only: Some(false), ..ToolConfig::default() };
    let odd = ToolConfig { idempotent: Some(false), ..ToolConfig::default() };
    let config = Config {
        cache: CacheBounds { max_entries: 0, max_bytes: 0, ..CacheBounds::default() },
        queue: QueueConfig { concurrency: 0, lease: Duration::ZERO, ..QueueConfig::default() },
        ..Config::default()
    }
    .service(
        ServiceConfig::named("a")
            .timeout(Duration::from_secs(9))
            .deadline(Duration::from_secs(2))
            .tool("b", ToolConfig::default().batch("b", " ", "x..y").order_by(""))
            .tool("c", write.cache(five).pin("cache.ttl", 5).timeout(Duration::from_secs(1)))
            .tool("d", odd.read_only().cache(never))
            .tool("read.all", ToolConfig::default().invalidates("read.all").invalidates("A.get"))
            .tool("z", ToolConfig::default().fallback("a", "z"))
            .tool("zz", ToolConfig::default().fallback("A", "z")),
    );
    let told: Vec<_> = [
        "cache.max_entries: expected a whole number from 1 to 10000000, found 0",
        "cache.max_bytes: expected a size from 1 to \"1TiB\", a number of bytes or such as \"64MiB\", found 0",
        "queue.concurrency: expected a whole number from 1 to 256, found 0",
        "queue.lease: expected a duration from \"1s\" to \"1h\", found \"0s\"",
        "services.a.tools.b.order_by: expected a string that is not empty, found \"\"",
        "services.a.tools.b.batch.items: expected a string that is not empty, found \" \"",
        "services.a.tools.b.batch.results: expected names joined by dots, such as \"data.results\", found \"x..y\"",
        "services.a.tools.d.cache.ttl: expected a duration from \"1ms\" to \"1d\", found \"0s\"; write `cache = false` \
         where nothing is to be kept",
        "services.a.timeout: one attempt may not take longer (9s) than the whole call (2s)",
        "services.a.tools.b.batch.tool: `b` is the tool itself; name the one that takes many",
        "services.a.tools.c.cache: contradicts `read_only = false`: the answer of a write is never kept; remove one of \
         the two",
        "services.a.tools.c.cache: says the same as `pin.\"cache.ttl\"`; keep one of the two",
        "services.a.tools.d.idempotent: contradicts `read_only`: what changes nothing may be executed more than once",
        "services.a.tools.\"read.all\".invalidates[0]: names the tool itself; name those whose kept answers it makes \
         worthless",
        "services.a.tools.\"read.all\".invalidates[1]: there is no service `A`; did you mean `a`?",
        "services.a.tools.z.fallback: is the tool itself; name another",
        "services.a.tools.zz.fallback.service: there is no service `A`; did you mean `a`?",
    ]
    .into();
    assert_eq!(config.check().unwrap_err().to_string().lines().collect::<Vec<_>>(), told);

    let [night, day] = ["20:00-08:00", "08:00-20:00"].map(|hours| hours.parse::<Window>().unwrap());
    let away = ServiceConfig { timezone: Some("Mars/Olympus".to_owned()), ..ServiceConfig::named("a") };
    let config = Config::default().service(away.avoid(night).maintenance(day));
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "services.a.avoid: leaves no hour of the week with `maintenance`; leave some in which calls may be made\n\
         services.a.timezone: there is no such time zone; expected an IANA name such as \"America/New_York\""
    );
}

#[test]
fn every_example_and_every_parameter_of_the_documentation_is_true() {
    let page = include_str!("../../../docs/configuration.md");
    for (syntax, number) in [("toml", 6), ("yaml", 1)] {
        let begins = format!("```{syntax}\n");
        let examples: Vec<_> = page.split(&begins).skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(examples.len(), number, "{syntax}");
        for example in examples {
            // A variable with a default is left unset, so that the default is what is read.
            let env = |name: &str| (!example.contains(&format!("{name}:-"))).then(|| "x".to_owned());
            assert_eq!(Config::parse(&format!("poet.{syntax}"), example, &env).err(), None, "{example}");
        }
    }
    for strategy in RetryStrategy::ALL {
        let grows = match strategy.growth {
            crate::parameter::Growth::Doubling => "twice as long each time".to_owned(),
            crate::parameter::Growth::By(step) => format!("{step:?} longer each time").replacen('s', " s", 1),
        };
        let [base, longest] = [strategy.base, strategy.longest].map(|delay| {
            let short = duration::show(delay);
            let unit = short.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{} {unit}", short.trim_end_matches(unit))
        });
        let row = format!("| `\"{}\"` | {} | {base} | {grows} | {longest} |", strategy.name, strategy.attempts);
        assert!(page.contains(&row), "{row}");
    }
    for preset in Preset::ALL {
        let row = format!(
            "| `{}` | `\"{}\"` | `\"{}\"` | `{}` | `{}` | `{}` |",
            preset.name,
            preset.learning.as_str(),
            duration::show(preset.retention),
            preset.memory,
            preset.cache,
            preset.work
        );
        assert!(page.contains(&row), "{row}");
    }
    for parameter in crate::parameter::ALL {
        let shown = |value: f64| match parameter.unit {
            crate::parameter::Unit::Seconds => {
                let short = duration::show(Duration::from_secs_f64(value));
                let unit = short.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{} {unit}", short.trim_end_matches(unit))
            }
            _ => value.to_string(),
        };
        let bounds = format!("{} to {} |", shown(parameter.min), shown(parameter.max));
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", parameter.name)));
        assert!(row.is_some_and(|row| row.ends_with(&bounds)), "{}: {bounds}", parameter.name);
    }
}
