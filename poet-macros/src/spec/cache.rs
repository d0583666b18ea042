//! Whether the answers of a function can be kept, and what tells one from another.
//!
//! Two calls with the same key get the same answer, so the key has to hold everything the answer depends on. Left to
//! itself it is made of all arguments; what cannot be a part of it without a word of the author's is refused.

use crate::args::PoetArgs;
use crate::errors::Errors;
use crate::signature::{Argument, Kind, Output, peel};
use crate::spec::borrow::first_borrow;
use crate::spec::scope;
use crate::value::Kept;
use proc_macro2::Ident;
use quote::ToTokens;
use syn::{Expr, GenericArgument, PathArguments, Receiver, Type};

/// The most parts of a key.
const MOST_PARTS: usize = 12;

/// What is kept of a function.
pub(crate) struct Cache {
    pub(crate) kept: Kept,
    /// The parts of the key; `None` means all arguments.
    pub(crate) key: Option<Vec<Expr>>,
}

/// Checks `cache` and `key(…)`.
pub(super) fn check(
    args: &PoetArgs,
    kind: &Kind,
    output: &Output,
    receiver: Option<&Receiver>,
    arguments: &[Argument],
    errors: &mut Errors,
) {
    if let Some(key) = &args.key {
        if args.cache.is_none() {
            errors.push(&key.key, "`key` says what answers are kept under; add `cache`, or remove `key`");
        }
        for part in &key.value {
            scope::check(&part.to_token_stream(), arguments, errors);
        }
        if let Some(beyond) = key.value.get(MOST_PARTS) {
            errors.push(beyond, format!("a key has at most {MOST_PARTS} parts; make one of several: `(a, b)`"));
        }
    }
    let Some(cache) = args.cache.as_ref().map(|cache| &cache.key) else { return };
    match output {
        Output::Named(ty) => {
            if let Some(borrow) = first_borrow(kept(ty)) {
                errors.push(borrow, "what is kept outlives the call and what was lent to it; return this owned");
            }
        }
        Output::Partly(_) | Output::Opaque => {
            errors.push(cache, "`cache` needs a return type that can be named, without `impl Trait`");
        }
        Output::Never => errors.push(cache, "`cache` needs a function that returns"),
    }
    if let Kind::Hidden(tail) = kind
        && let Some(first) = tail.before.first()
    {
        errors.push(first, "`cache` concerns the `async` block, not what stands before it; move this inside");
    }
    if args.key.is_none() {
        check_arguments(cache, kind, receiver, arguments, errors);
    }
}

/// What is kept of an answer: of a `Result` the value, as far as its name tells.
fn kept(ty: &Type) -> &Type {
    let Type::Path(path) = peel(ty) else { return ty };
    let Some(last) = path.path.segments.last().filter(|last| last.ident.to_string().ends_with("Result")) else {
        return ty;
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return ty };
    let value = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(value) => Some(value),
        _ => None,
    });
    value.unwrap_or(ty)
}

/// Whether the arguments alone can be the key.
fn check_arguments(
    cache: &Ident,
    kind: &Kind,
    receiver: Option<&Receiver>,
    arguments: &[Argument],
    errors: &mut Errors,
) {
    if receiver.is_some() {
        errors.push(
            cache,
            "two values of `Self` would share answers; write `key(…)` as well, with what tells them apart",
        );
    }
    if let Some(beyond) = arguments.get(MOST_PARTS) {
        errors.push(
            &beyond.pattern,
            format!("a key has at most {MOST_PARTS} parts; write `key(…)` with the arguments the answer depends on"),
        );
    }
    for argument in arguments {
        if argument.is_unique_borrow() {
            errors.push(
                &argument.ty,
                "a kept answer changes nothing; write `key(…)` with what the answer depends on, or take this by `&`",
            );
        }
        if argument.is_conditional() {
            errors.push(&argument.pattern, "this exists in some configurations only; write `key(…)` without it");
        }
        if argument.takes_apart && matches!(kind, Kind::Hidden(_)) {
            errors.push(
                &argument.pattern,
                "`cache` needs a name here; take the argument apart inside the `async` block, or write `key(…)`",
            );
        }
    }
}
