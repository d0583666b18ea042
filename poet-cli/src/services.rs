//! The services that a command looks at or calls: those of the configuration, or one that is only named on the command
//! line; and the runtime they are called through.

use crate::Refusal;
use crate::arguments::Arguments;
use clap::Args;
use poet_domains::mcp::{McpResource, ToolInfo};
use poet_runtime::config::{Config, ServiceConfig, Transport, did_you_mean};
use poet_runtime::{Error, Learning, Runtime};
use std::path::Path;
use std::time::Duration;

/// How long what was observed may take to be written down at the end.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);
/// The name of a service that stands in no configuration.
pub(crate) const UNNAMED: &str = "server";

const EXAMPLE: &str = "http://localhost:8002/mcp";

/// A server that stands in no configuration.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// The address of a server that stands in no configuration
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// The environment variable that holds the bearer token for --url
    #[arg(long, value_name = "NAME", requires = "url")]
    token_env: Option<String>,
    /// An environment variable that COMMAND is given beside the few it needs to run: NAME, with our value, or NAME=VALUE
    #[arg(long, value_name = "NAME", requires = "command")]
    env: Vec<String>,
    /// The program that is a server and stands in no configuration, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Server {
    /// The service that it is; `None` where none is named.
    pub(crate) fn service(&self, env: impl Fn(&str) -> Option<String>) -> Result<Option<ServiceConfig>, Refusal> {
        let value = |name: &str| {
            let value = env(name).filter(|value| !value.trim().is_empty());
            value.ok_or_else(|| Refusal::usage(format!("the environment variable {name} is not set")))
        };
        let Some(url) = &self.url else {
            let Some((program, arguments)) = self.command.split_first() else {
                return Ok(None);
            };
            let mut service = ServiceConfig { args: arguments.to_vec(), ..ServiceConfig::stdio(UNNAMED, program) };
            for variable in &self.env {
                service = match variable.split_once('=') {
                    Some((name, value)) => service.env(name, value),
                    None => service.env(variable, value(variable)?),
                };
            }
            return Ok(Some(service));
        };
        let over = Transport::of_address(url);
        let over = over.ok_or_else(|| Refusal::usage(format!("`--url`: expected an address such as {EXAMPLE}")))?;
        let mut service = ServiceConfig { transport: over, ..ServiceConfig::http(UNNAMED, url) };
        if let Some(name) = &self.token_env {
            service = service.auth_token(value(name)?);
        }
        Ok(Some(service))
    }

    /// The configuration that is meant, and whether it is that of a server that stands in none.
    pub(crate) fn config(&self, arguments: &Arguments) -> Result<(Config, bool), Refusal> {
        match self.service(|name| std::env::var(name).ok())? {
            Some(service) => Ok((Config::default().service(service), true)),
            None => {
                let config = arguments.read_config().map_err(|error| Refusal::usage(error.to_string()))?;
                Ok((config, false))
            }
        }
    }
}

/// The service of that name, which has tools.
pub(crate) fn find<'c>(config: &'c Config, name: &str) -> Result<&'c ServiceConfig, Refusal> {
    let names: Vec<_> = reachable(config).map(|service| service.name.as_str()).collect();
    match config.services.get(name) {
        Some(service) if service.has_address() => Ok(service),
        Some(_) => {
            Err(Refusal::usage(format!("service `{name}` is one that functions call themselves: it has no tools")))
        }
        None if names.is_empty() => Err(Refusal::usage(nothing(config))),
        None => Err(Refusal::usage(format!("there is no service `{name}`; {}", did_you_mean(name, &names)))),
    }
}

/// The services whose tools can be called.
pub(crate) fn reachable(config: &Config) -> impl Iterator<Item = &ServiceConfig> {
    config.services.values().filter(|service| service.has_address())
}

/// What to write where there is no service to reach.
pub(crate) fn nothing(config: &Config) -> String {
    match &config.file {
        Some(file) => format!("{} has no service with a `url` or a `command`", file.display()),
        None => {
            "which services? write `--config PATH`, or set POET_CONFIG, to the configuration of the program; or name a \
                 server by `--url URL` or `-- COMMAND`"
                .to_owned()
        }
    }
}

/// The runtime of a command; without a database nothing of it outlives the command.
pub(crate) fn runtime(mut config: Config, database: Option<&Path>) -> Result<Runtime, Refusal> {
    // Whoever works on jobs by himself, it is not a command, which ends at once or runs them when it says so.
    config.queue.work = false;
    let builder = Runtime::builder().configuration(config);
    let mut builder = match database {
        Some(path) => builder.database(path),
        None => builder.in_memory(),
    };
    for profile in poet_domains::ALL {
        builder = builder.profile(profile);
    }
    builder.build().map_err(|error| Refusal::usage(error.to_string()))
}

/// The runtime of a command that only looks: it learns nothing.
fn onlooker(mut config: Config) -> Result<Runtime, Refusal> {
    config.learning = Learning::Off;
    runtime(config, None)
}

/// Runs a command that has to wait.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| Refusal::nothing(format!("starting: {error}")))?.block_on(future))
}

/// The tools of a service, and how long it took to be told.
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) tools: Result<Vec<ToolInfo>, Error>,
    pub(crate) elapsed: Duration,
}

/// Connects to services, all at once, and lists their tools; in the order of their names.
pub(crate) fn list(config: &Config, names: Vec<String>) -> Result<Vec<Listed>, Refusal> {
    let config = config.clone();
    block_on(async {
        let runtime = onlooker(config)?;
        let listed = ask(&runtime, names).await;
        let _ = runtime.shutdown(LAST_WORDS).await;
        Ok(listed)
    })?
}

async fn ask(runtime: &Runtime, names: Vec<String>) -> Vec<Listed> {
    let asking = names.into_iter().map(|name| {
        let runtime = runtime.clone();
        tokio::spawn(async move {
            let began = runtime.clock().now();
            let tools = runtime.scope(McpResource::new(name.clone()).list_tools()).await;
            Listed { name, tools, elapsed: runtime.clock().now().saturating_duration_since(began) }
        })
    });
    let mut listed = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        // A task of ours ends in panic only if the library does, which then has said so itself.
        listed.extend(asked.await);
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: Option<&str>, command: &[&str]) -> Server {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let env = vec!["TOKEN".to_owned(), "DEBUG=1".to_owned()];
        Server { url: url.map(str::to_owned), token_env: Some("TOKEN".to_owned()), env, command }
    }

    #[test]
    fn a_server_is_named_by_its_address_or_by_its_program() {
        let env = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
        let over = |url| named(Some(url), &[]).service(env).unwrap().unwrap();
        assert_eq!(over("http://a"), ServiceConfig::http(UNNAMED, "http://a").auth_token("hunter2"));
        assert_eq!(over("ws://a").transport, Transport::WebSocket);
        assert_eq!(named(Some("a:80"), &[]).service(env).unwrap_err().code, 2);
        let program = named(None, &["npx", "-y"]).service(env).unwrap();
        let npx = ServiceConfig::stdio(UNNAMED, "npx").arg("-y").env("TOKEN", "hunter2").env("DEBUG", "1");
        assert_eq!(program, Some(npx));
        assert_eq!(named(None, &[]).service(env).unwrap(), None);
    }

    #[test]
    fn a_token_that_is_not_there_is_said_before_anything_is_sent() {
        for server in [named(Some("http://a"), &[]), named(None, &["npx"])] {
            let refused = server.service(|_| None).unwrap_err();
            assert_eq!((refused.code, refused.message.as_str()), (2, "the environment variable TOKEN is not set"));
        }
    }
}
