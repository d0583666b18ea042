//! What the attribute means for the function it stands on.
//!
//! Every rule about which key fits which function is decided here, once; the expansion asks no further questions.

mod batch;
mod borrow;
mod cache;
mod scope;

pub(crate) use self::cache::Cache;
pub(crate) use self::scope::names;

use crate::args::{PoetArgs, Written};
use crate::errors::Errors;
use crate::signature::{Argument, Function, Kind, Output, is_shared};
use crate::value::{Domain, Priority};
use proc_macro2::Ident;
use quote::ToTokens;
use std::time::Duration;
use syn::{ExprPath, LitStr, Pat, Receiver};

/// One annotated function, checked.
pub(crate) struct CallSpec {
    pub(crate) krate: Option<ExprPath>,
    pub(crate) kind: Kind,
    pub(crate) output: Output,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) domain: Option<Domain>,
    pub(crate) learning: Option<&'static str>,
    pub(crate) service: Option<LitStr>,
    pub(crate) operation: Option<LitStr>,
    pub(crate) priority: Option<Priority>,
    pub(crate) idempotent: bool,
    pub(crate) retries: Option<u8>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) cost: Option<f64>,
    pub(crate) cache: Option<Cache>,
    pub(crate) batch: Option<ExprPath>,
    pub(crate) deferrable: bool,
    pub(crate) fallback: Option<ExprPath>,
    pub(crate) validate: Option<ExprPath>,
    pub(crate) failure: Option<ExprPath>,
    /// Whether the return type must be able to tell its caller that the call was refused.
    pub(crate) required: bool,
}

impl CallSpec {
    /// Decides what `args` mean for `function`, noting every contradiction.
    pub(crate) fn resolve(args: PoetArgs, function: &Function, errors: &mut Errors) -> Option<Self> {
        check_function(function, errors);
        check_numbers(&args, errors);
        let (kind, output) = function.kind(errors)?;
        let receiver = function.signature.receiver().cloned();
        let arguments = function.arguments();
        check_output(&args, &output, errors);
        if let (Kind::Sync, Some(timeout)) = (&kind, &args.timeout) {
            errors.push(&timeout.key, "`timeout` needs an `async fn`; a blocking call cannot be interrupted");
        }
        for key in again(&args) {
            check_again(key, &kind, receiver.as_ref(), &arguments, errors);
        }
        if let Some(Written { value: Priority::Expr(expr), .. }) = &args.priority {
            scope::check(&expr.to_token_stream(), &arguments, errors);
        }
        cache::check(&args, &kind, &output, receiver.as_ref(), &arguments, errors);
        batch::check(&args, &kind, &output, function, &arguments, errors);
        let required =
            args.timeout.is_some() || args.deadline.is_some() || args.validate.is_some() || args.enforce.is_some();
        Some(Self {
            krate: value(args.krate),
            kind,
            output,
            receiver,
            arguments,
            domain: value(args.domain),
            learning: value(args.learning),
            service: value(args.service),
            operation: value(args.operation),
            priority: value(args.priority),
            idempotent: value(args.idempotent).unwrap_or_default(),
            retries: value(args.retries),
            timeout: value(args.timeout),
            deadline: value(args.deadline),
            cost: value(args.cost),
            cache: value(args.cache).map(|kept| Cache { kept, key: value(args.key) }),
            batch: value(args.batch),
            deferrable: value(args.deferrable).unwrap_or_default(),
            fallback: value(args.fallback),
            validate: value(args.validate),
            failure: value(args.failure),
            required,
        })
    }
}

impl CallSpec {
    /// Whether the arguments may be needed by more than one attempt, or by the fallback.
    pub(crate) fn passes_on(&self) -> bool {
        self.idempotent || self.fallback.is_some()
    }
}

fn value<T>(written: Option<Written<T>>) -> Option<T> {
    written.map(|written| written.value)
}

