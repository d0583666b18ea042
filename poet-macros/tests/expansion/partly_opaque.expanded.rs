async fn list(all: &[u8]) -> Result<impl Iterator<Item = u8>, Error> {
    let call = ::poet::__private::Call::new(
        ::poet::__private::caps!(Result < _, Error >),
    );
    ::poet::__private::run_once(
            {
                static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(
                    ::poet::__private::Declaration::new(
                        "list",
                        ::poet::__private::core::module_path!(),
                        ::poet::__private::core::file!(),
                        ::poet::__private::core::line!(),
                    ),
                );
                &__POET_SITE
            },
            call,
            ::poet::__private::core::pin::pin!(
                async move { #[allow(clippy::shadow_same)] let all = all; if let
                ::poet::__private::core::option::Option::Some(answer) =
                ::poet::__private::core::option::Option::None:: < Result < _, Error > > {
                return answer; } { the_body(all) } }
            ),
        )
        .await
}
