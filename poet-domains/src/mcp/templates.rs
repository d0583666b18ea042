//! The workflows that come along: chains by name, as data.
//!
//! They call the tools of servers configured as `github`, `render`, `stripe` and `supabase`. A program that calls them
//! otherwise takes [`workflow`] as a start and changes it, or writes its own [`Chain`].

use super::chain::Chain;
use poet_runtime::Error;
use poet_runtime::plan::Outcome;
use serde_json::Value;

/// Every workflow, by name.
const TEMPLATES: [(&str, &str); 3] = [
    ("full_deployment", FULL_DEPLOYMENT),
    ("customer_onboarding", CUSTOMER_ONBOARDING),
    ("health_recovery", HEALTH_RECOVERY),
];

/// Inputs: `repo`, `branch`, `service_id`.
const FULL_DEPLOYMENT: &str = r#"{
    "name": "full_deployment",
    "steps": [
        { "server": "github", "tool": "getCommits", "params": { "repo": "$repo", "branch": "$branch" } },
        { "server": "render", "tool": "render_trigger_deploy", "params": { "serviceId": "$service_id" } },
        {
            "server": "render",
            "tool": "render_get_deploy_status",
            "params": { "serviceId": "$service_id", "deployId": "$last_result.id" }
        }
    ]
}"#;

/// Inputs: `email`, `name`, `price_id`. A customer who could not be written down is not charged.
const CUSTOMER_ONBOARDING: &str = r#"{
    "name": "customer_onboarding",
    "steps": [
        {
            "server": "stripe",
            "tool": "createCustomer",
            "params": { "email": "$email", "name": "$name" },
            "compensate": { "server": "stripe", "tool": "deleteCustomer", "params": { "customer": "$step_1.id" } }
        },
        {
            "server": "stripe",
            "tool": "createSubscription",
            "params": { "customer": "$step_1.id", "priceId": "$price_id" },
            "compensate": { "server": "stripe", "tool": "cancelSubscription", "params": { "subscription": "$step_2.id" } }
        },
        {
            "server": "supabase",
            "tool": "sql_query",
            "params": {
                "query": "INSERT INTO customers (email, stripe_id) VALUES ($1, $2)",
                "params": ["$email", "$step_1.id"]
            }
        }
    ]
}"#;

/// Inputs: `service_id`.
const HEALTH_RECOVERY: &str = r#"{
    "name": "health_recovery",
    "steps": [
        { "server": "render", "tool": "render_get_service", "params": { "serviceId": "$service_id" } },
        { "server": "render", "tool": "render_get_logs", "params": { "serviceId": "$service_id", "lines": 100 } },
        { "server": "render", "tool": "render_restart_service", "params": { "serviceId": "$service_id" } }
    ]
}"#;

/// The names of the workflows that come along.
#[must_use]
pub fn workflows() -> Vec<&'static str> {
    TEMPLATES.iter().map(|(name, _)| *name).collect()
}

/// The workflow of that name.
///
/// # Errors
///
/// [`Error::is_configuration`] if there is none, with those there are.
pub fn workflow(name: &str) -> Result<Chain, Error> {
    let found = TEMPLATES.iter().find(|(known, _)| *known == name);
    let (_, written) = found.ok_or_else(|| {
        let known = workflows().join(", ");
        Error::configuration(format!("there is no workflow `{name}`; there are {known}"))
    })?;
    Ok(serde_json::from_str(written).expect("a test reads every template"))
}

/// Calls the tools of the workflow of that name, in the runtime in force here.
///
/// # Errors
///
/// [`Error::is_configuration`] if there is none, or an input is missing. That a step failed is said by the outcome.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), poet_runtime::Error> {
/// use poet_domains::mcp::execute_workflow;
///
/// let inputs = [("service_id".to_owned(), "srv-123".into())];
/// let outcome = execute_workflow("health_recovery", inputs).await?;
/// println!("{} of {} steps", outcome.completed_steps, outcome.total_steps);
/// # Ok(())
/// # }
/// ```
pub async fn execute_workflow(name: &str, inputs: impl IntoIterator<Item = (String, Value)>) -> Result<Outcome, Error> {
    workflow(name)?.execute(inputs).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn inputs(names: &[&str]) -> Vec<(String, Value)> {
        names.iter().map(|name| ((*name).to_owned(), json!("x"))).collect()
    }

    #[test]
    fn every_workflow_reads_is_called_by_its_name_and_needs_the_inputs_it_states() {
        let needed: [&[&str]; 3] = [&["repo", "branch", "service_id"], &["email", "name", "price_id"], &["service_id"]];
        for (name, needed) in workflows().into_iter().zip(needed) {
            let chain = workflow(name).unwrap();
            assert_eq!((chain.name.as_str(), chain.steps.len()), (name, 3));
            chain.plan(inputs(needed)).unwrap().check().unwrap();
            for left_out in 0..needed.len() {
                let mut fewer = inputs(needed);
                fewer.remove(left_out);
                assert!(chain.plan(fewer).unwrap().check().is_err(), "{name} without {}", needed[left_out]);
            }
        }
    }

    #[test]
    fn a_workflow_nobody_knows_is_refused_with_those_there_are() {
        let error = workflow("revenue").unwrap_err().to_string();
        assert!(error.contains("there are full_deployment, customer_onboarding, health_recovery"), "{error}");
    }
}
