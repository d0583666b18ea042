async fn fetch(id: u64) -> Result<Doc, Error> {
    framework::reliable::__private::required::<Result<Doc, Error>>();
    let call = framework::reliable::__private::Call::new(
        framework::reliable::__private::caps!(Result < Doc, Error >),
    );
    let mut args = (framework::reliable::__private::repeatable(&id).again(id),);
    framework::reliable::__private::run(
            {
                static __POET_SITE: framework::reliable::__private::Site = framework::reliable::__private::Site::new(framework::reliable::__private::Declaration {
                    profile: framework::reliable::__private::core::option::Option::Some(
                        &framework::reliable::domains::MCP_INTEGRATION,
                    ),
                    deadline: framework::reliable::__private::core::option::Option::Some(
                        framework::reliable::__private::core::time::Duration::new(
                            2u64,
                            0u32,
                        ),
                    ),
                    idempotent: true,
                    ..framework::reliable::__private::Declaration::new(
                        "fetch",
                        framework::reliable::__private::core::module_path!(),
                        framework::reliable::__private::core::file!(),
                        framework::reliable::__private::core::line!(),
                    )
                });
                &__POET_SITE
            },
            call,
            move |last| {
                let (id,) = (args.0.next(last),);
                async move {
                    #[allow(clippy::shadow_same)]
                    let id = id;
                    if let framework::reliable::__private::core::option::Option::Some(
                        answer,
                    ) = framework::reliable::__private::core::option::Option::None::<
                        Result<Doc, Error>,
                    > {
                        return answer;
                    }
                    { the_body(id).await }
                }
            },
        )
        .await
}
