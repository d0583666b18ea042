//! What a configuration comes to, as text and as JSON: for each service how it is reached, and what holds for its calls
//! before anything is learned. Neither has a token, an argument or a variable of a program in it.

use crate::lines::wrapped;
use poet_domains::MCP_INTEGRATION;
use poet_runtime::calendar::Window;
use poet_runtime::config::{AuditConfig, AuditLevel, AuditRules, Config, Endpoint, ServiceConfig, ToolConfig};
use poet_runtime::parameter::{self, Growth, Values};
use poet_runtime::report::text::Style;
use poet_runtime::{FailureKind, Profile};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// No tool has this name: what holds for all that are not configured themselves.
const ANY: &str = "";

/// A service and what holds for it.
pub(crate) struct Resolved<'c> {
    service: &'c ServiceConfig,
    profile: &'static Profile,
    /// What may be meant otherwise.
    note: Option<String>,
}

impl<'c> Resolved<'c> {
    pub(crate) fn of(service: &'c ServiceConfig) -> Self {
        let default = if service.has_address() { &MCP_INTEGRATION } else { Profile::GENERAL };
        let known = || poet_domains::ALL.iter().copied().chain([Profile::GENERAL]);
        let named = service.domain.as_deref().map(|domain| (domain, known().find(|profile| profile.name == domain)));
        let profile = named.and_then(|(_, profile)| profile).unwrap_or(default);
        let note = match named {
            Some((domain, None)) => Some(format!(
                "the domain `{domain}` is not one that comes along; the program has to bring it, by Builder::profile"
            )),
            _ => hurried(&service.values(ANY, profile)),
        };
        Self { service, profile, note }
    }

    fn reached(&self) -> String {
        let service = self.service;
        if !service.has_address() {
            return "called by functions".to_owned();
        }
        let mut reached = match &service.command {
            Some(command) => format!("{}  {command}", service.transport.as_str()),
            None => {
                let one = |endpoint: &Endpoint| match endpoint.weight {
                    1 => endpoint.showable(),
                    weight => format!("{} (weight {weight})", endpoint.showable()),
                };
                let all: Vec<_> = service.endpoints.iter().map(one).collect();
                format!("{}  {}", service.transport.as_str(), all.join(", "))
            }
        };
        for (what, count) in [("argument", service.args.len()), ("variable", service.env.len())] {
            if count > 0 {
                let _ = write!(reached, ", {count} {what}{}", if count == 1 { "" } else { "s" });
            }
        }
        if service.auth_token.is_some() {
            reached.push_str(", with a token");
        }
        if let Some(signing) = &service.signing {
            let _ = write!(reached, ", signed by {}", signing.algorithm().as_str());
        }
        if service.trusted {
            reached.push_str(", trusted");
        }
        reached
    }

    /// Every parameter that is held for an operation: its name, its value for a person, and its value.
    fn held(&self, operation: &str) -> Vec<(String, String, f64)> {
        let mut held = Vec::new();
        for parameter in parameter::ALL {
            let general = self.service.held(operation, parameter, None);
            let kinds = FailureKind::ALL.into_iter().filter(|_| parameter.per_failure);
            let special = kinds.filter_map(|kind| {
                let value =
                    self.service.held(operation, parameter, Some(kind)).filter(|value| Some(*value) != general)?;
                Some((format!("{}.{}", parameter.name, kind.as_str()), value))
            });
            let all = general.map(|value| (parameter.name.to_owned(), value)).into_iter().chain(special);
            held.extend(all.map(|(name, value)| (name, parameter.unit.show(value), value)));
        }
        held
    }

