//! What is checked about a call before it is sent, and about its answer before it counts as one.
//!
//! Before: whether the tool may be called at all, and whether its arguments are those that the server declared. After:
//! whether the answer is an error that does not say so, and whether it is as declared. What is not known, because the
//! server was not connected to yet, is checked once it is.

use super::connection::{ToolAnswer, ToolInfo};
use super::contract::{Schemas, ToolSchemas};
use super::fault::{Fault, McpError};
use super::masked::{Habits, Promise};
use super::nature::Repeatable;
use poet_runtime::audit::{AccessRule, Declared, Validation};
use poet_runtime::config::{Access, Check, ServiceConfig, ToolConfig};
use poet_runtime::service::Vetting;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What is checked about the calls of one service, and what was learned for it.
#[derive(Debug, Default)]
pub(super) struct Checks {
    config: ServiceConfig,
    habits: Habits,
    schemas: Schemas,
}

impl Checks {
    pub(super) fn of(config: &ServiceConfig) -> Self {
        Self { config: config.clone(), ..Self::default() }
    }

    /// Why a call may not be sent, if so. `known` is what the server says about the tool.
    pub(super) fn refuse(
        &self,
        tool: &str,
        known: Option<&ToolInfo>,
        arguments: &Map<String, Value>,
    ) -> Option<String> {
        self.forbid(tool, known).or_else(|| self.contract(tool, known)?.refuse(arguments))
    }

    /// The answer, if it is one.
    pub(super) fn accept(
        &self,
        tool: &str,
        known: Option<&ToolInfo>,
        arguments: &Map<String, Value>,
        answer: ToolAnswer,
    ) -> Result<ToolAnswer, McpError> {
        let schemas = self.contract(tool, known);
        let promised = schemas.as_ref().is_some_and(|schemas| schemas.promise_an_answer());
        let structured = answer.structured.as_ref();
        let contradiction =
            schemas.zip(structured).and_then(|(schemas, structured)| schemas.contradicted_by(structured));
        let promise = match (promised, structured) {
            (false, _) => Promise::None,
            (true, Some(_)) if contradiction.is_none() => Promise::Kept,
            (true, _) => Promise::Broken,
        };
        if self.masked_errors_of(tool) == Check::On && self.habits.is_masked(tool, arguments, &answer, promise) {
            return Err(McpError::new(Fault::Masked, answer.text));
        }
        match contradiction {
            Some(problem) => Err(McpError::new(Fault::Answer, problem)),
            None => Ok(answer),
        }
    }

    /// What is checked about a call, and who says what it may do; `known` is what the server says about the tool by now.
    pub(super) fn vetting(&self, tool: &str, known: Option<&ToolInfo>, arguments: &Map<String, Value>) -> Vetting {
        let unset = ToolConfig::default();
        let configured = self.config.tools.get(tool).unwrap_or(&unset);
        let declared = match Repeatable::said(configured, known.filter(|_| self.config.trusted)) {
            Repeatable::Declared(_) => Some(Declared::Configuration),
            Repeatable::Claimed(_) => Some(Declared::TrustedServer),
            Repeatable::Unknown => None,
        };
        let access = match self.forbid(tool, known) {
            Some(rule) => AccessRule { allowed: false, rule },
            None => AccessRule { allowed: true, rule: self.permit(tool) },
        };
        let held = |has_schema, passes| match (has_schema, passes) {
            (false, _) => Validation::NoSchema,
            (true, true) => Validation::Passed,
            (true, false) => Validation::Failed,
        };
        let (arguments, answers) = match self.contract(tool, known) {
            None => (Validation::NotChecked, Validation::NotChecked),
            Some(schemas) => (
                held(schemas.ask_for_arguments(), schemas.refuse(arguments).is_none()),
                held(schemas.promise_an_answer(), true),
            ),
        };
        Vetting { declared, access: Some(access), arguments, answers }
    }

    /// By which rule a tool that is not forbidden may be called.
    fn permit(&self, tool: &str) -> String {
        let read_only = "`access` of the service, and it is read-only";
        let reads_only = self.config.access == Access::ReadOnly;
        match (self.config.allow.iter().find(|pattern| matches(pattern, tool)), reads_only) {
            (Some(pattern), false) => format!("`allow` of the service has `{pattern}`"),
            (Some(pattern), true) => format!("`allow` of the service has `{pattern}`, and {read_only}"),
            (None, false) => "the service has no rule against it".to_owned(),
            (None, true) => read_only.to_owned(),
        }
    }

