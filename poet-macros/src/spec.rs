//! What the attribute means for the function it stands on.
//!
//! Every rule about which key fits which function is decided here, once; the expansion asks no further questions.

use crate::args::{Domain, PoetArgs, Priority, Written};
use crate::errors::Errors;
use crate::signature::{Argument, Function, Kind, Output, is_shared};
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use std::time::Duration;
use syn::visit_mut::VisitMut;
use syn::{ExprPath, LitStr, Pat, PatIdent, Receiver};

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
            check_names(&expr.to_token_stream(), &arguments, errors);
        }
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

/// The expression of `priority` sees the arguments as they come in, before they are taken apart.
fn check_names(expr: &TokenStream, arguments: &[Argument], errors: &mut Errors) {
    let mut bound = Names(Vec::new());
    for argument in arguments.iter().filter(|argument| argument.takes_apart) {
        bound.visit_pat_mut(&mut argument.pattern.clone());
    }
    for name in names(expr) {
        if bound.0.contains(&name) {
            errors.push(
                &name,
                format!("`{name}` is taken out of an argument only later; name the argument, or take it apart inside"),
            );
        }
    }
}

/// The names that patterns bind.
struct Names(Vec<Ident>);

impl VisitMut for Names {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        self.0.push(pattern.ident.clone());
        if let Some((_, inner)) = &mut pattern.subpat {
            self.visit_pat_mut(inner);
        }
    }
}

/// The names that stand in an expression, those of fields and methods left out.
pub(crate) fn names(expr: &TokenStream) -> Vec<Ident> {
    let mut found = Vec::new();
    let mut after_dot = false;
    for token in expr.clone() {
        match &token {
            TokenTree::Ident(ident) if !after_dot => found.push(ident.clone()),
            TokenTree::Group(group) => found.extend(names(&group.stream())),
            _ => {}
        }
        after_dot = matches!(&token, TokenTree::Punct(sign) if sign.as_char() == '.');
    }
    found
}