    /// The service as lines of text.
    pub(crate) fn text(&self, style: Style) -> String {
        let service = self.service;
        let mut text = format!("{}  {}\n", style.heading(&service.name), self.reached());
        let values = service.values(ANY, self.profile);
        let _ = writeln!(text, "  domain {}, deadline {}", self.profile.name, show(values.deadline));
        let _ = writeln!(text, "  {}", attempts(&values));
        let held = self.held(ANY);
        if !held.is_empty() {
            let held: Vec<_> = held.iter().map(|(name, shown, _)| format!("{name} = {shown}")).collect();
            text.push_str(&wrapped(&format!("not learned: {}", held.join(", ")), "  "));
        }
        if let Some(audit) = audited(&service.audit) {
            text.push_str(&wrapped(&audit, "  "));
        }
        for window in &service.avoid {
            let _ = writeln!(text, "  put off where possible: {window}");
        }
        for window in &service.maintenance {
            let _ = writeln!(text, "  maintenance: {window}");
        }
        for (name, tool) in &service.tools {
            let own = service.values(name, self.profile);
            let deadline = (own.deadline != values.deadline).then(|| format!("deadline {}", show(own.deadline)));
            let tried = Some(attempts(&own)).filter(|tried| *tried != attempts(&values));
            let said: Vec<_> = words(tool).into_iter().chain(deadline).chain(tried).collect();
            let said = if said.is_empty() { "as the others".to_owned() } else { said.join("; ") };
            text.push_str(&wrapped(&format!("{name}: {said}"), "  "));
        }
        if let Some(note) = &self.note {
            text.push_str(&wrapped(&format!("note: {note}"), "  "));
        }
        text
    }

    /// The service as JSON, times in seconds.
    pub(crate) fn json(&self) -> Value {
        let service = self.service;
        let endpoint = |endpoint: &Endpoint| json!({ "url": endpoint.showable(), "weight": endpoint.weight });
        let tools: Map<_, _> = service.tools.iter().map(|(name, tool)| (name.clone(), self.tool(name, tool))).collect();
        let windows = |windows: &[Window]| windows.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut shown = json!({
            "name": service.name,
            "transport": service.has_address().then(|| service.transport.as_str()),
            "endpoints": service.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            "command": service.command,
            "token": service.auth_token.is_some(),
            "signing": service.signing.as_ref().map(|signing| signing.algorithm().as_str()),
            "trusted": service.trusted,
            "domain": self.profile.name,
            "timezone": service.timezone,
            "avoid": windows(&service.avoid),
            "maintenance": windows(&service.maintenance),
            "audit": { "level": service.audit.level.map(AuditLevel::as_str), "fields": service.audit.fields },
            "tools": tools,
            "note": self.note,
        });
        merge(&mut shown, self.values(ANY));
        shown
    }

    fn values(&self, operation: &str) -> Value {
        let values = self.service.values(operation, self.profile);
        let seconds = |duration: Duration| duration.as_secs_f64();
        let held: Map<_, _> = self.held(operation).into_iter().map(|(name, _, value)| (name, value.into())).collect();
        json!({
            "deadline": seconds(values.deadline),
            "timeout": seconds(values.attempt_timeout),
            "attempts": values.most_retries() + 1,
            "base_delay": seconds(values.base_delay),
            "longest_delay": seconds(values.max_delay),
            "held": held,
        })
    }

    fn tool(&self, name: &str, tool: &ToolConfig) -> Value {
        let mut shown = json!({ "idempotent": tool.idempotent, "read_only": tool.read_only, "says": words(tool) });
        merge(&mut shown, self.values(name));
        shown
    }
}

