async fn fetch(path: &str, page: Page) -> Result<Doc, Error> {
    ::poet::__private::required::<Result<Doc, Error>>();
    let call = ::poet::__private::Call::new(
            ::poet::__private::caps!(Result < Doc, Error >),
        )
        .failure(|answer| ::poet::__private::verdict(look(answer)))
        .validate(|answer| ::poet::__private::complaint(answer, check))
        .cached(
            ::poet::__private::keeps!(Result < Doc, Error >),
            ::poet::__private::key_of(
                &(
                    ::poet::__private::key_part(&(path)),
                    ::poet::__private::key_part(&(page.number)),
                ),
            ),
        );
    let spare = (
        ::poet::__private::repeatable(&path).spare(&path),
        ::poet::__private::repeatable(&page).spare(&page),
    );
    let mut args = (
        ::poet::__private::repeatable(&path).again(path),
        ::poet::__private::repeatable(&page).again(page),
    );
    ::poet::__private::run_or(
            {
                static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(::poet::__private::Declaration {
                    profile: ::poet::__private::core::option::Option::Some(
                        &::poet::domains::MCP_INTEGRATION,
                    ),
                    learning: ::poet::__private::core::option::Option::Some(
                        ::poet::__private::Learning::Shadow,
                    ),
                    priority: ::poet::__private::core::option::Option::Some(
                        ::poet::__private::Priority::High,
                    ),
                    service: ::poet::__private::core::option::Option::Some(
                        "salesforce_crm",
                    ),
                    operation: ::poet::__private::core::option::Option::Some(
                        "update_contact",
                    ),
                    retries: ::poet::__private::core::option::Option::Some(2u8),
                    timeout: ::poet::__private::core::option::Option::Some(
                        ::poet::__private::core::time::Duration::new(0u64, 250000000u32),
                    ),
                    deadline: ::poet::__private::core::option::Option::Some(
                        ::poet::__private::core::time::Duration::new(90u64, 0u32),
                    ),
                    cost: ::poet::__private::core::option::Option::Some(0.02f64),
                    cache: ::poet::__private::core::option::Option::Some(
                        ::poet::__private::CacheFor::Fixed(
                            ::poet::__private::core::time::Duration::new(300u64, 0u32),
                        ),
                    ),
                    idempotent: true,
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
            move |last| {
                let (path, page) = (args.0.next(last), args.1.next(last));
                async move {
                    #[allow(clippy::shadow_same)]
                    let path = path;
                    let _ = &path;
                    #[allow(clippy::shadow_same)]
                    let page = page;
                    let _ = &page;
                    if let ::poet::__private::core::option::Option::Some(answer) = ::poet::__private::core::option::Option::None::<
                        Result<Doc, Error>,
                    > {
                        return answer;
                    }
                    { the_body(path, page).await }
                }
            },
            move || {
                let (path, page) = spare;
                spare::<Doc>(path, page)
            },
        )
        .await
}
