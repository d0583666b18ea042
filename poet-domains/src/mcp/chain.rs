//! Chains: tools called one after the other, written as data.
//!
//! A chain is a plan whose steps depend on the one before. With `fail_fast`, which is the default, nothing is called
//! after a failure, and what has a compensation is undone. Without it, the chain goes on past a failure, but a step
//! that needs the answer of one that failed is left out, because nothing is ever sent with a hole in it.

use super::resource::McpResource;
use poet_runtime::Error;
use poet_runtime::plan::{self, Condition, Outcome, Plan, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Tools to be called one after the other.
///
/// # Examples
///
/// ```
/// use poet_domains::mcp::Chain;
/// use serde_json::json;
///
/// let chain: Chain = serde_json::from_value(json!({
///     "name": "deployment_workflow",
///     "steps": [
///         { "server": "github", "tool": "getCommits", "params": { "repo": "myrepo", "branch": "main" } },
///         { "server": "render", "tool": "render_trigger_deploy", "params": { "serviceId": "srv-123" } },
///         {
///             "server": "render",
///             "tool": "render_get_deploy_status",
///             "params": { "serviceId": "srv-123", "deployId": "$last_result.id" },
///         },
///     ],
/// }))?;
/// chain.plan([])?.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The name it is reported under.
    pub name: String,
    /// What is called, in this order.
    pub steps: Vec<ChainStep>,
    /// Whether nothing is called after a failure; `true` by default.
    #[serde(default = "yes")]
    pub fail_fast: bool,
}

/// One step of a [`Chain`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainStep {
    /// Its name; `step_1`, `step_2`, … where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The service, as configured.
    #[serde(alias = "service")]
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Its arguments, in which texts may hold references: `$last_result.id`, `$step_1.id`, `$input`.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// A [`Condition`] without which it is skipped, such as `$step_1.count > 1000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Whether the chain goes on if it fails.
    #[serde(default)]
    pub optional: bool,
    /// Whether calling it twice does no more than calling it once.
    #[serde(default)]
    pub idempotent: bool,
    /// What undoes it if the chain fails later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<ChainCall>,
}

/// A call that undoes a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainCall {
    /// The service, as configured.
    #[serde(alias = "service")]
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Its arguments, in which texts may hold references.
    #[serde(default)]
    pub params: Map<String, Value>,
}

fn yes() -> bool {
    true
}

impl Chain {
    /// The chain as a plan, with these inputs.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] if a condition cannot be read. What else is wrong is said by [`Plan::check`].
    pub fn plan(&self, inputs: impl IntoIterator<Item = (String, Value)>) -> Result<Plan, Error> {
        let mut plan = plan::named(&self.name).inputs(inputs).sequential();
        for (step, position) in self.steps.iter().zip(1_usize..) {
            plan = plan.step(self.step(step, position)?);
        }
        Ok(plan)
    }

    /// Calls its tools, in the runtime in force here.
    ///
    /// # Errors
    ///
    /// As for [`Plan::run`]: the chain itself is wrong. That a step failed is said by the outcome.
    pub async fn execute(&self, inputs: impl IntoIterator<Item = (String, Value)>) -> Result<Outcome, Error> {
        self.plan(inputs)?.run().await
    }

    fn step(&self, step: &ChainStep, position: usize) -> Result<Step, Error> {
        let name = step.name.clone().unwrap_or_else(|| format!("step_{position}"));
        let call = McpResource::new(step.server.clone()).tool(&*step.tool);
        let mut planned = Step::new(&name).call(call, step.params.clone());
        if let Some(when) = &step.when {
            let unreadable = |error| Error::configuration(format!("step `{name}` of chain `{}`: {error}", self.name));
            planned = planned.when(Condition::parse(when).map_err(unreadable)?);
        }
        if let Some(undo) = &step.compensate {
            let call = McpResource::new(undo.server.clone()).tool(&*undo.tool);
            planned = planned.compensate(call, undo.params.clone());
        }
        if step.idempotent {
            planned = planned.idempotent();
        }
        // What comes after an optional step does not wait for it to succeed.
        if step.optional || !self.fail_fast {
            planned = planned.optional();
        }
        Ok(planned)
    }
}

/// Calls tools one after the other, in the runtime in force here.
///
/// # Errors
///
/// As for [`Chain::execute`].
pub async fn execute_chain(
    name: impl Into<String>,
    steps: impl IntoIterator<Item = ChainStep>,
    fail_fast: bool,
) -> Result<Outcome, Error> {
    let chain = Chain { name: name.into(), steps: steps.into_iter().collect(), fail_fast };
    chain.execute([]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_chain_is_read_from_data_and_a_word_it_does_not_know_is_refused() {
        let written = json!({ "name": "c", "steps": [{ "service": "crm", "tool": "get" }] });
        let chain: Chain = serde_json::from_value(written).unwrap();
        assert!(chain.fail_fast && chain.steps[0].params.is_empty());
        let wrong = json!({ "name": "c", "steps": [{ "server": "crm", "tool": "get", "parms": {} }] });
        assert!(serde_json::from_value::<Chain>(wrong).is_err());
    }

    #[test]
    fn a_condition_that_cannot_be_read_is_said_with_its_step() {
        let written = json!({ "name": "c", "steps": [{ "server": "crm", "tool": "get", "when": "count > 7" }] });
        let error = serde_json::from_value::<Chain>(written).unwrap().plan([]).unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains("step `step_1` of chain `c`"), "{error}");
    }

    #[test]
    fn an_input_that_is_missing_is_found_before_anything_is_called() {
        let written =
            json!({ "name": "c", "steps": [{ "server": "crm", "tool": "get", "params": { "id": ["$id"] } }] });
        let chain: Chain = serde_json::from_value(written).unwrap();
        let problems = chain.plan([]).unwrap().check().unwrap_err().to_string();
        assert!(problems.contains("`$id` in `id.0` is neither a step nor an input"), "{problems}");
        chain.plan([("id".to_owned(), json!(7))]).unwrap().check().unwrap();
    }
}
