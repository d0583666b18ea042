async fn fetch(page: Page) -> Result<Doc, Error> {
    let call = ::poet::__private::Call::new(
        ::poet::__private::caps!(Result < Doc, Error >),
    );
    ::poet::__private::run_batched_once(
            {
                static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(::poet::__private::Declaration {
                    deferrable: true,
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
            page,
            |items| bulk::fetch_all(items),
            move |page| async move {
                #[allow(clippy::shadow_same)]
                let mut page = page;
                if let ::poet::__private::core::option::Option::Some(answer) = ::poet::__private::core::option::Option::None::<
                    Result<Doc, Error>,
                > {
                    return answer;
                }
                { the_body(&mut page).await }
            },
        )
        .await
}
