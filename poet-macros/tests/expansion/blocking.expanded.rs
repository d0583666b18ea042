fn fetch(path: &str) -> io::Result<Doc> {
    {
        use ::poet::__private::Settled as _;
        ::poet::__private::immediate(
            (&&::poet::__private::Probe::<io::Result<Doc>>::new()).settled(),
        );
    }
    let call = ::poet::__private::Call::new(
        ::poet::__private::caps!(io::Result < Doc >),
    );
    ::poet::__private::run_sync_once(
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
        move || {
            #[allow(clippy::shadow_same)]
            let path = path;
            if let ::poet::__private::core::option::Option::Some(answer) = ::poet::__private::core::option::Option::None::<
                io::Result<Doc>,
            > {
                return answer;
            }
            { the_body(path) }
        },
    )
}
