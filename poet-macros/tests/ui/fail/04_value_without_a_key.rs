use poet::poet;

#[poet("mcp_integration")]
async fn fetch() -> Result<u8, poet::Error> {
    Ok(1)
}

fn main() {}
