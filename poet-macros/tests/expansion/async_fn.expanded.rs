/// Fetches a document.
#[must_use]
pub async fn fetch(
    path: &str,
    page: Page,
    __arg2: (u32, u32),
    __arg3: Token,
) -> Result<Doc, Error> {
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
                async move { #[allow(clippy::shadow_same)] let path = path;
                #[allow(clippy::shadow_same)] let mut page = page; let __arg2 = __arg2;
                let (from, _) = __arg2; let __arg3 = __arg3; if let
                ::poet::__private::core::option::Option::Some(answer) =
                ::poet::__private::core::option::Option::None:: < Result < Doc, Error > >
                { return answer; } { the_body(path, page, from). await } }
            ),
        )
        .await
}
