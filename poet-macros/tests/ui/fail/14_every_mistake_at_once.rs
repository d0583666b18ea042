use poet::poet;

#[poet(domian = "mcp_integration", learning = "maybe", timeout = "0s", retries = 2, cost = -1)]
fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
