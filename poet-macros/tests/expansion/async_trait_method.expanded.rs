fn fetch<'life0, 'async_trait>(
    &'life0 self,
    id: u64,
) -> ::core::pin::Pin<
    Box<dyn ::core::future::Future<Output = Result<Doc, Error>> + Send + 'async_trait>,
>
where
    'life0: 'async_trait,
    Self: 'async_trait,
{
    Box::pin(async move {
        let call = ::poet::__private::Call::new(
            ::poet::__private::caps!(Result < Doc, Error >),
        );
        ::poet::__private::run_once(
                {
                    static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(
                        ::poet::__private::Declaration::new(
                            "fetch",
                            ::poet::__private::core::module_path!(),
                            ::poet::__private::core::file!(),
                            ::poet::__private::core::line!(),
                        ),
                    );
                    &__POET_SITE
                },
                call,
                ::poet::__private::core::pin::pin!(
                    async move { if let
                    ::poet::__private::core::option::Option::Some(answer) =
                    ::poet::__private::core::option::Option::None:: < Result < Doc, Error
                    > > { return answer; } { let __self = self; let id = id;
                    the_body(__self, id). await } }
                ),
            )
            .await
    })
}
