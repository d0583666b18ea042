fn fetch(&self, id: u64) -> BoxFuture<'_, Result<Doc, Error>> {
    async move {
        let call = ::poet::__private::Call::new(
            ::poet::__private::caps!(Result < Doc, Error >),
        );
        let mut args = (::poet::__private::repeatable(&id).again(id),);
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
                    let (id,) = (args.0.next(last),);
                    async move {
                        #[allow(clippy::shadow_same)]
                        let mut id = id;
                        if let ::poet::__private::core::option::Option::Some(answer) = ::poet::__private::core::option::Option::None::<
                            Result<Doc, Error>,
                        > {
                            return answer;
                        }
                        { the_body(self, id).await }
                    }
                },
            )
            .await
    }
        .boxed()
}
