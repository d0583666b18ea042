//! Claims about whole files.

use super::*;
use crate::outcome::FailureKind;
use crate::parameter::{ATTEMPT_TIMEOUT, BASE_DELAY, MAX_RETRIES};

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
    assert_eq!(config.store, StoreConfig { path: Some("poet.db".into()), retention: Duration::from_secs(2_592_000) });
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
fn a_key_whose_part_is_not_built_yet_is_refused_at_its_place() {
    let error = parse(&EXAMPLE.replace("cost       = 0.02", "deferrable = true\ncost       = 0.02")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "poet.toml:14:1: services.salesforce_crm.tools.update_contact.deferrable: \
         deferring calls is not built yet; remove the key"
    );
    assert_eq!(error.problems()[0].place(), Some(Place { line: 14, column: 1 }));
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
        "trusted",
        "timezone",
        "learning",
        "deadline",
        "timeout",
        "tools",
        "pin",
        "unknown",
    ];
    let tool_keys = ["idempotent", "read_only", "cost", "timeout", "deadline", "pin", "deferrable"];
    let in_services = service_keys.map(|key| format!("[services.a]\nbad = 1\n{key}"));
    let in_tools = tool_keys.map(|key| format!("[services.a]\nbad = 1\n[services.a.tools.t]\n{key}"));
    for key in in_services.iter().chain(&in_tools) {
        for value in ["\"${SECRET}\"", "[\"${SECRET}\"]", "{ x = \"${SECRET}\" }", "[{ url = \"${SECRET}\" }]"] {
            let error = parse(&format!("{key} = {value}")).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{key} = {value}: {error}");
        }
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
fn every_example_and_every_parameter_of_the_documentation_is_true() {
    let page = include_str!("../../../docs/configuration.md");
    let examples: Vec<_> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        // A variable with a default is left unset, so that the default is what is read.
        let env = |name: &str| (!example.contains(&format!("{name}:-"))).then(|| "x".to_owned());
        assert_eq!(Config::parse("poet.toml", example, &env).err(), None, "{example}");
    }
    for parameter in crate::parameter::ALL {
        let shown = |value: f64| match parameter.unit {
            crate::parameter::Unit::Count => value.to_string(),
            crate::parameter::Unit::Seconds => {
                let short = duration::show(Duration::from_secs_f64(value));
                let unit = short.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{} {unit}", short.trim_end_matches(unit))
            }
        };
        let bounds = format!("{} to {} |", shown(parameter.min), shown(parameter.max));
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", parameter.name)));
        assert!(row.is_some_and(|row| row.ends_with(&bounds)), "{}: {bounds}", parameter.name);
    }
}
