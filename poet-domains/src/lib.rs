//! Domain profiles of [`poet-rs`](https://docs.rs/poet-rs), and what each domain brings.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "mcp")]
pub mod mcp;

use poet_runtime::Profile;
use std::time::Duration;

/// Calls to MCP servers.
pub static MCP_INTEGRATION: Profile = Profile {
    #[cfg(feature = "mcp")]
    classify: Some(mcp::recognise),
    #[cfg(feature = "mcp")]
    caller: Some(mcp::caller),
    ..Profile::named("mcp_integration")
};

/// Calls to HTTP APIs, by whatever client.
///
/// Different from the built-in defaults where HTTP is: what answers behind a load balancer is replaced within seconds,
/// so a circuit is probed after 30 s and not after a minute; an API that misses one answer in fifty is not well; and
/// where answers are kept, they are fresh for a minute.
pub static HTTP_API: Profile = Profile {
    open_for: Duration::from_secs(30),
    success_target: 0.98,
    cache_ttl: Duration::from_secs(60),
    #[cfg(feature = "http")]
    classify: Some(http::recognise),
    ..Profile::named("http_api")
};

/// Every domain, by its name in `domain = "…"`.
pub static ALL: &[&Profile] = &[&HTTP_API, &MCP_INTEGRATION];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_profile_names_itself_once() {
        let names: HashSet<_> = ALL.iter().map(|profile| profile.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
