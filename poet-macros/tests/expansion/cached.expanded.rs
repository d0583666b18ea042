async fn fetch(path: &str, __arg1: (u32, u32), __arg2: Page) -> Result<Doc, Error> {
    let call = ::poet::__private::Call::new(
            ::poet::__private::caps!(Result < Doc, Error >),
        )
        .cached(
            ::poet::__private::keeps!(Result < Doc, Error >),
            ::poet::__private::key_of(
                &(
                    ::poet::__private::key_part(&(path)),
                    ::poet::__private::key_part(&(__arg1)),
                    ::poet::__private::key_part(&(__arg2)),
                ),
            ),
        );
    ::poet::__private::run_once(
            {
                static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(::poet::__private::Declaration {
                    cache: ::poet::__private::core::option::Option::Some(
                        ::poet::__private::CacheFor::Learned,
                    ),
                    ..::poet::__private::Declaration::new(
                        "fetch",
                        ::poet::__private::core::module_path!(),
                        ::poet::__private::core::file!(),
                        ::poet::__private::core::line!(),
                    )
                });
                &__POET_SITE
            },
            call,
            ::poet::__private::core::pin::pin!(
                async move { #[allow(clippy::shadow_same)] let path = path; let __arg1 =
                __arg1; let (from, to) = __arg1; let __arg2 = __arg2; if let
                ::poet::__private::core::option::Option::Some(answer) =
                ::poet::__private::core::option::Option::None:: < Result < Doc, Error > >
                { return answer; } { the_body(path, from, to). await } }
            ),
        )
        .await
}
