//! No name of ours meets a name of the user's, wherever either stands.

#![expect(dead_code, reason = "what shadows is never used")]

use poet::poet as reliable;

/// The names the expansion goes by, taken.
mod taken {
    pub(super) mod core {}
    pub(super) mod std {}
    pub(super) mod poet {}

    pub(super) enum Result<T, E> {
        Fine(T),
        Wrong(E),
    }
    pub(super) enum Option {
        Some,
        None,
    }
    pub(super) struct Ok;
    pub(super) struct Err;
    pub(super) struct Some;
    pub(super) struct Clone;
    pub(super) trait Future {}
    pub(super) fn drop() {}

    #[super::reliable]
    pub(super) async fn shadowed(fine: bool) -> Result<u8, &'static str> {
        if fine { Result::Fine(1) } else { Result::Wrong("no") }
    }

    #[super::reliable(idempotent)]
    pub(super) async fn shadowed_again(id: u8) -> ::std::result::Result<u8, ::poet::Error> {
        ::std::result::Result::Ok(id)
    }

    #[super::reliable]
    pub(super) fn shadowed_and_blocking() -> Option {
        Option::None
    }
}

/// A crate of the user's that goes by our name, and the real one under another.
mod renamed {
    use ::poet as framework;

    mod poet {}

    #[framework::poet(crate = framework, domain = "mcp_integration")]
    pub(super) async fn fetch() -> u8 {
        1
    }

    #[framework::poet(crate = ::poet, idempotent)]
    pub(super) async fn fetch_again() -> Result<u8, framework::Error> {
        Ok(1)
    }
}

#[expect(non_upper_case_globals, reason = "the names of our locals")]
mod constants {
    pub(super) const call: u8 = 1;
    pub(super) const args: u8 = 2;
    pub(super) const last: u8 = 3;
    pub(super) const spare: u8 = 4;
    pub(super) const answer: u8 = 5;
    pub(super) const __POET_SITE: u8 = 6;
    pub(super) const SITE: u8 = 7;
}

#[reliable(idempotent, failure = is_wrong)]
async fn sees_its_own_names(id: u8) -> Result<u8, poet::Error> {
    use constants::{__POET_SITE, SITE, answer, args, call, last, spare};
    Ok(call + args + last + spare + answer + __POET_SITE + SITE + id)
}

fn is_wrong(answer: &Result<u8, poet::Error>) -> bool {
    answer.is_err()
}

#[reliable]
async fn arguments_named_like_ours(call: u8, args: u8, last: bool, answer: u8, __arg0: u8, (_, x): (u8, u8)) -> u8 {
    if last { call + args + answer + __arg0 + x } else { 0 }
}

#[reliable(idempotent, fallback = self::spare)]
async fn arguments_named_like_ours_again(call: u8, args: u8, last: bool, spare: u8) -> Result<u8, poet::Error> {
    Ok(if last { call + args + spare } else { 0 })
}

async fn spare(_: u8, _: u8, _: bool, _: u8) -> Result<u8, poet::Error> {
    Ok(0)
}

type Foo = ();

enum Bar {
    Foo,
}

/// tokio-rs/tracing#3306: what the body imports must not change what the return type means.
#[reliable]
fn imports_what_shadows_its_return_type() -> Foo {
    #[expect(unused_imports, reason = "only its presence matters")]
    use Bar::*;
}

macro_rules! functions {
    ($($(#[$attribute:meta])* $name:ident($argument:ident: $ty:ty) -> $answer:ty $body:block)*) => {
        $(
            $(#[$attribute])*
            #[reliable]
            async fn $name($argument: $ty) -> $answer $body
        )*
    };
}

functions! {
    made_by_a_macro(id: u8) -> u8 { id + 1 }
    another_made_by_a_macro(_id: Vec<u8>) -> () {}
}

macro_rules! item {
    ($item:item) => {
        #[reliable(service = "macro", idempotent)]
        $item
    };
}

item! {
    async fn passed_on_as_an_item((a, b): (u8, u8)) -> Result<u8, poet::Error> {
        Ok(a + b)
    }
}

macro_rules! with_keys {
    ($service:literal, $retries:expr, $fallback:path, $priority:expr) => {
        #[reliable(service = $service, retries = $retries, idempotent, fallback = $fallback, priority = $priority)]
        async fn keys_from_a_macro(a: u8, b: u8, c: bool, d: u8) -> Result<u8, poet::Error> {
            Ok(if c { a + b + d } else { 0 })
        }
    };
}

with_keys!("crm", 2, spare, poet::Priority::High);

#[reliable]
async fn with_items_inside() -> u8 {
    let one = 1;
    struct Inner(u8);
    #[reliable]
    async fn inner(inner: Inner) -> u8 {
        inner.0
    }
    static SITE: u8 = 2;
    one + SITE + inner(Inner(3)).await
}

/// tokio-rs/tracing#2294: attributes inside the body stay where they work.
#[deny(unused_variables)]
#[reliable]
async fn with_attributes_inside() {
    #![expect(unused_variables, reason = "only its presence matters")]
    let unused = 42;
}

#[reliable]
async fn with_labels(all: &[u8]) -> u8 {
    'outer: loop {
        for one in all {
            if *one > 1 {
                break 'outer *one;
            }
        }
        if all.is_empty() {
            return 0;
        }
    }
}

#[tokio::test]
async fn names_never_meet() -> Result<(), poet::Error> {
    crate::keep_nothing();
    assert!(matches!(taken::shadowed(true).await, taken::Result::Fine(1)));
    assert!(matches!(taken::shadowed(false).await, taken::Result::Wrong("no")));
    assert_eq!(taken::shadowed_again(3).await?, 3);
    assert!(matches!(taken::shadowed_and_blocking(), taken::Option::None));
    assert_eq!(renamed::fetch().await + renamed::fetch_again().await?, 2);
    assert_eq!(sees_its_own_names(10).await?, 38);
    assert_eq!(arguments_named_like_ours(1, 2, true, 3, 4, (0, 5)).await, 15);
    assert_eq!(arguments_named_like_ours_again(1, 2, true, 3).await?, 6);
    assert_eq!(spare(1, 2, true, 3).await?, 0);
    imports_what_shadows_its_return_type();
    assert_eq!(made_by_a_macro(1).await, 2);
    another_made_by_a_macro(vec![]).await;
    assert_eq!(passed_on_as_an_item((1, 2)).await?, 3);
    assert_eq!(keys_from_a_macro(1, 2, true, 3).await?, 6);
    assert_eq!(with_items_inside().await, 6);
    with_attributes_inside().await;
    assert_eq!(with_labels(&[1, 2]).await, 2);
    Ok(())
}