/// That an attempt which takes its time leaves none for another.
fn hurried(values: &Values) -> Option<String> {
    let hurried = values.attempt_timeout >= values.deadline && values.most_retries() > 0;
    let note = "an attempt that takes all of its time leaves none for another; write a longer `deadline`";
    hurried.then(|| note.to_owned())
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn show(duration: Duration) -> String {
    parameter::Unit::Seconds.show(duration.as_secs_f64())
}

fn attempts(values: &Values) -> String {
    let attempts = values.most_retries() + 1;
    let waits = match (attempts, values.growth) {
        (1, _) => String::new(),
        (_, Growth::Doubling) => format!(", {} apart and twice that each time", show(values.base_delay)),
        (_, Growth::By(step)) => format!(", {} apart and {} more each time", show(values.base_delay), show(step)),
    };
    let plural = if attempts == 1 { "" } else { "s" };
    format!("{attempts} attempt{plural} of {}{waits}", show(values.attempt_timeout))
}

/// What is said of a tool beyond its limits.
fn words(tool: &ToolConfig) -> Vec<String> {
    let flag = |said: Option<bool>, yes: &str, no: &str| said.map(|said| if said { yes } else { no }.to_owned());
    let repeat = flag(tool.idempotent, "may be repeated", "may not be repeated");
    let read = flag(tool.read_only, "changes nothing", "changes something");
    let cached = tool.cache.map(|_| "answers are kept".to_owned());
    let later = tool.deferrable.filter(|later| *later).map(|_| "may be put off".to_owned());
    let queued = tool.queued.map(|up_to| format!("made by a worker up to priority {}", up_to.as_str()));
    let batch = tool.batch.as_ref().map(|batch| format!("many at once by {}", batch.tool));
    let instead = tool.fallback.as_ref().map(|other| format!("else {} of {}", other.tool, other.service));
    let cost = tool.cost.map(|cost| format!("costs {cost}"));
    [repeat, read, cached, later, queued, batch, instead, cost, audited(&tool.audit)].into_iter().flatten().collect()
}

/// What is said of the audit of a service or a tool.
fn audited(rules: &AuditRules) -> Option<String> {
    let fields = |fields: &Vec<String>| match fields.is_empty() {
        true => "no argument as it is".to_owned(),
        false => format!("{} as they are", fields.join(", ")),
    };
    match (rules.level, &rules.fields) {
        (None, None) => None,
        (Some(level), None) => Some(format!("audit {}", level.as_str())),
        (Some(level), Some(names)) => Some(format!("audit {}, {}", level.as_str(), fields(names))),
        (None, Some(names)) => Some(format!("audit with {}", fields(names))),
    }
}

/// How many problems a configuration has, and what holds for the whole process.
pub(crate) fn whole(config: &Config, problems: usize) -> String {
    let file = config.file.as_ref().map_or(String::new(), |file| format!("{}: ", file.display()));
    let found = match problems {
        0 => "nothing is wrong".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let preset = config.preset.map_or(String::new(), |preset| format!("preset {}, ", preset.name));
    let kept = match &config.store.path {
        Some(path) => format!("outcomes in {}", path.display()),
        None if config.store.memory => "outcomes in memory".to_owned(),
        None => "outcomes in the user's state folder".to_owned(),
    };
    let cache =
        if config.cache.enabled { format!("cache of {}", config.cache.max_entries) } else { "no cache".to_owned() };
    let AuditConfig { level, fields, .. } = &config.audit;
    let audit =
        match audited(&AuditRules { level: Some(*level), fields: Some(fields.clone()).filter(|f| !f.is_empty()) }) {
            Some(audit) if *level != AuditLevel::Off => format!(", {audit}"),
            _ => String::new(),
        };
    format!("{file}{found}\n{preset}learning {}, {cache}, {kept}{audit}", config.learning.as_str())
}

/// The same as JSON.
pub(crate) fn whole_json(config: &Config) -> Value {
    json!({
        "file": config.file,
        "preset": config.preset.map(|preset| preset.name),
        "learning": config.learning.as_str(),
        "store": { "path": config.store.path, "memory": config.store.memory },
        "cache": { "enabled": config.cache.enabled, "max_entries": config.cache.max_entries },
        "audit": { "level": config.audit.level.as_str(), "fields": config.audit.fields },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::config::{RetryStrategy, Signing, SigningAlgorithm};

    fn crm() -> ServiceConfig {
        ServiceConfig::http("crm", "https://ann:hunter2@crm.example/mcp?key=hunter2")
            .auth_token("hunter2")
            .retry(&RetryStrategy::THROTTLE)
            .timeout(Duration::from_secs(3))
            .pin("retry.max_retries.timeout", 0)
            .tool("get", ToolConfig::default().read_only().timeout(Duration::from_secs(1)))
    }

    #[test]
    fn a_service_is_shown_with_what_holds_for_it() {
        assert_eq!(
            Resolved::of(&crm()).text(Style::Plain),
            "crm  http  https://…@crm.example/mcp?…, with a token\n  \
             domain mcp_integration, deadline 30.0 s\n  \
             3 attempts of 3.0 s, 2.0 s apart and 1.0 s more each time\n  \
             not learned: retry.max_retries = 2, retry.max_retries.timeout = 0, timeout.attempt = 3.0 s,\
             \n  retry.base_delay = 2.0 s\n  \
             get: changes nothing; 3 attempts of 1.0 s, 2.0 s apart and 1.0 s more each time\n"
        );
        let json = Resolved::of(&crm()).json();
        assert_eq!((&json["attempts"], &json["held"]["timeout.attempt"]), (&json!(3), &json!(3.0)));
        assert_eq!((&json["tools"]["get"]["timeout"], &json["token"]), (&json!(1.0), &json!(true)));
    }

    #[test]
    fn what_is_said_of_the_audit_is_shown_where_it_is_said() {
        let audit = AuditRules::from(AuditLevel::Strict).field("id");
        let service =
            ServiceConfig::named("crm").audit(audit).tool("list", ToolConfig::default().audit(AuditLevel::Off));
        let text = Resolved::of(&service).text(Style::Plain);
        assert!(text.contains("\n  audit strict, id as they are\n  list: audit off\n"), "{text}");
        assert_eq!(Resolved::of(&service).json()["audit"]["level"], "strict");
        let mut config = Config::default();
        assert!(!whole(&config, 0).contains("audit"));
        config.audit.level = AuditLevel::On;
        assert!(whole(&config, 0).ends_with(", audit on"), "{}", whole(&config, 0));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let program = ServiceConfig::stdio("files", "files-server").arg("--key=hunter2").env("KEY", "hunter2");
        for service in [&crm(), &program] {
            let resolved = Resolved::of(service);
            assert!(!resolved.text(Style::Plain).contains("hunter2"), "{}", resolved.text(Style::Plain));
            assert!(!resolved.json().to_string().contains("hunter2"), "{}", resolved.json());
        }
    }

    #[test]
    fn how_requests_are_signed_is_shown_and_by_which_key_is_not() {
        let secret = "c2l4dGVlbiBieXRlcyEhIQ==";
        let key = Signing::new(SigningAlgorithm::HmacSha256, "hunter2", secret).expect("it is a key");
        let service = crm().signing(key);
        let (text, json) = (Resolved::of(&service).text(Style::Plain), Resolved::of(&service).json());
        assert!(text.contains(", with a token, signed by hmac-sha256\n"), "{text}");
        assert_eq!(json["signing"], "hmac-sha256");
        for shown in [text, json.to_string()] {
            assert!(!shown.contains("hunter2") && !shown.contains(secret) && !shown.contains("sixteen"), "{shown}");
        }
    }

    #[test]
    fn a_deadline_that_is_too_short_for_a_second_attempt_is_noted() {
        let slow = ServiceConfig::http("crm", "http://crm").timeout(Duration::from_secs(30));
        assert!(Resolved::of(&slow).text(Style::Plain).contains("note: an attempt that takes all of its time"));
        let patient = slow.clone().deadline(Duration::from_secs(90));
        let once = slow.pin("retry.max_retries", 0);
        for service in [&patient, &once] {
            assert!(!Resolved::of(service).text(Style::Plain).contains("note"), "{service:?}");
        }
    }

    #[test]
    fn a_domain_that_does_not_come_along_is_noted() {
        let own = ServiceConfig::named("erp").domain("erp_systems");
        let text = Resolved::of(&own).text(Style::Plain);
        assert!(text.contains("called by functions") && text.contains("note: the domain `erp_systems`"), "{text}");
    }
}
