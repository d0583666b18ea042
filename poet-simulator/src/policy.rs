//! What a client does about a world.
//!
//! What the runtime can do it does here too: a static policy is a configuration of it that holds every parameter, and
//! a policy without one part is a configuration that leaves the part out. Only what the runtime does not know how to do
//! is a small client of its own, in [`peers`](crate::peers).

use crate::peers::Kind;
use crate::world::{Model, Static, World};
use poet_runtime::config::{Config, QueueConfig, ServiceConfig, ToolConfig};
use poet_runtime::{Learning, Priority};
use std::time::Duration;

/// Every policy: its name, what it does, and what it is.
pub const POLICIES: [(&str, &str, Policy); 15] = [
    ("none", "one attempt, whatever happens", Policy::Peer(Kind::None)),
    ("fixed", "three attempts, 200 ms doubling, full jitter", Policy::Peer(Kind::Fixed)),
    (
        "fixed_breaker",
        "the same; opens after 5 failures in a row for 60 s, closes after 3 successes",
        Policy::Peer(Kind::FixedBreaker),
    ),
    (
        "aws_standard",
        "three attempts out of a bucket of 500 tokens, as the AWS SDKs do",
        Policy::Peer(Kind::AwsStandard),
    ),
    ("aws_adaptive", "the same, and sends no faster than throttling lets it (CUBIC)", Policy::Peer(Kind::AwsAdaptive)),
    (
        "envoy",
        "retries within 20 % of what is under way; ejects after 5 failures in a row, for 30 s, 60 s, …",
        Policy::Peer(Kind::Envoy),
    ),
    ("source", "the values that the scenario states as learned, through the runtime", Policy::Static("source")),
    (
        "best_static",
        "the best values in hindsight, found by --tune, through the runtime",
        Policy::Static("best_static"),
    ),
    ("learned", "the runtime, with everything it learns", Policy::Learned(Without::Nothing)),
    ("learned_no_retry", "the same without retries", Policy::Learned(Without::Retry)),
    ("learned_no_breaker", "the same with a circuit that hardly ever opens", Policy::Learned(Without::Breaker)),
    ("learned_no_cache", "the same without answers from memory", Policy::Learned(Without::Cache)),
    ("learned_no_batch", "the same without calls made together", Policy::Learned(Without::Batch)),
    ("learned_no_queue", "the same without putting off what failed", Policy::Learned(Without::Queue)),
    ("clairvoyant", "knows what is up, and what holds; no coin flips", Policy::Clairvoyant),
];

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A client of its own.
    Peer(Kind),
    /// The runtime with every parameter held at a value.
    Static(&'static str),
    /// The runtime that learns.
    Learned(Without),
    /// The client that knows the state of everything.
    Clairvoyant,
}

/// Which part of the runtime is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// None.
    Nothing,
    /// Retries.
    Retry,
    /// The circuit breaker.
    Breaker,
    /// The cache.
    Cache,
    /// Batches.
    Batch,
    /// Putting off what failed.
    Queue,
}

impl Policy {
    /// The policy of a name.
    ///
    /// # Errors
    ///
    /// What names there are.
    pub fn find(name: &str) -> Result<Self, String> {
        POLICIES.iter().find(|(known, ..)| *known == name).map(|(.., policy)| *policy).ok_or_else(|| {
            let names = POLICIES.map(|(name, ..)| name).join("`, `");
            format!("there is no policy `{name}`; write some of `{names}`")
        })
    }

    /// Whether the runtime learns under it.
    #[must_use]
    pub fn learns(self) -> bool {
        matches!(self, Self::Learned(_))
    }
}

/// The configuration of the runtime for a policy in a world; `held` are the values of a static one.
pub(crate) fn config(world: &World, without: Without, held: Option<&Static>) -> Config {
    let queue = QueueConfig { concurrency: 64, ..QueueConfig::default() };
    let learning = if held.is_some() { Learning::Off } else { Learning::On };
    let config = Config { queue, learning, ..Config::default() };
    let services = world.services.iter().enumerate();
    services.fold(config, |config, (index, model)| config.service(service(world, index, model, without, held)))
}

fn service(world: &World, index: usize, model: &Model, without: Without, held: Option<&Static>) -> ServiceConfig {
    let mut service = ServiceConfig {
        timezone: model.timezone.as_ref().map(|(name, _)| name.clone()),
        deadline: Some(Duration::from_secs_f64(world.client.deadline)),
        ..ServiceConfig::named(&model.name)
    };
    if let Some(held) = held {
        service.pin = held.pins.get(&model.name).cloned().unwrap_or_default();
        service.avoid = held.avoid.get(&model.name).and_then(|window| window.parse().ok()).into_iter().collect();
    }
    let timeout = "timeout.attempt";
    if world.client.fixed_timeout && service.pin.iter().all(|(parameter, ..)| parameter.name != timeout) {
        service = service.pin(timeout, world.client.timeout);
    }
    service = match without {
        Without::Retry => service.pin("retry.max_retries", 0),
        Without::Breaker => service.pin("breaker.failure_threshold", 50).pin("breaker.open_for", 1),
        _ => service,
    };
    for step in world.steps.iter().filter(|step| step.service == index) {
        let mut tool = ToolConfig::default();
        tool = if step.read { tool.read_only() } else { tool.idempotent() };
        if step.cacheable && without != Without::Cache {
            tool = tool.cacheable();
        }
        if step.deferrable && without != Without::Queue {
            tool = tool.deferrable();
        }
        if step.queued {
            tool = tool.queued(Priority::Critical);
        }
        if let Some(bulk) = step.bulk.as_ref().filter(|_| without != Without::Batch) {
            tool = tool.batch(bulk, "items", "results");
        }
        service = service.tool(&step.operation, tool);
    }
    service
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_policy() {
        for (name, _, policy) in POLICIES {
            assert_eq!(Policy::find(name), Ok(policy), "{name}");
        }
        assert!(Policy::find("nobody").unwrap_err().starts_with("there is no policy `nobody`; write some of `none`"));
    }

    #[test]
    fn every_policy_of_every_world_is_a_configuration_that_holds() {
        for (name, _) in crate::world::EMBEDDED {
            let world = World::find(name).unwrap();
            for without in [Without::Nothing, Without::Retry, Without::Breaker, Without::Cache, Without::Queue] {
                config(&world, without, None).check().unwrap();
            }
            for held in world.statics.values() {
                config(&world, Without::Nothing, Some(held)).check().unwrap();
            }
        }
    }
}
