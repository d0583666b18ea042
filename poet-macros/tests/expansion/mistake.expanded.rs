pub fn fetch(mut id: u64) -> Result<Doc, Error> {
    the_body(id)
}
::core::compile_error! {
    "a function that is not `idempotent` is never started again; add `idempotent`, or remove `retries`"
}
::core::compile_error! {
    "`timeout` needs an `async fn`; a blocking call cannot be interrupted"
}
