//! Whether the calls of a function can be made together.
//!
//! A bulk call serves many callers and outlives each of them, so what it is given has to be owned, and be one thing.

use crate::args::PoetArgs;
use crate::errors::Errors;
use crate::signature::{Argument, Function, Kind, Output};
use crate::spec::borrow::first_borrow;

/// Checks `batch`.
pub(super) fn check(
    args: &PoetArgs,
    kind: &Kind,
    output: &Output,
    function: &Function,
    arguments: &[Argument],
    errors: &mut Errors,
) {
    let Some(batch) = args.batch.as_ref().map(|batch| &batch.key) else { return };
    match kind {
        Kind::Async => {}
        Kind::Sync => errors.push(batch, "`batch` needs an `async fn`; a blocking call cannot wait for others"),
        Kind::Hidden(_) => errors.push(batch, "`batch` needs an `async fn`, not a future made by hand"),
    }
    match output {
        Output::Named(ty) => {
            if let Some(borrow) = first_borrow(ty) {
                errors
                    .push(borrow, "a bulk call outlives its callers, and what they lent with them; return this owned");
            }
        }
        Output::Partly(_) | Output::Opaque => {
            errors.push(batch, "`batch` needs a return type that can be named, without `impl Trait`");
        }
        Output::Never => errors.push(batch, "`batch` needs a function that returns"),
    }
    let others = [args.fallback.as_ref().map(|path| &path.key), args.cache.as_ref().map(|kept| &kept.key)];
    for key in others.into_iter().flatten() {
        errors.push(key, format!("`{key}` and `batch` do not go together yet; remove one of them"));
    }
    if let Some(receiver) = function.signature.receiver() {
        errors.push(receiver, "a bulk call serves many callers, not one `self`; make this a function without `self`");
    }
    match arguments {
        [] => errors.push(
            &function.signature.ident,
            "a bulk call is given one argument of each caller, and this function has none",
        ),
        [_] => {}
        [_, second, ..] => errors.push(
            &second.pattern,
            "a bulk call is given one argument of each caller; make one of all, a tuple or a structure",
        ),
    }
    for argument in arguments {
        if let Some(borrow) = first_borrow(&argument.ty) {
            errors.push(
                borrow,
                "a bulk call outlives its callers, and what they lent with them; take this argument owned",
            );
        }
        if argument.is_conditional() {
            errors
                .push(&argument.pattern, "`batch` cannot pass on an argument that exists in some configurations only");
        }
    }
}