/// The keys because of which an argument may be needed more than once.
fn again(args: &PoetArgs) -> Vec<&Ident> {
    let idempotent = args.idempotent.as_ref().filter(|flag| flag.value).map(|flag| &flag.key);
    idempotent.into_iter().chain(args.fallback.as_ref().map(|path| &path.key)).collect()
}

fn check_function(function: &Function, errors: &mut Errors) {
    let signature = &function.signature;
    if let Some(constness) = &signature.constness {
        errors.push(constness, "a `const fn` calls no service; remove `#[poet]`, or `const`");
    }
    if let Some(abi) = &signature.abi {
        errors.push(
            abi,
            "`#[poet]` cannot refuse a call that comes from another language; put it on the function inside",
        );
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(variadic, "`#[poet]` cannot pass on a variable number of arguments");
    }
    let again = function.attributes.iter().find(|other| {
        other.path().segments.last().is_some_and(|last| last.ident == "poet") && other.path().segments.len() <= 2
    });
    if let Some(again) = again {
        errors.push(again, "`#[poet]` is written twice; keep one");
    }
}

fn check_numbers(args: &PoetArgs, errors: &mut Errors) {
    let idempotent = args.idempotent.as_ref().is_some_and(|flag| flag.value);
    if let Some(retries) = args.retries.as_ref().filter(|retries| retries.value > 0 && !idempotent) {
        errors.push(
            &retries.key,
            "a function that is not `idempotent` is never started again; add `idempotent`, or remove `retries`",
        );
    }
    if let (Some(timeout), Some(deadline)) = (&args.timeout, &args.deadline)
        && timeout.value > deadline.value
    {
        errors.push(
            &timeout.tokens,
            format!("one attempt cannot take longer than the whole call, whose deadline is {}", deadline.tokens),
        );
    }
}

/// What is refused or timed out must be able to say so.
fn check_output(args: &PoetArgs, output: &Output, errors: &mut Errors) {
    let what = match output {
        Output::Named(_) => return,
        Output::Partly(_) => "a return type without `impl Trait`",
        Output::Opaque => "a return type that is a `Result`, not `impl Trait`",
        Output::Never => "a function that returns",
    };
    let mut keys: Vec<&Ident> = Vec::new();
    keys.extend(args.timeout.as_ref().map(|written| &written.key));
    keys.extend(args.deadline.as_ref().map(|written| &written.key));
    keys.extend(args.validate.as_ref().map(|written| &written.key));
    keys.extend(args.enforce.as_ref().map(|written| &written.key));
    if !matches!(output, Output::Partly(_)) {
        keys.extend(args.failure.as_ref().map(|written| &written.key));
        keys.extend(again(args));
    }
    for key in keys {
        errors.push(key, format!("`{key}` needs {what}"));
    }
}

/// Whether everything the function was given can be given once more.
fn check_again(key: &Ident, kind: &Kind, receiver: Option<&Receiver>, arguments: &[Argument], errors: &mut Errors) {
    if let Some(receiver) = receiver.filter(|receiver| !is_shared(receiver)) {
        errors.push(receiver, format!("`{key}` may need `self` a second time; take `&self`, or remove `{key}`"));
    }
    for argument in arguments {
        if argument.is_unique_borrow() {
            errors.push(
                &argument.ty,
                format!("`{key}` may need this argument a second time; take it by `&` or by value, or remove `{key}`"),
            );
        }
        if argument.is_conditional() {
            errors.push(
                &argument.pattern,
                format!("`{key}` cannot pass on an argument that exists in some configurations only"),
            );
        }
    }
    let Kind::Hidden(tail) = kind else { return };
    if let Some(first) = tail.before.first() {
        errors.push(first, format!("`{key}` concerns the `async` block, not what stands before it; move this inside"));
    }
    for argument in
        arguments.iter().filter(|argument| argument.takes_apart && !matches!(argument.pattern, Pat::Wild(_)))
    {
        errors.push(
            &argument.pattern,
            format!("`{key}` needs a name here; take the argument apart inside the `async` block"),
        );
    }
}
