async fn serve() -> ! {
    let call = ::poet::__private::Call::new(::poet::__private::Caps::observe());
    ::poet::__private::run_once(
            {
                static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(
                    ::poet::__private::Declaration::new(
                        "serve",
                        ::poet::__private::core::module_path!(),
                        ::poet::__private::core::file!(),
                        ::poet::__private::core::line!(),
                    ),
                );
                &__POET_SITE
            },
            call,
            ::poet::__private::core::pin::pin!(async move { { the_body(). await } }),
        )
        .await
}
