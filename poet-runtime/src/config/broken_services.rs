//! A configuration of three services, and what is said where a part of it is broken.

use super::*;
use crate::config::Transport;
use std::time::Duration;

/// As people who come from other clients of the protocol write it.
const SERVICES: &str = r#"services:
  notion:
    url: "${NOTION_MCP_URL:-http://localhost:8002}"
    transport: http
    auth_token: "${NOTION_AUTH_TOKEN}"
    timeout_ms: 30000
    retry_attempts: 3

  helpscout:
    url: "${HELPSCOUT_MCP_URL:-http://localhost:8001}"
    transport: http
    auth_token: "${HELPSCOUT_AUTH_TOKEN}"
    timeout_ms: 15000
    retry_attempts: 2

  slack:
    url: "${SLACK_MCP_URL:-http://localhost:8003}"
    transport: websocket
    auth_token: "${SLACK_BOT_TOKEN}"
    timeout_ms: 10000
    retry_attempts: 1
"#;

/// The same, in the other syntax.
const IN_TOML: &str = r#"[services.notion]
url            = "${NOTION_MCP_URL:-http://localhost:8002}"
transport      = "http"
auth_token     = "${NOTION_AUTH_TOKEN}"
timeout_ms     = 30000
retry_attempts = 3

[services.helpscout]
url            = "${HELPSCOUT_MCP_URL:-http://localhost:8001}"
transport      = "http"
auth_token     = "${HELPSCOUT_AUTH_TOKEN}"
timeout_ms     = 15000
retry_attempts = 2

[services.slack]
url            = "${SLACK_MCP_URL:-http://localhost:8003}"
transport      = "websocket"
auth_token     = "${SLACK_BOT_TOKEN}"
timeout_ms     = 10000
retry_attempts = 1
"#;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "NOTION_AUTH_TOKEN" | "HELPSCOUT_AUTH_TOKEN" | "SLACK_BOT_TOKEN" => "hunter2",
        "EMPTY" => "",
        "SOON" => "soon",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
    Config::parse(file, text, &env)
}

#[test]
fn three_services_mean_what_they_say_in_both_syntaxes() {
    let [yaml, toml] = [("poet.yaml", SERVICES), ("poet.toml", IN_TOML)].map(|(file, text)| parse(file, text).unwrap());
    assert_eq!(yaml.services, toml.services);
    let meant = |name: &str| {
        let service = &yaml.services[name];
        let values = service.values("any", crate::Profile::GENERAL);
        assert_eq!(service.auth_token.as_ref().map(Secret::expose), Some("hunter2"), "{name}");
        (service.transport, service.endpoints[0].url.as_str(), values.attempt_timeout, values.most_retries() + 1)
    };
    let seconds = Duration::from_secs;
    assert_eq!(meant("notion"), (Transport::Http, "http://localhost:8002", seconds(30), 3));
    assert_eq!(meant("helpscout"), (Transport::Http, "http://localhost:8001", seconds(15), 2));
    assert_eq!(meant("slack"), (Transport::WebSocket, "ws://localhost:8003", seconds(10), 1));
    assert_eq!(yaml.check(), Ok(()));
}

