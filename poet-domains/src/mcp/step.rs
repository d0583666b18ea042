//! A call of a tool as a step of a plan.
//!
//! The step makes the call through every stage, as anybody would: it may be answered from the cache, made together with
//! others, or put off, and the plan's account says so. What the call itself says stands before what the step says.

use super::nature::nature;
use super::resource::{Connections, McpRequest};
use poet_runtime::config::ToolConfig;
use poet_runtime::plan::{Action, Outlook, StepAnswer, StepContext};
use poet_runtime::service::CacheWish;
use poet_runtime::store::BoxFuture;
use poet_runtime::{Error, Priority, Runtime};
use serde_json::{Map, Value};

impl Action for McpRequest {
    fn run<'a>(
        &'a self,
        runtime: &'a Runtime,
        arguments: Map<String, Value>,
        step: StepContext,
    ) -> BoxFuture<'a, Result<StepAnswer, Error>> {
        let mut request = self.clone();
        // The step's arguments beside those of the call, so that one call can serve several steps.
        if let Ok(own) = &mut request.arguments {
            own.extend(arguments);
        }
        request.priority = request.priority.or(step.priority);
        request.idempotent |= step.idempotent;
        if step.deferrable {
            request.deferrable.get_or_insert(true);
        }
        if step.queued {
            request.queued.get_or_insert(true);
        }
        // The plan runs inside its runtime, which is the one that the call finds.
        let _ = runtime;
        Box::pin(async move { request.call().await.map(StepAnswer::from) })
    }

    fn target(&self) -> Option<(&str, &str)> {
        Some((&self.service, &self.tool))
    }

    fn outlook(&self, runtime: &Runtime) -> Outlook {
        let mut outlook = Outlook::default();
        let unset = ToolConfig::default();
        let config = runtime.config().services.get(&*self.service);
        let tool = config.and_then(|config| config.tools.get(&self.tool)).unwrap_or(&unset);
        // What a trusted server claims counts once it is known; nobody is asked for the sake of an outlook.
        let claims = config.filter(|config| config.trusted).and_then(|config| {
            let fleet = runtime.extension::<Connections>().fleet(runtime, config).ok()?;
            fleet.known_tool(&self.tool)
        });
        let nature = nature(self.idempotent, tool, claims.as_deref());
        outlook.repeatable = nature.repeatable;
        outlook.cacheable = match self.cache {
            CacheWish::UpTo(_) => nature.read_only,
            CacheWish::AsConfigured => nature.read_only && tool.cache.is_some(),
            _ => false,
        };
        outlook.batchable = tool.batch.is_some();
        outlook.read_only = nature.read_only;
        outlook.deferrable = self.deferrable.or(tool.deferrable);
        outlook.priority = self.priority;
        outlook.queued = match self.queued {
            Some(true) => Some(Priority::Critical),
            Some(false) => None,
            None => tool.queued,
        };
        outlook
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::McpResource;
    use poet_runtime::config::{CacheConfig, Config, ServiceConfig};

    fn runtime(tool: ToolConfig) -> Runtime {
        let crm = ServiceConfig::http("crm", "http://127.0.0.1:9/mcp").tool("get", tool);
        Runtime::builder().configuration(Config::default().service(crm)).in_memory().build().unwrap()
    }

    #[test]
    fn what_is_known_of_a_call_is_what_caller_and_configuration_say() {
        let get = || McpResource::new("crm").tool("get");
        let plain = runtime(ToolConfig::default());
        assert_eq!(get().outlook(&plain), Outlook::default());
        assert!(get().idempotent().outlook(&plain).repeatable);
        assert_eq!(get().deferrable().outlook(&plain).deferrable, Some(true));
        assert_eq!(get().queued().outlook(&plain).queued, Some(Priority::Critical));

        let tool = ToolConfig::default().read_only().cache(CacheConfig::default()).batch("get_many", "ids", "results");
        let configured = runtime(tool.queued(Priority::Low));
        let outlook = get().outlook(&configured);
        assert!(outlook.repeatable && outlook.cacheable && outlook.batchable);
        assert_eq!(outlook.queued, Some(Priority::Low));
        assert!(!get().no_cache().outlook(&configured).cacheable);
    }
}
