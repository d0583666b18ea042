//! What cannot both be so, and names that stand for nothing: found in what was meant, so that a file and a program are
//! told the same.

use super::path::Path;
use super::pins::Pins;
use super::service::{FallbackConfig, ServiceConfig, ToolConfig};
use super::{Config, StoreConfig, duration, suggest};
use crate::calendar;
use crate::parameter::{ATTEMPT_TIMEOUT, CACHE_TTL, Parameter};
use std::time::Duration;

/// One contradiction, and the key or value to change.
pub(super) struct Contradiction {
    pub(super) path: Path,
    pub(super) spot: Spot,
    pub(super) message: String,
}

/// Which half of `key = value` is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    Key,
    Value,
}

impl Contradiction {
    fn key(path: Path, message: impl Into<String>) -> Self {
        Self { path, spot: Spot::Key, message: message.into() }
    }

    fn value(path: Path, message: impl Into<String>) -> Self {
        Self { path, spot: Spot::Value, message: message.into() }
    }
}

/// Every contradiction of a configuration.
pub(super) fn all(config: &Config) -> Vec<Contradiction> {
    let mut found = Vec::from_iter(store(&config.store));
    for (name, service) in &config.services {
        let path = Path::of(&["services", name]);
        found.extend(hours(&path, service));
        found.extend(access(&path, service));
        let own = Limits { timeout: service.timeout, deadline: service.deadline, pin: &service.pin };
        found.extend(own.contradictions(&path, None));
        for (tool, config_of_tool) in &service.tools {
            let path = path.key("tools").key(tool);
            let limits =
                Limits { timeout: config_of_tool.timeout, deadline: config_of_tool.deadline, pin: &config_of_tool.pin };
            found.extend(limits.contradictions(&path, Some(service)));
            let tool = Tool { config, service: name, name: tool, tool: config_of_tool, path };
            found.extend(tool.repeatability());
            found.extend(tool.cache());
            found.extend(tool.invalidates());
            found.extend(tool.batch());
            found.extend(tool.fallback());
        }
    }
    found
}

fn store(store: &StoreConfig) -> Option<Contradiction> {
    let both = store.memory && store.path.is_some();
    let message = "contradicts `path`: what is kept in memory is in no file; remove one of the two";
    both.then(|| Contradiction::value(Path::of(&["store", "memory"]), message))
}

/// Hours that leave none, or that are those of no place.
fn hours(path: &Path, service: &ServiceConfig) -> Vec<Contradiction> {
    let windows: Vec<_> = service.avoid.iter().chain(&service.maintenance).copied().collect();
    let key = if service.avoid.is_empty() { "maintenance" } else { "avoid" };
    let both = if service.avoid.is_empty() || service.maintenance.is_empty() { "" } else { " with `maintenance`" };
    let leaves_none = calendar::never_end(&windows).then(|| {
        let message = format!("leaves no hour of the week{both}; leave some in which calls may be made");
        Contradiction::value(path.key(key), message)
    });
    let nowhere = service.timezone.as_deref().filter(|zone| !calendar::is_timezone(zone)).map(|_| {
        Contradiction::value(
            path.key("timezone"),
            "there is no such time zone; expected an IANA name such as \"America/New_York\"",
        )
    });
    leaves_none.into_iter().chain(nowhere).collect()
}

/// Names that are allowed and denied, by the same word.
fn access(path: &Path, service: &ServiceConfig) -> Vec<Contradiction> {
    let both = |(i, name): (usize, &String)| {
        let message = format!("`{}` is in `allow` too; remove it from one of the two", name.escape_debug());
        service.allow.contains(name).then(|| Contradiction::value(path.key("deny").item(i), message))
    };
    service.deny.iter().enumerate().filter_map(both).collect()
}

struct Limits<'c> {
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    pin: &'c Pins,
}

impl Limits<'_> {
    /// The limits of `service` hold for its tools unless these have their own.
    fn contradictions(&self, path: &Path, service: Option<&ServiceConfig>) -> Vec<Contradiction> {
        let twice = twice(path, "timeout", self.timeout, self.pin, &ATTEMPT_TIMEOUT);
        let one = self.timeout.or(service.and_then(|service| service.timeout));
        let whole = self.deadline.or(service.and_then(|service| service.deadline));
        let too_long = one.zip(whole).filter(|(one, whole)| one > whole).and_then(|(one, whole)| {
            let key = self.timeout.map(|_| "timeout").or(self.deadline.map(|_| "deadline"))?;
            let (one, whole) = (duration::show(one), duration::show(whole));
            let message = format!("one attempt may not take longer ({one}) than the whole call ({whole})");
            Some(Contradiction::value(path.key(key), message))
        });
        twice.into_iter().chain(too_long).collect()
    }
}

/// A duration that is written under its own key and as a pin.
fn twice(
    path: &Path,
    key: &str,
    written: Option<Duration>,
    pins: &Pins,
    parameter: &Parameter,
) -> Option<Contradiction> {
    written?;
    pins.get(parameter, None)?;
    let message = format!("says the same as `pin.\"{}\"`; keep one of the two", parameter.name);
    Some(Contradiction::key(path.key(key), message))
}

/// A tool and what is around it.
struct Tool<'c> {
    config: &'c Config,
    service: &'c str,
    name: &'c str,
    tool: &'c ToolConfig,
    path: Path,
}

