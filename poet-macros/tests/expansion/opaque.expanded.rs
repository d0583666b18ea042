fn list(all: &[u8]) -> impl Iterator<Item = u8> {
    let call = ::poet::__private::Call::new(::poet::__private::Caps::observe());
    ::poet::__private::run_sync_once(
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
        move || {
            #[allow(clippy::shadow_same)]
            let all = all;
            { the_body(all) }
        },
    )
}