    /// What the server declared about a tool, where that is to hold.
    fn contract(&self, tool: &str, known: Option<&ToolInfo>) -> Option<Arc<ToolSchemas>> {
        let on = self.schemas_of(tool) == Check::On;
        known.filter(|_| on).map(|known| self.schemas.of(known))
    }

    /// What tells a tool from one of the same name that takes or answers something else.
    pub(super) fn shape(&self, known: &ToolInfo) -> u64 {
        self.schemas.of(known).shape
    }

    fn masked_errors_of(&self, tool: &str) -> Check {
        self.config.tools.get(tool).and_then(|rules| rules.masked_errors).unwrap_or(self.config.masked_errors)
    }

    fn schemas_of(&self, tool: &str) -> Check {
        self.config.tools.get(tool).and_then(|rules| rules.schemas).unwrap_or(self.config.schemas)
    }

    /// Why a tool may not be called, if so.
    fn forbid(&self, tool: &str, known: Option<&ToolInfo>) -> Option<String> {
        if let Some(pattern) = self.config.deny.iter().find(|pattern| matches(pattern, tool)) {
            return Some(format!("`deny` of the service has `{pattern}`"));
        }
        if !self.config.allow.is_empty() && !self.config.allow.iter().any(|pattern| matches(pattern, tool)) {
            let allowed: Vec<_> = self.config.allow.iter().map(|pattern| format!("`{pattern}`")).collect();
            return Some(format!("`allow` of the service has only {}", allowed.join(", ")));
        }
        let declared = self.config.tools.get(tool).and_then(|rules| rules.read_only);
        let claimed = known.filter(|_| self.config.trusted).and_then(|tool| tool.read_only);
        let reads = declared.or(claimed) == Some(true);
        (self.config.access == Access::ReadOnly && !reads).then(|| {
            let said = match (declared, known.is_some_and(|tool| tool.read_only == Some(true))) {
                (Some(_), _) => "the configuration says that it is none",
                (None, true) => "only the server says that it is one, which is not trusted",
                (None, false) => "nobody says that it is one",
            };
            format!("`access` of the service is for tools that are read-only, and {said}")
        })
    }
}

