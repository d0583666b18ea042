async fn fetch<T: Clone>(&self, path: &str, __arg1: (T, T)) -> Result<Doc, Error>
where
    T: Display,
{
    let call = ::poet::__private::Call::new(
        ::poet::__private::caps!(Result < Doc, Error >),
    );
    let mut args = (
        ::poet::__private::repeatable(&path).again(path),
        ::poet::__private::repeatable(&__arg1).again(__arg1),
    );
    ::poet::__private::run(
            {
                static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(::poet::__private::Declaration {
                    idempotent: true,
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
            move |last| {
                let (path, __arg1) = (args.0.next(last), args.1.next(last));
                async move {
                    #[allow(clippy::shadow_same)]
                    let path = path;
                    let __arg1 = __arg1;
                    let (from, to) = __arg1;
                    if let ::poet::__private::core::option::Option::Some(answer) = ::poet::__private::core::option::Option::None::<
                        Result<Doc, Error>,
                    > {
                        return answer;
                    }
                    { the_body(path, from, to).await }
                }
            },
        )
        .await
}
