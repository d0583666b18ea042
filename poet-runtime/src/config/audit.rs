//! What is written down about calls for whoever has to account for them: how surely, and what of their arguments.

use super::node::Value;
use super::path::Path;
use super::read::{Field, Hints, Reader};
use super::{Config, Secret, ServiceConfig, bounds, duration, tool};
use std::ops::RangeInclusive;
use std::time::Duration;

const ENTRIES: RangeInclusive<u32> = 1_000..=100_000_000;
const RETENTION: RangeInclusive<Duration> = Duration::from_secs(3_600)..=duration::LONGEST;
/// Shorter keys can be found by trying them.
const KEY: usize = 16;
const KEY_HINTS: Hints = &[("enabled", "there is no such key; write `level = \"on\"` or `level = \"off\"`")];
const RULE_HINTS: Hints = &[
    ("key", "there is no such key; it is said for all: `key` under `[audit]`"),
    ("max_entries", "there is no such key; it is said for all: `max_entries` under `[audit]`"),
    ("retention", "there is no such key; it is said for all: `retention` under `[audit]`"),
];

/// How surely a call is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuditLevel {
    /// Not at all.
    #[default]
    Off,
    /// When it has ended, beside the call: nothing waits for it. A killed process loses the last 250 ms, and what comes
    /// faster than it can be stored is counted.
    On,
    /// Before anything is sent, and again before the answer is given; what cannot be written down is refused.
    Strict,
}

impl AuditLevel {
    /// Every level, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Off, Self::On, Self::Strict];

    /// The name in configuration, and the one it is stored under.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Strict => "strict",
        }
    }

    /// The level of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

/// The audit of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// How surely calls are written down where their service or tool does not say otherwise. Default
    /// [`AuditLevel::Off`].
    pub level: AuditLevel,
    /// The arguments that are written down as they are, where a service or tool does not say otherwise; of all others only
    /// a hash is. Default none.
    pub fields: Vec<String>,
    /// How long entries are kept. Default 365 days.
    pub retention: Duration,
    /// How many are kept at most; beyond it the oldest go before their time, and are counted. Default 1,000,000, which is
    /// about 1 GB.
    pub max_entries: u64,
    /// What arguments are hashed with; `None` means a key that is drawn once and kept in the database.
    pub key: Option<Secret>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            level: AuditLevel::Off,
            fields: Vec::new(),
            retention: Duration::from_secs(365 * 86_400),
            max_entries: 1_000_000,
            key: None,
        }
    }
}

/// What a service or a tool says about its audit.
///
/// # Examples
///
/// ```
/// use poet_runtime::config::{AuditLevel, AuditRules, ServiceConfig, ToolConfig};
///
/// let crm = ServiceConfig::http("crm", "http://localhost:8002/mcp")
///     .audit(AuditLevel::On)
///     .tool("delete_contact", ToolConfig::default().audit(AuditRules::from(AuditLevel::Strict).field("id")));
/// assert_eq!(crm.audit.level, Some(AuditLevel::On));
/// assert_eq!(crm.tools["delete_contact"].audit.fields.as_deref(), Some(&["id".to_owned()][..]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRules {
    /// How surely its calls are written down; `None` means as what stands around it says.
    pub level: Option<AuditLevel>,
    /// The arguments that are written down as they are; `None` means as what stands around it says.
    pub fields: Option<Vec<String>>,
}

impl AuditRules {
    /// Writes this argument down as it is.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.fields.get_or_insert_default().push(name.into());
        self
    }
}

impl From<AuditLevel> for AuditRules {
    fn from(level: AuditLevel) -> Self {
        Self { level: Some(level), fields: None }
    }
}

/// How the calls of one operation are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Audited<'a> {
    pub(crate) level: AuditLevel,
    /// The arguments that are written down as they are.
    pub(crate) fields: &'a [String],
}

impl AuditConfig {
    /// What holds for an operation of a service; `service` is what is configured of it.
    pub(crate) fn of<'a>(&'a self, service: Option<&'a ServiceConfig>, operation: &str) -> Audited<'a> {
        Audited { level: self.level, fields: &self.fields }
            .over(service.map(|service| &service.audit))
            .over(service.and_then(|service| service.tools.get(operation)).map(|tool| &tool.audit))
    }
}

impl Config {
    /// Whether any call is written down.
    pub(crate) fn is_audited(&self) -> bool {
        let on = |level: Option<AuditLevel>| level.is_some_and(|level| level != AuditLevel::Off);
        let services = self.services.values();
        on(Some(self.audit.level))
            || services.clone().any(|service| on(service.audit.level))
            || services.flat_map(|service| service.tools.values()).any(|tool| on(tool.audit.level))
    }
}

impl<'a> Audited<'a> {
    fn over(self, rules: Option<&'a AuditRules>) -> Self {
        let Some(rules) = rules else { return self };
        Self { level: rules.level.unwrap_or(self.level), fields: rules.fields.as_deref().unwrap_or(self.fields) }
    }
}