/// Whether a name is one of those that a pattern stands for; `*` stands for any letters, and none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        // The first place will do: what comes later has the more left to be found in.
        match left.find(part) {
            Some(place) => left = &left[place + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::config::ToolConfig;
    use serde_json::json;

    fn tool(read_only: Option<bool>) -> ToolInfo {
        ToolInfo { name: "get_contact".to_owned(), read_only, ..ToolInfo::default() }
    }

    fn refusal(config: &ServiceConfig, known: Option<&ToolInfo>) -> Option<String> {
        Checks::of(config).refuse("get_contact", known, &Map::new())
    }

    fn crm() -> ServiceConfig {
        ServiceConfig::http("crm", "http://crm")
    }

    #[test]
    fn the_audit_is_told_by_which_rule_and_on_whose_word_a_tool_may_be_called() {
        let vet = |config: &ServiceConfig, known: Option<&ToolInfo>| {
            Checks::of(config).vetting("get_contact", known, &Map::new())
        };
        let said = |vetting: &Vetting| vetting.access.clone().map(|access| (access.allowed, access.rule)).unwrap();
        let open = vet(&ServiceConfig::named("crm"), None);
        assert_eq!(said(&open), (true, "the service has no rule against it".to_owned()));
        assert_eq!((open.declared, open.arguments), (None, Validation::NotChecked), "nothing is known of it yet");
        let denied = vet(&ServiceConfig { deny: vec!["get_*".to_owned()], ..ServiceConfig::named("crm") }, None);
        assert_eq!(said(&denied), (false, "`deny` of the service has `get_*`".to_owned()));
        let allowed = vet(&ServiceConfig { allow: vec!["get_*".to_owned()], ..ServiceConfig::named("crm") }, None);
        assert_eq!(said(&allowed), (true, "`allow` of the service has `get_*`".to_owned()));

        let trusted = ServiceConfig { access: Access::ReadOnly, ..ServiceConfig::named("crm").trusted() };
        let reads = ToolInfo { input_schema: json!({ "required": ["id"] }), ..tool(Some(true)) };
        let vetting = vet(&trusted, Some(&reads));
        assert_eq!(said(&vetting), (true, "`access` of the service, and it is read-only".to_owned()));
        assert_eq!(vetting.declared, Some(Declared::TrustedServer));
        assert_eq!((vetting.arguments, vetting.answers), (Validation::Failed, Validation::NoSchema));
        let configured = trusted.tool("get_contact", ToolConfig::default().read_only());
        assert_eq!(vet(&configured, Some(&reads)).declared, Some(Declared::Configuration));
    }

    #[test]
    fn a_star_stands_for_any_letters_and_none() {
        for (pattern, name, holds) in [
            ("get_*", "get_contact", true),
            ("get_*", "get_", true),
            ("get_*", "forget_contact", false),
            ("*_contact", "get_contact", true),
            ("*_contact", "get_contacts", false),
            ("g*_c*t", "get_contact", true),
            ("g*x*t", "get_contact", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("get", "get_contact", false),
        ] {
            assert_eq!(matches(pattern, name), holds, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_denied_or_not_allowed_is_refused_and_denied_stands_first() {
        assert_eq!(refusal(&crm(), None), None);
        assert_eq!(refusal(&crm().allow("get_*"), None), None);
        assert_eq!(refusal(&crm().allow("list_*"), None).unwrap(), "`allow` of the service has only `list_*`");
        assert_eq!(
            refusal(&crm().allow("*").deny("*_contact"), None).unwrap(),
            "`deny` of the service has `*_contact`"
        );
    }

    #[test]
    fn read_only_access_needs_the_word_of_somebody_whose_word_counts() {
        let claims = tool(Some(true));
        let read = ToolConfig::default().read_only();
        let write = ToolConfig { read_only: Some(false), ..ToolConfig::default() };
        assert_eq!(refusal(&crm().read_only().tool("get_contact", read), None), None);
        assert_eq!(refusal(&crm().read_only().trusted(), Some(&claims)), None);
        for (config, known, said) in [
            (crm().read_only(), Some(&claims), "only the server says that it is one, which is not trusted"),
            (crm().read_only().trusted(), Some(&tool(None)), "nobody says that it is one"),
            (crm().read_only().trusted(), None, "nobody says that it is one"),
            (
                crm().read_only().trusted().tool("get_contact", write),
                Some(&claims),
                "the configuration says that it is none",
            ),
        ] {
            let refused = refusal(&config, known).unwrap();
            assert!(refused.ends_with(said), "{refused}");
        }
    }

    fn totals() -> ToolInfo {
        let schema =
            json!({ "type": "object", "properties": { "total": { "type": "number" } }, "required": ["total"] });
        ToolInfo { output_schema: Some(schema.clone()), input_schema: schema, ..tool(None) }
    }

    fn accept(config: &ServiceConfig, text: &str, structured: Option<Value>) -> Result<ToolAnswer, Fault> {
        let blocks = vec![json!({ "type": "text", "text": text })];
        let answer = ToolAnswer::new(&[text], blocks, structured, false);
        let accepted = Checks::of(config).accept("get_contact", Some(&totals()), &Map::new(), answer);
        accepted.map_err(|error| error.fault())
    }

    #[test]
    fn an_answer_that_is_not_as_declared_is_an_error_if_it_reads_as_one_and_else_no_answer() {
        let off = ServiceConfig::schemas(crm(), Check::Off);
        assert!(accept(&crm(), "7", Some(json!({ "total": 7 }))).is_ok());
        assert_eq!(accept(&crm(), "7", Some(json!({ "total": "7" }))), Err(Fault::Answer));
        assert_eq!(accept(&crm(), "", Some(json!({ "error": "no such account" }))), Err(Fault::Masked));
        assert_eq!(accept(&crm(), "No such account is known here", None), Err(Fault::Masked));
        assert!(accept(&off, "7", Some(json!({ "total": "7" }))).is_ok());
    }

    #[test]
    fn the_tool_stands_before_the_service() {
        let crm = crm().masked_errors(Check::Off).tool("get_contact", ToolConfig::default().masked_errors(Check::On));
        let rules = Checks::of(&crm);
        assert_eq!((rules.masked_errors_of("get_contact"), rules.masked_errors_of("other")), (Check::On, Check::Off));
        let lax =
            ServiceConfig::http("crm", "http://crm").tool("get_contact", ToolConfig::default().schemas(Check::Off));
        assert!(refusal(&lax, Some(&totals())).is_none());
        assert_eq!(
            refusal(&ServiceConfig::http("crm", "http://crm"), Some(&totals())).unwrap(),
            "arguments: `total` is missing"
        );
    }
}
