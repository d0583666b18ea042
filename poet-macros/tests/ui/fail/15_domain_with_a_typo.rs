use poet::poet;

#[poet(domain = "mcp_intergration")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
