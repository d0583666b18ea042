#[poet(domain = my_crate::SLOW_REPORTS, priority = order.priority())]
async fn fetch(order: Order) -> Result<Doc, Error> {
    the_body(order).await
}