#[test]
fn a_part_that_is_broken_is_named_with_its_place_and_what_to_write() {
    let mut wrong = Vec::new();
    for (file, whole, faults) in [("poet.yaml", SERVICES, BROKEN), ("poet.toml", IN_TOML, BROKEN_IN_TOML)] {
        for (part, broken, expected) in faults {
            assert!(whole.contains(part), "{part}");
            let found = match parse(file, &whole.replacen(part, broken, 1)) {
                Ok(_) => "accepted".to_owned(),
                Err(error) => error.to_string(),
            };
            if found != format!("{file}:{expected}") {
                wrong.push(format!("--- {part} -> {broken}\n  expected {file}:{expected}\n  found    {found}"));
            }
            assert!(!found.contains("hunter2"), "{found}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_problems_are_told_at_once_in_yaml_too() {
    let text = SERVICES
        .replace("transport: websocket", "transport: grpc")
        .replace("timeout_ms: 30000", "timeout_ms: 0")
        .replace("${HELPSCOUT_AUTH_TOKEN}", "${HELPSCOUT_TOKEN}");
    let error = parse("poet.yaml", &text).unwrap_err();
    let places: Vec<_> = error.problems().iter().filter_map(Problem::place).map(|p| (p.line, p.column)).collect();
    assert_eq!(places, [(6, 17), (12, 17), (18, 16)]);
}

type Fault = (&'static str, &'static str, &'static str);

/// One fault each: a part of the whole, what stands there instead, and what is said after `poet.yaml:`.
const BROKEN: &[Fault] = &[
    // Keys.
    ("services:", "service:", "1:1: service: there is no such key; write `services.<name>`"),
    (
        "    timeout_ms: 30000",
        "    timeout_msec: 30000",
        "6:5: services.notion.timeout_msec: there is no such key; did you mean `timeout_ms`?",
    ),
    (
        "    retry_attempts: 3",
        "    retry_attempt: 3",
        "7:5: services.notion.retry_attempt: there is no such key; did you mean `retry_attempts`?",
    ),
    (
        "    retry_attempts: 3",
        "    retries: 3",
        "7:5: services.notion.retries: there is no such key; write `retry_attempts`, which counts the first attempt too",
    ),
    (
        "    auth_token: \"${N",
        "    token: \"${N",
        "5:5: services.notion.token: there is no such key; did you mean `auth_token`?",
    ),
    (
        "    url: \"${N",
        "    uri: \"${N",
        "2:3: services.notion: `url` is missing; write where it is reached, or `endpoints` where there are several places\npoet.yaml:3:5: services.notion.uri: there is no such key; did you mean `url`?",
    ),
    ("    timeout_ms: 15000", "    transport: http", "13:5: duplicate key"),
    // Types.
    (
        "    timeout_ms: 30000",
        "    timeout_ms: 30s",
        "6:17: services.notion.timeout_ms: expected a whole number from 5 to 300000, found \"30s\"",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms: \"30000\"",
        "6:17: services.notion.timeout_ms: expected a whole number from 5 to 300000, found \"30000\"",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms: 30000.5",
        "6:17: services.notion.timeout_ms: expected a whole number from 5 to 300000, found 30000.5",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms: ${SOON}",
        "6:17: services.notion.timeout_ms: expected a whole number from 5 to 300000, found the value of \"${SOON}\"",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms:",
        "6:5: services.notion.timeout_ms: expected a whole number from 5 to 300000, found nothing",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout: 30000",
        "6:14: services.notion.timeout: expected a duration from \"5ms\" to \"5m\", found 30000",
    ),
    (
        "    timeout_ms: 30000",
        "    trusted: yes",
        "6:14: services.notion.trusted: expected true or false, found \"yes\"",
    ),
    (
        "    retry_attempts: 3",
        "    retry_attempts: three",
        "7:21: services.notion.retry_attempts: expected a whole number from 1 to 11, found \"three\"",
    ),
    (
        "    retry_attempts: 3",
        "    retry_attempts: [3]",
        "7:21: services.notion.retry_attempts: expected a whole number from 1 to 11, found a list",
    ),
    (
        "auth_token: \"${NOTION_AUTH_TOKEN}\"",
        "auth_token: 12345",
        "5:17: services.notion.auth_token: expected a string, found a number",
    ),
    ("  notion:\n", "  notion:\n    - ", "4:5: expected `-`, indented as those before it"),
    (
        "  notion:",
        "  zendesk:\n  notion:",
        "2:3: services.zendesk: expected a table, `{}` where there is nothing to say, found nothing",
    ),
    // Ranges.
    (
        "    timeout_ms: 30000",
        "    timeout_ms: 4",
        "6:17: services.notion.timeout_ms: expected a whole number from 5 to 300000, found 4",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms: 300001",
        "6:17: services.notion.timeout_ms: expected a whole number from 5 to 300000, found 300001",
    ),
    (
        "    retry_attempts: 3",
        "    retry_attempts: 0",
        "7:21: services.notion.retry_attempts: expected a whole number from 1 to 11, found 0",
    ),
    (
        "    retry_attempts: 3",
        "    retry_attempts: 12",
        "7:21: services.notion.retry_attempts: expected a whole number from 1 to 11, found 12",
    ),
    (
        "    retry_attempts: 3",
        "    retry: fast",
        "7:12: services.notion.retry: expected \"quick\", \"standard\", \"network\" or \"throttle\", found \"fast\"",
    ),
    (
        "transport: websocket",
        "transport: web_socket",
        "18:16: services.slack.transport: expected \"http\", \"stdio\", \"sse\" or \"websocket\", found \"web_socket\"; did you mean \"websocket\"?",
    ),
    (
        "transport: websocket",
        "transport: grpc",
        "18:16: services.slack.transport: expected \"http\", \"stdio\", \"sse\" or \"websocket\", found \"grpc\"",
    ),
    (
        "http://localhost:8002",
        "localhost:8002",
        "3:10: services.notion.url: expected an address such as \"http://localhost:8002/mcp\", found the value of a variable",
    ),
    (
        "http://localhost:8002",
        "ws://localhost:8002",
        "3:10: services.notion.url: expected an address such as \"http://localhost:8002/mcp\", found the value of a variable; `transport = \"websocket\"` is reached at that",
    ),
    (
        "http://localhost:8003",
        "ftp://localhost:8003",
        "17:10: services.slack.url: expected an address such as \"ws://localhost:8003\", found the value of a variable",
    ),
    (
        "http://localhost:8002",
        "http://localhost:80020",
        "3:10: services.notion.url: expected an address such as \"http://localhost:8002/mcp\", found the value of a variable",
    ),
    // What is missing, and what contradicts.
    (
        "    url: \"${NOTION_MCP_URL:-http://localhost:8002}\"\n",
        "",
        "2:3: services.notion: `url` is missing; write where it is reached, or `endpoints` where there are several places",
    ),
    (
        "transport: websocket",
        "transport: stdio",
        "16:3: services.slack: `command` is missing; write the program to start\npoet.yaml:17:5: services.slack.url: `transport = \"stdio\"` does not understand this key\npoet.yaml:19:5: services.slack.auth_token: `transport = \"stdio\"` does not understand this key",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms: 30000\n    timeout: 30s",
        "6:5: services.notion.timeout_ms: says the same as `timeout`; keep one of the two",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms: 30000\n    deadline: 10s",
        "6:17: services.notion.timeout_ms: one attempt may not take longer (30s) than the whole call (10s)",
    ),
    (
        "    timeout_ms: 30000",
        "    timeout_ms: 30000\n    pin: { timeout.attempt: 3 }",
        "6:5: services.notion.timeout_ms: says the same as `pin.\"timeout.attempt\"`; keep one of the two",
    ),
    (
        "    retry_attempts: 3",
        "    retry_attempts: 3\n    pin: { retry.max_retries: 3 }",
        "7:5: services.notion.retry_attempts: says the same as `pin.\"retry.max_retries\"`; keep one of the two",
    ),
    (
        "    transport: http\n",
        "    endpoints: [{ url: \"http://localhost:9\" }]\n",
        "3:5: services.notion.url: says the same as `endpoints`; keep one of the two",
    ),
    (
        "    transport: http\n",
        "    command: notion-server\n",
        "4:5: services.notion.command: only `transport = \"stdio\"` understands this key",
    ),
    // Variables.
    (
        "${NOTION_AUTH_TOKEN}",
        "${NOTION_TOKEN}",
        "5:17: services.notion.auth_token: the environment variable NOTION_TOKEN is not set; set it, or write `${NOTION_TOKEN:-default}`",
    ),
    (
        "${NOTION_AUTH_TOKEN}",
        "${EMPTY}",
        "5:17: services.notion.auth_token: expected a string that is not empty, found a string",
    ),
    (
        "${NOTION_AUTH_TOKEN}",
        "${NOTION_AUTH_TOKEN",
        "5:17: services.notion.auth_token: `${` without `}`; write `$${` for a literal `${`",
    ),
    (
        "${NOTION_MCP_URL:-http://localhost:8002}",
        "${NOTION_MCP_URL}",
        "3:10: services.notion.url: the environment variable NOTION_MCP_URL is not set; set it, or write `${NOTION_MCP_URL:-default}`",
    ),
    (
        "${NOTION_MCP_URL:-http://localhost:8002}",
        "${NOTION_MCP_URL:-${HOST}}",
        "3:10: services.notion.url: a variable inside a variable is not understood; give it a plain default",
    ),
    // Syntax.
    ("  slack:", "\tslack:", "16:1: a tab, where YAML is indented with spaces"),
    ("  slack:", " slack:", "16:2: expected a key, indented as those before it"),
    ("  helpscout:", "  notion:", "9:3: duplicate key"),
    (
        "    retry_attempts: 2",
        "    retry_attempts: 2\n    <<: {}",
        "15:5: merge keys are not part of YAML 1.2 and are not read; write the keys out",
    ),
    ("  helpscout:", "---\n  helpscout:", "9:1: a second document is not read; remove what follows"),
    ("\"${NOTION_AUTH_TOKEN}\"", "\"${NOTION_AUTH_TOKEN}", "5:17: a string in quotes does not end"),
    ("    retry_attempts: 3", "    retry_attempts 3", "7:5: expected `key: value`; the `:` is missing"),
    (
        "    retry_attempts: 3",
        "    retry_attempts: !!str 3",
        "7:21: tags are not read; write a string in quotes, and anything else without a tag",
    ),
    ("    retry_attempts: 3", "    retry_attempts: *three", "7:21: there is no anchor of this name before"),
];

/// The same, after `poet.toml:`.
const BROKEN_IN_TOML: &[Fault] = &[
    (
        "timeout_ms     = 30000",
        "timeout_ms     = \"30s\"",
        "5:18: services.notion.timeout_ms: expected a whole number from 5 to 300000, found \"30s\"",
    ),
    (
        "timeout_ms     = 30000",
        "timeout_ms     = 30000\ntimeout = \"30s\"",
        "5:1: services.notion.timeout_ms: says the same as `timeout`; keep one of the two",
    ),
    (
        "retry_attempts = 3",
        "retry_attempts = 0",
        "6:18: services.notion.retry_attempts: expected a whole number from 1 to 11, found 0",
    ),
    (
        "retry_attempts = 3",
        "retry_attempts = 3\npin = { \"retry.max_retries\" = 3 }",
        "6:1: services.notion.retry_attempts: says the same as `pin.\"retry.max_retries\"`; keep one of the two",
    ),
    (
        "transport      = \"websocket\"",
        "transport      = \"stdio\"",
        "15:11: services.slack: `command` is missing; write the program to start\npoet.toml:16:1: services.slack.url: `transport = \"stdio\"` does not understand this key\npoet.toml:18:1: services.slack.auth_token: `transport = \"stdio\"` does not understand this key",
    ),
    (
        "[services.helpscout]",
        "[services.notion]",
        "8:11: duplicate key\npoet.toml:9:1: duplicate key\npoet.toml:10:1: duplicate key\npoet.toml:11:1: duplicate key\npoet.toml:12:1: duplicate key\npoet.toml:13:1: duplicate key",
    ),
    (
        "retry_attempts = 3",
        "retry = \"standrad\"",
        "6:9: services.notion.retry: expected \"quick\", \"standard\", \"network\" or \"throttle\", found \"standrad\"; did you mean \"standard\"?",
    ),
    (
        "retry_attempts = 3",
        "endpoints = [{ url = \"http://a\" }, { url = \"http://a\", weight = 0 }]",
        "2:1: services.notion.url: says the same as `endpoints`; keep one of the two\npoet.toml:6:65: services.notion.endpoints[1].weight: expected a whole number from 1 to 1000, found 0",
    ),
];
