#[poet]
fn fetch<'life0, 'async_trait>(
    &'life0 self,
    id: u64,
) -> ::core::pin::Pin<Box<dyn ::core::future::Future<Output = Result<Doc, Error>> + Send + 'async_trait>>
where
    'life0: 'async_trait,
    Self: 'async_trait,
{
    Box::pin(async move {
        let __self = self;
        let id = id;
        the_body(__self, id).await
    })
}