impl Tool<'_> {
    fn repeatability(&self) -> Option<Contradiction> {
        let contradicts = self.tool.read_only == Some(true) && self.tool.idempotent == Some(false);
        let message = "contradicts `read_only`: what changes nothing may be executed more than once";
        contradicts.then(|| Contradiction::value(self.path.key("idempotent"), message))
    }

    fn cache(&self) -> Vec<Contradiction> {
        let Some(cache) = self.tool.cache else {
            return Vec::new();
        };
        let write = match (self.tool.read_only, self.tool.idempotent) {
            (Some(false), _) => Some("read_only = false"),
            (None, Some(false)) => Some("idempotent = false"),
            // What is said to be read only and not repeatable was refused for that.
            _ => None,
        };
        let write = write.map(|said| {
            let message = format!("contradicts `{said}`: the answer of a write is never kept; remove one of the two");
            Contradiction::value(self.path.key("cache"), message)
        });
        let twice = twice(&self.path, "cache", cache.ttl, &self.tool.pin, &CACHE_TTL);
        write.into_iter().chain(twice).collect()
    }

    fn invalidates(&self) -> Vec<Contradiction> {
        let path = self.path.key("invalidates");
        let read = match self.tool {
            ToolConfig { read_only: Some(true), .. } => Some("`read_only`: what changes nothing"),
            ToolConfig { cache: Some(_), .. } => Some("`cache`: what is answered from memory changes nothing, and"),
            _ => None,
        };
        let read = read.filter(|_| !self.tool.invalidates.is_empty()).map(|read| {
            let message = format!("contradicts {read} makes no kept answer worthless; remove one of the two");
            Contradiction::value(path.clone(), message)
        });
        let names = self.tool.invalidates.iter().enumerate().filter_map(|(i, written)| {
            let problem = match self.config.operation(self.service, written) {
                Ok(operation) if operation == (self.service, self.name) => {
                    "names the tool itself; name those whose kept answers it makes worthless".to_owned()
                }
                Ok(_) => return None,
                Err(problem) => problem,
            };
            Some(Contradiction::value(path.item(i), problem))
        });
        read.into_iter().chain(names).collect()
    }

    fn batch(&self) -> Option<Contradiction> {
        let batch = self.tool.batch.as_ref().filter(|batch| batch.tool == self.name)?;
        let message = format!("`{}` is the tool itself; name the one that takes many", batch.tool);
        Some(Contradiction::value(self.path.key("batch").key("tool"), message))
    }

    fn fallback(&self) -> Option<Contradiction> {
        let path = self.path.key("fallback");
        let fallback = self.tool.fallback.as_ref()?;
        if let Err(problem) = self.config.service_named(&fallback.service) {
            return Some(Contradiction::value(path.key("service"), problem));
        }
        let round = self.round(fallback)?;
        let message = match &round[..] {
            [_] => "is the tool itself; name another".to_owned(),
            more => {
                let tools: Vec<_> = more.iter().map(|(service, tool)| format!("`{service}.{tool}`")).collect();
                format!("goes round in a circle, by {}; remove one", tools.join(", "))
            }
        };
        Some(Contradiction::value(path, message))
    }

    /// The tools from this one back to it, in the order in which they would be asked; told of one tool of a circle
    /// only, the first by name.
    fn round<'t>(&'t self, first: &'t FallbackConfig) -> Option<Vec<(&'t str, &'t str)>> {
        let start = (self.service, self.name);
        let mut asked = vec![start];
        let mut next = Some(first);
        while let Some(fallback) = next {
            let tool = (fallback.service.as_str(), fallback.tool.as_str());
            if tool == start {
                return asked.iter().all(|other| start <= *other).then_some(asked);
            }
            // A circle further on, which this tool only leads into.
            if asked.contains(&tool) {
                return None;
            }
            asked.push(tool);
            let config = self.config.services.get(tool.0).and_then(|service| service.tools.get(tool.1));
            next = config.and_then(|tool| tool.fallback.as_ref());
        }
        None
    }
}

impl Config {
    /// The service and tool that a name stands for where a tool of the service `own` is configured: `tool` of the same
    /// service, or `service.tool`. Both may contain dots themselves: a tool of `own` that is configured stands before
    /// another service, and a longer name of a service before a shorter one.
    pub(super) fn operation<'c>(&'c self, own: &'c str, written: &'c str) -> Result<(&'c str, &'c str), String> {
        let configured = self.services.get(own).is_some_and(|service| service.tools.contains_key(written));
        if !written.contains('.') || configured {
            return if written.trim().is_empty() { Err(unnamed(written)) } else { Ok((own, written)) };
        }
        let known = written
            .rmatch_indices('.')
            .map(|(dot, _)| (&written[..dot], &written[dot + 1..]))
            .find(|(service, _)| self.services.contains_key(*service));
        match known {
            Some((_, tool)) if tool.trim().is_empty() => Err(unnamed(written)),
            Some(found) => Ok(found),
            None => {
                let service = written.split('.').next().unwrap_or_default();
                self.service_named(service).map(|_| (own, written))
            }
        }
    }

    fn service_named(&self, name: &str) -> Result<&ServiceConfig, String> {
        self.services.get(name).ok_or_else(|| {
            let names: Vec<_> = self.services.keys().map(String::as_str).collect();
            format!("there is no service `{}`; {}", name.escape_debug(), suggest::or_all(name, &names))
        })
    }
}

fn unnamed(written: &str) -> String {
    format!("expected `tool` or `service.tool`, found \"{}\"", written.escape_debug())
}
