//! Domain profiles of [`poet-rs`](https://docs.rs/poet-rs), and what each domain brings.

use poet_runtime::Profile;

/// Calls to MCP servers.
pub static MCP_INTEGRATION: Profile = Profile::named("mcp_integration");

/// Every domain, by its name in `domain = "…"`.
pub static ALL: &[&Profile] = &[&MCP_INTEGRATION];
