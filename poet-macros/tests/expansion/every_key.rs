#[poet(
    domain = "mcp_integration",
    learning = "shadow",
    service = "salesforce_crm",
    operation = "update_contact",
    priority = "high",
    idempotent,
    retries = 2,
    timeout = "250ms",
    deadline = "1m 30s",
    cache = "5m",
    key(path, page.number),
    deferrable,
    fallback = spare::<Doc>,
    validate = check,
    failure = look,
    cost = 0.02,
    enforce = "required"
)]
async fn fetch(path: &str, page: Page) -> Result<Doc, Error> {
    the_body(path, page).await
}