/// What is written, over `audit`.
pub(super) fn audit(reader: &mut Reader<'_>, field: &Field<'_>, mut audit: AuditConfig) -> AuditConfig {
    let Some(mut table) = reader.table(field) else {
        return audit;
    };
    if let Some(level) = table.take("level").and_then(|field| level(reader, &field, LEVEL)) {
        audit.level = level;
    }
    if let Some(field) = table.take("fields") {
        audit.fields = tool::names(reader, &field);
    }
    if let Some(age) = table.take("retention").and_then(|field| reader.duration(&field, &RETENTION)) {
        audit.retention = age;
    }
    if let Some(most) = table.take("max_entries").and_then(|field| reader.count(&field, ENTRIES)) {
        audit.max_entries = u64::from(most);
    }
    if let Some(field) = table.take("key").map(Field::private)
        && let Some(key) = reader.word(&field)
    {
        if key.len() < KEY {
            reader.refuse(&field, &short());
        }
        audit.key = Some(key.into());
    }
    reader.refuse_rest(&table, KEY_HINTS);
    audit
}

const LEVEL: &str = "\"off\", \"on\" or \"strict\"";
const LEVEL_OR_TABLE: &str = "\"off\", \"on\", \"strict\", or a table with `level` and `fields`";

fn level(reader: &mut Reader<'_>, field: &Field<'_>, allowed: &str) -> Option<AuditLevel> {
    match field.node.value {
        Value::Text(_) => {
            let names = AuditLevel::ALL.map(|level| (level.as_str(), level));
            reader.choice(field, &names, &[])
        }
        _ => reader.expected(field, allowed),
    }
}

/// A level, or a table of a level and of arguments.
pub(super) fn rules(reader: &mut Reader<'_>, field: &Field<'_>) -> AuditRules {
    if !field.is_table() {
        return AuditRules { level: level(reader, field, LEVEL_OR_TABLE), fields: None };
    }
    let Some(mut table) = reader.table(field) else {
        return AuditRules::default();
    };
    let rules = AuditRules {
        level: table.take("level").and_then(|field| level(reader, &field, LEVEL)),
        fields: table.take("fields").map(|field| tool::names(reader, &field)),
    };
    reader.refuse_rest(&table, RULE_HINTS);
    rules
}

/// What a program set beyond what a file may say.
pub(super) fn problems(audit: &AuditConfig) -> Vec<String> {
    let short = audit.key.as_ref().filter(|key| key.expose().len() < KEY).map(|_| format!("audit.key: {}", short()));
    [
        bounds::length(&Path::of(&["audit", "retention"]), audit.retention, &RETENTION),
        bounds::count("audit", "max_entries", audit.max_entries, &ENTRIES),
        short,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn short() -> String {
    format!("expected at least {KEY} characters; `openssl rand -hex 32` draws some")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ToolConfig;

    #[test]
    fn a_tool_stands_before_its_service_and_that_before_all_and_each_key_by_itself() {
        let audit = AuditConfig { level: AuditLevel::On, fields: vec!["id".to_owned()], ..AuditConfig::default() };
        let crm = ServiceConfig::named("crm")
            .audit(AuditLevel::Strict)
            .tool("list", ToolConfig::default().audit(AuditLevel::Off))
            .tool("find", ToolConfig::default().audit(AuditRules::default().field("name")));
        let of = |operation| {
            let Audited { level, fields } = audit.of(Some(&crm), operation);
            (level, fields.join(","))
        };
        assert_eq!(of("update"), (AuditLevel::Strict, "id".to_owned()));
        assert_eq!(of("list"), (AuditLevel::Off, "id".to_owned()));
        assert_eq!(of("find"), (AuditLevel::Strict, "name".to_owned()));
        assert_eq!(audit.of(None, "any").level, AuditLevel::On);
    }

    #[test]
    fn every_level_is_found_by_the_name_it_is_written_under() {
        for (name, level) in [("off", AuditLevel::Off), ("on", AuditLevel::On), ("strict", AuditLevel::Strict)] {
            assert_eq!((level.as_str(), AuditLevel::from_name(name)), (name, Some(level)));
        }
    }

    #[test]
    fn toml_and_yaml_say_the_same() {
        let toml = "[audit]\nlevel = \"on\"\nfields = [\"id\"]\nretention = \"30d\"\nmax_entries = 5000\n\
                    key = \"${KEY}\"\n[services.crm]\naudit = \"strict\"\n\
                    [services.crm.tools.get]\naudit = { level = \"off\", fields = [] }\n";
        let yaml = "audit: { level: on, fields: [id], retention: 30d, max_entries: 5000, key: \"${KEY}\" }\n\
                    services:\n  crm:\n    audit: strict\n    tools: { get: { audit: { level: off, fields: [] } } }\n";
        let env = |name: &str| (name == "KEY").then(|| "hunter2hunter2hunter2".to_owned());
        let mut read =
            [("poet.toml", toml), ("poet.yaml", yaml)].map(|(file, text)| Config::parse(file, text, &env).unwrap());
        read.iter_mut().for_each(|config| config.file = None);
        let [toml, yaml] = read;
        assert_eq!(toml, yaml);
        let expected = AuditConfig {
            level: AuditLevel::On,
            fields: vec!["id".to_owned()],
            retention: Duration::from_secs(30 * 86_400),
            max_entries: 5_000,
            key: Some("hunter2hunter2hunter2".into()),
        };
        assert_eq!(toml.audit, expected);
        let crm = &toml.services["crm"];
        assert_eq!(crm.audit, AuditLevel::Strict.into());
        assert_eq!(crm.tools["get"].audit, AuditRules { level: Some(AuditLevel::Off), fields: Some(Vec::new()) });
        assert!(toml.is_audited() && !Config::default().is_audited());
    }

    #[test]
    fn the_key_is_in_no_debug_form() {
        let config = AuditConfig { key: Some("hunter2hunter2hunter2".into()), ..AuditConfig::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
