async fn fetch(&self, path: String) -> Result<Doc, Error> {
    let call = ::poet::__private::Call::new(
        ::poet::__private::caps!(Result < Doc, Error >),
    );
    let spare = (::poet::__private::repeatable(&path).spare(&path),);
    ::poet::__private::run_once_or(
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
                async move { #[allow(clippy::shadow_same)] let path = path; if let
                ::poet::__private::core::option::Option::Some(answer) =
                ::poet::__private::core::option::Option::None:: < Result < Doc, Error > >
                { return answer; } { the_body(path). await } }
            ),
            move || {
                let (path,) = spare;
                Self::spare(self, path)
            },
        )
        .await
}
