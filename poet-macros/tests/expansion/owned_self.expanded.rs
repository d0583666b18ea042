async fn save(mut self, doc: Doc) -> Result<Id, Error> {
    let call = ::poet::__private::Call::new(
        ::poet::__private::caps!(Result < Id, Error >),
    );
    ::poet::__private::run_once(
            {
                static __POET_SITE: ::poet::__private::Site = ::poet::__private::Site::new(
                    ::poet::__private::Declaration::new(
                        "save",
                        ::poet::__private::core::module_path!(),
                        ::poet::__private::core::file!(),
                        ::poet::__private::core::line!(),
                    ),
                );
                &__POET_SITE
            },
            call,
            ::poet::__private::core::pin::pin!(
                async move { let _ = & self; #[allow(clippy::shadow_same)] let doc = doc;
                if let ::poet::__private::core::option::Option::Some(answer) =
                ::poet::__private::core::option::Option::None:: < Result < Id, Error > >
                { return answer; } { the_body(self.store, doc). await } }
            ),
        )
        .await
}
