//! Domain profiles of [`poet-rs`](https://docs.rs/poet-rs), and what each domain brings.

#[cfg(feature = "mcp")]
pub mod mcp;

use poet_runtime::Profile;
use poet_runtime::service::FindCaller;

#[cfg(feature = "mcp")]
use mcp::recognise;
#[cfg(not(feature = "mcp"))]
fn recognise(_: &(dyn std::error::Error + 'static)) -> Option<poet_runtime::Class> {
    None
}

#[cfg(feature = "mcp")]
const CALLER: Option<FindCaller> = Some(mcp::caller);
#[cfg(not(feature = "mcp"))]
const CALLER: Option<FindCaller> = None;

/// Calls to MCP servers.
pub static MCP_INTEGRATION: Profile =
    Profile { classify: Some(recognise), caller: CALLER, ..Profile::named("mcp_integration") };

/// Every domain, by its name in `domain = "…"`.
pub static ALL: &[&Profile] = &[&MCP_INTEGRATION];

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
