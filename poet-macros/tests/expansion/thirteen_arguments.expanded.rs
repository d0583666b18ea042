fn fetch(
    a: A,
    b: B,
    c: C,
    d: D,
    e: E,
    f: F,
    g: G,
    h: H,
    i: I,
    j: J,
    k: K,
    l: L,
    m: M,
) -> Result<Doc, Error> {
    {
        use ::poet::__private::Settled as _;
        ::poet::__private::immediate(
            (&&::poet::__private::Probe::<Result<Doc, Error>>::new()).settled(),
        );
    }
    let call = ::poet::__private::Call::new(
        ::poet::__private::caps!(Result < Doc, Error >),
    );
    let mut args = (
        ::poet::__private::repeatable(&a).again(a),
        ::poet::__private::repeatable(&b).again(b),
        ::poet::__private::repeatable(&c).again(c),
        ::poet::__private::repeatable(&d).again(d),
        ::poet::__private::repeatable(&e).again(e),
        ::poet::__private::repeatable(&f).again(f),
        ::poet::__private::repeatable(&g).again(g),
        ::poet::__private::repeatable(&h).again(h),
        ::poet::__private::repeatable(&i).again(i),
        ::poet::__private::repeatable(&j).again(j),
        ::poet::__private::repeatable(&k).again(k),
        ::poet::__private::repeatable(&l).again(l),
        ::poet::__private::repeatable(&m).again(m),
    );
    ::poet::__private::run_sync(
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
            let (a, b, c, d, e, f, g, h, i, j, k, l, m) = (
                args.0.next(last),
                args.1.next(last),
                args.2.next(last),
                args.3.next(last),
                args.4.next(last),
                args.5.next(last),
                args.6.next(last),
                args.7.next(last),
                args.8.next(last),
                args.9.next(last),
                args.10.next(last),
                args.11.next(last),
                args.12.next(last),
            );
            #[allow(clippy::shadow_same)]
            let a = a;
            #[allow(clippy::shadow_same)]
            let b = b;
            #[allow(clippy::shadow_same)]
            let c = c;
            #[allow(clippy::shadow_same)]
            let d = d;
            #[allow(clippy::shadow_same)]
            let e = e;
            #[allow(clippy::shadow_same)]
            let f = f;
            #[allow(clippy::shadow_same)]
            let g = g;
            #[allow(clippy::shadow_same)]
            let h = h;
            #[allow(clippy::shadow_same)]
            let i = i;
            #[allow(clippy::shadow_same)]
            let j = j;
            #[allow(clippy::shadow_same)]
            let k = k;
            #[allow(clippy::shadow_same)]
            let l = l;
            #[allow(clippy::shadow_same)]
            let m = m;
            if let ::poet::__private::core::option::Option::Some(answer) = ::poet::__private::core::option::Option::None::<
                Result<Doc, Error>,
            > {
                return answer;
            }
            { the_body(a, b, c, d, e, f, g, h, i, j, k, l, m) }
        },
    )
}
