fn fetch(&self, page: &Page) -> Result<Doc, Error> {
    {
        use ::poet::__private::Settled as _;
        ::poet::__private::immediate(
            (&&::poet::__private::Probe::<Result<Doc, Error>>::new()).settled(),
        );
    }
    let call = ::poet::__private::Call::new(
            ::poet::__private::caps!(Result < Doc, Error >),
        )
        .cached(
            ::poet::__private::keeps!(Result < Doc, Error >),
            ::poet::__private::key_of(
                &(
                    ::poet::__private::key_part(&(self.tenant)),
                    ::poet::__private::key_part(&(page.number + 1)),
                ),
            ),
        );
    ::poet::__private::run_sync_once(
        {
            static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(::poet::__private::Declaration {
                cache: ::poet::__private::core::option::Option::Some(
                    ::poet::__private::CacheFor::Fixed(
                        ::poet::__private::core::time::Duration::new(300u64, 0u32),
                    ),
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
        move || {
            #[allow(clippy::shadow_same)]
            let page = page;
            let _ = &page;
            if let ::poet::__private::core::option::Option::Some(answer) = ::poet::__private::core::option::Option::None::<
                Result<Doc, Error>,
            > {
                return answer;
            }
            { self.the_body(page) }
        },
    )
}
