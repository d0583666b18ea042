//! The reference world: a customer database, a CRM, billing and a warehouse, failing as the scenario states.
//!
//! Calibrated so that a client without any protection completes 85.6 % of its requests, in 1.88 s and 3.2 calls each.

use super::service::{Model, Validity};
use poet_runtime::config::{Config, QueueConfig, ServiceConfig, ToolConfig};
use poet_runtime::{Learning, Priority};

/// The services of the reference world.
pub static REFERENCE: [Model; 4] = [
    Model {
        name: "customer_database",
        mean: 0.15,
        sigma: 0.5,
        transient: 0.002,
        outage: 60.0,
        unavailable: 0.0,
        hours: &[],
        validity: Some(Validity { certain: 0.0, mean: 12.0 * 3_600.0 }),
        bulk: None,
    },
    Model {
        name: "salesforce_crm",
        mean: 0.45,
        sigma: 0.6,
        transient: 0.088,
        outage: 45.0,
        unavailable: 0.032,
        hours: &[(12, 1.4), (8, 1.2), (17, 1.2)],
        validity: None,
        bulk: None,
    },
    Model {
        name: "billing_system",
        mean: 0.45,
        sigma: 0.5,
        transient: 0.006,
        outage: 300.0,
        unavailable: 0.044,
        hours: &[],
        validity: Some(Validity { certain: 900.0, mean: 600.0 }),
        bulk: None,
    },
    Model {
        name: "analytics_warehouse",
        mean: 1.2,
        sigma: 0.4,
        transient: 0.010,
        outage: 60.0,
        unavailable: 0.0,
        hours: &[],
        validity: None,
        bulk: Some(1.0),
    },
];

/// Requests per second relative to the mean, by hour of the day.
pub(super) const DIURNAL: [f64; 24] = [
    0.3, 0.2, 0.2, 0.2, 0.2, 0.3, 0.5, 0.8, 1.3, 1.8, 1.9, 1.9, 1.6, 1.7, 1.9, 1.9, 1.8, 1.5, 1.1, 0.8, 0.7, 0.6, 0.5,
    0.4,
];

/// How many customers there are; some are asked for more often than others (Zipf's law with exponent 0.8).
pub(super) const CUSTOMERS: usize = 160;

/// What a client does about the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// One attempt of ten seconds, whatever happens.
    None,
    /// Everything that the runtime does and learns.
    Learned,
}

impl Policy {
    /// Its name in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Learned => "learned",
        }
    }

    /// The configuration that says so.
    pub(super) fn config(self) -> Config {
        match self {
            Self::None => {
                REFERENCE.iter().fold(Config { learning: Learning::Off, ..Config::default() }, |config, model| {
                    let service = ServiceConfig::named(model.name)
                        .pin("retry.max_retries", 0)
                        .pin("timeout.attempt", 10)
                        .pin("breaker.failure_threshold", 50)
                        .pin("breaker.open_for", 1);
                    config.service(service)
                })
            }
            Self::Learned => {
                let queue = QueueConfig { concurrency: 64, ..QueueConfig::default() };
                Config { queue, ..Config::default() }
                    .service(
                        ServiceConfig::named("customer_database")
                            .tool("get", ToolConfig::default().read_only().cacheable()),
                    )
                    .service(
                        ServiceConfig::named("salesforce_crm")
                            .tool("update", ToolConfig::default().idempotent().deferrable()),
                    )
                    .service(
                        ServiceConfig::named("billing_system")
                            .tool("get", ToolConfig::default().read_only().cacheable().deferrable()),
                    )
                    .service(ServiceConfig::named("analytics_warehouse").tool(
                        "upsert",
                        ToolConfig::default().idempotent().queued(Priority::Critical).batch(
                            "upsert_all",
                            "items",
                            "results",
                        ),
                    ))
            }
        }
    }
}
