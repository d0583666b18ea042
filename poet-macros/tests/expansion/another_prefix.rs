#[poet(crate = framework::reliable, domain = "mcp_integration", idempotent, deadline = "2s")]
async fn fetch(id: u64) -> Result<Doc, Error> {
    the_body(id).await
}
