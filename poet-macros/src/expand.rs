//! Writes the expansion: one call to the runtime around the untouched body.
//!
//! Every line of the output was forced by an experiment; the comments say which. All identifiers of ours have
//! `mixed_site` hygiene, all paths are absolute, the user's tokens keep their spans, and the body stands in the output
//! exactly once.

mod site;

use crate::hidden_future::is_future;
use crate::signature::{Argument, Function, Kind, Output, is_configuration, is_owned, peel};
use crate::spec::{CallSpec, names};
use crate::value::Priority;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Attribute, Index, Pat, ReturnType, Type};

/// The function, with its calls handed to the runtime.
pub(crate) fn function(spec: &CallSpec, function: &Function) -> TokenStream {
    let expansion = Expansion { spec, function, runtime: runtime(spec) };
    let body = match &spec.kind {
        Kind::Async => expansion.asynchronous(),
        Kind::Sync => expansion.synchronous(),
        Kind::Hidden(tail) => tail.replace(&function.body, expansion.hidden(tail.moves, &tail.block)),
    };
    let signature =
        if expansion.renames() { function.signature_with_names(&spec.arguments) } else { function.signature.clone() };
    let Function { attributes, visibility, inner_attributes, .. } = function;
    // A block that yields a future looks like a forgotten `await` to clippy, the same `async fn` does not; as narrow as
    // it can be, because it silences clippy in the body as well (dtolnay/async-trait#236).
    let yields_future = matches!(&spec.kind, Kind::Async)
        && matches!(&function.signature.output, ReturnType::Type(_, ty) if is_future(peel(ty)));
    let allowed = yields_future.then(|| quote_spanned!(Span::mixed_site()=> #[allow(clippy::async_yields_async)]));
    let mut item = quote! { #(#attributes)* #allowed #visibility #signature };
    // The user's own braces: with braces of ours, `dead_code` and others fall silent (tokio-rs/tracing#3108).
    function.brace.surround(&mut item, |content| {
        content.extend(inner_attributes.iter().map(ToTokens::to_token_stream));
        content.extend(body);
    });
    item
}

/// Where the runtime's private surface is: `::poet::__private`, or below the prefix given with `crate = path`.
fn runtime(spec: &CallSpec) -> TokenStream {
    let facade = facade(spec);
    quote_spanned!(Span::mixed_site()=> #facade::__private)
}

fn facade(spec: &CallSpec) -> TokenStream {
    match &spec.krate {
        Some(path) => path.to_token_stream(),
        None => quote_spanned!(Span::mixed_site()=> ::poet),
    }
}

/// Our hygiene at the user's place: errors point there, and names of ours cannot be seen from there.
fn at(place: Span) -> Span {
    Span::mixed_site().located_at(place)
}

struct Expansion<'a> {
    spec: &'a CallSpec,
    function: &'a Function,
    runtime: TokenStream,
}

impl Expansion<'_> {
    /// An `async fn`.
    ///
    /// ```text
    /// let call = Call::new(caps!(Ret));
    /// run_once(&SITE, call, pin!(async move { let a = a; …edge…; { body } })).await
    /// ```
    fn asynchronous(&self) -> TokenStream {
        let prepare = self.prepare();
        let keep = self.keep_receiver();
        let rebind = self.rebind();
        let edge = self.edge();
        let block = self.block();
        let attempt = quote_spanned!(Span::mixed_site()=> async move { #keep #rebind #edge #block });
        let call = self.batched(&attempt).unwrap_or_else(|| {
            let call = self.attempts(&attempt, true);
            quote_spanned!(Span::mixed_site()=> #call.await)
        });
        quote_spanned!(Span::mixed_site()=> #prepare #call)
    }

    /// The call of the runtime's driver where calls are made together: with the argument, what serves many of them at
    /// once, and what serves one alone.
    ///
    /// ```text
    /// run_batched_once(&SITE, call, id, |items| fetch_all(items), move |id| async move { …edge…; { body } })
    /// ```
    fn batched(&self, attempt: &TokenStream) -> Option<TokenStream> {
        let Self { spec, runtime, .. } = self;
        let path = spec.batch.as_ref()?;
        let site = self.site();
        // What the driver demands of a type is said at that type, or at the function of which the type comes back.
        let driver = driver(if spec.idempotent { "run_batched" } else { "run_batched_once" }, false);
        let driver = located_at(quote_spanned!(Span::mixed_site()=> #runtime::#driver), path.span());
        let call = Ident::new("call", spec.output.written().map_or_else(Span::mixed_site, |ty| at(ty.span())));
        let (name, place) = self.named_at_types().next()?;
        let item = if spec.idempotent {
            quote_spanned!(place=> #runtime::repeatable(&#name).again(#name))
        } else {
            name.to_token_stream()
        };
        let bulk = quote_spanned!(at(path.span())=> |items| #path(items));
        let names = self.names();
        let single = quote_spanned!(Span::mixed_site()=> move |#(#names)*| #attempt);
        Some(quote_spanned!(at(path.span())=> #driver(#site, #call, #item, #bulk, #single).await))
    }

    /// A function that blocks until it has its answer.
    fn synchronous(&self) -> TokenStream {
        let prepare = self.prepare();
        let keep = self.keep_receiver();
        let rebind = self.rebind();
        let edge = self.edge();
        let block = self.block();
        let attempt = quote_spanned!(Span::mixed_site()=> #keep #rebind #edge #block);
        let call = self.attempts(&attempt, false);
        quote_spanned!(Span::mixed_site()=> #prepare #call)
    }

    /// The content of the `async` block at the tail of a function that returns a future.
    fn hidden(&self, moves: bool, block: &Group) -> TokenStream {
        let prepare = self.prepare();
        let edge = self.edge();
        let rebind = self.renames().then(|| self.rebind());
        let block = located(block.stream(), block.span());
        // The capture mode stays the user's; a repeated attempt owns what it was given in any case.
        let moves = (moves || self.spec.idempotent).then(|| quote_spanned!(Span::mixed_site()=> move));
        let attempt = quote_spanned!(Span::mixed_site()=> async #moves { #rebind #edge #block });
        let call = self.attempts(&attempt, true);
        quote_spanned!(Span::mixed_site()=> #prepare #call.await)
    }

    /// Whether the arguments get new bindings inside; where the user wrote the future, they are bound already.
    fn renames(&self) -> bool {
        !matches!(self.spec.kind, Kind::Hidden(_)) || self.spec.passes_on()
    }

    /// Everything that is evaluated while the arguments are still in place.
    fn prepare(&self) -> TokenStream {
        let checks = self.checks();
        let call = self.call();
        quote_spanned!(Span::mixed_site()=> #checks let call = #call;)
    }

    /// The call of the runtime's driver.
    ///
    /// The closure stands inside the function, not beside it: a sibling function would lose `Self`, generics, `impl
    /// Trait` and lifetimes. It is a plain `FnMut(bool) -> Fut` and the arguments are captured, because an `AsyncFn`
    /// or arguments by reference make every future that borrows impossible to spawn (rust-lang/rust#134997).
    fn attempts(&self, attempt: &TokenStream, is_async: bool) -> TokenStream {
        let Self { runtime, .. } = self;
        let site = self.site();
        let (fallback, or) = self.fallback();
        if !self.spec.idempotent {
            let driver = driver(if is_async { "run_once" } else { "run_sync_once" }, or.is_some());
            // Pinned here, the future is not copied into each of the driver's own: 1 KiB stays 1 KiB.
            let body = if is_async {
                quote_spanned!(Span::mixed_site()=> #runtime::core::pin::pin!(#attempt))
            } else {
                quote_spanned!(Span::mixed_site()=> move || { #attempt })
            };
            return quote_spanned!(Span::mixed_site()=> #fallback #runtime::#driver(#site, call, #body #or));
        }
        let driver = driver(if is_async { "run" } else { "run_sync" }, or.is_some());
        if self.spec.arguments.is_empty() {
            return quote_spanned! {Span::mixed_site()=>
                #fallback #runtime::#driver(#site, call, move |_| { #attempt } #or)
            };
        }
        let repeatable = self.repeatable();
        let places = (0..self.spec.arguments.len()).map(Index::from);
        let next = places.map(|place| quote_spanned!(Span::mixed_site()=> args.#place.next(last)));
        let names = self.names();
        quote_spanned! {Span::mixed_site()=>
            #fallback
            let mut args = (#(#repeatable.again(#names),)*);
            #runtime::#driver(
                #site,
                call,
                move |last| { let (#(#names,)*) = (#(#next,)*); #attempt }
                #or
            )
        }
    }

    /// `repeatable(&a)` for every argument, each at the type that may not fit.
    fn repeatable(&self) -> impl Iterator<Item = TokenStream> {
        let runtime = &self.runtime;
        self.named_at_types().map(move |(name, place)| quote_spanned!(place=> #runtime::repeatable(&#name)))
    }

    /// Every argument with the place of its type, its name pointing there too.
    fn named_at_types(&self) -> impl Iterator<Item = (Ident, Span)> {
        self.spec.arguments.iter().map(|Argument { name, ty, .. }| {
            let place = ty.span();
            let mut name = name.clone();
            name.set_span(name.span().located_at(place));
            (name, at(place))
        })
    }

    /// What this call can do, found by the type of its answer.
    fn call(&self) -> TokenStream {
        let Self { spec, runtime, .. } = self;
        let caps = match spec.output.written() {
            Some(ty) => quote_spanned!(Span::mixed_site()=> #runtime::caps!(#ty)),
            None => quote_spanned!(Span::mixed_site()=> #runtime::Caps::observe()),
        };
        let mut call = quote_spanned!(Span::mixed_site()=> #runtime::Call::new(#caps));
        if let Some(Priority::Expr(expr)) = &spec.priority {
            call.extend(quote_spanned!(Span::mixed_site()=> .priority(#expr)));
        }
        if let Some(path) = &spec.failure {
            let verdict = quote_spanned!(at(path.span())=> #runtime::verdict(#path(answer)));
            call.extend(quote_spanned!(at(path.span())=> .failure(|answer| #verdict)));
        }
        if let Some(path) = &spec.validate {
            let complaint = quote_spanned!(at(path.span())=> #runtime::complaint(answer, #path));
            call.extend(quote_spanned!(at(path.span())=> .validate(|answer| #complaint)));
        }
        call.extend(self.cached());
        call
    }

    /// What the answer of this call is kept under, where answers are kept.
    fn cached(&self) -> Option<TokenStream> {
        let Self { spec, runtime, .. } = self;
        let cache = spec.cache.as_ref()?;
        let ty = spec.output.written()?;
        let keeps = quote_spanned!(at(ty.span())=> #runtime::keeps!(#ty));
        // What cannot be a part is said at the part, or at the type of the argument.
        let part = |part: TokenStream, place: Span| quote_spanned!(at(place)=> #runtime::key_part(&(#part)));
        let parts: Vec<TokenStream> = match &cache.key {
            Some(parts) => parts.iter().map(|expr| part(expr.to_token_stream(), expr.span())).collect(),
            None => self.named_at_types().map(|(name, place)| part(name.to_token_stream(), place)).collect(),
        };
        let key = quote_spanned!(Span::mixed_site()=> #runtime::key_of(&(#(#parts,)*)));
        Some(quote_spanned!(Span::mixed_site()=> .cached(#keeps, #key)))
    }

    /// What only the compiler can check, at the type it would complain about.
    fn checks(&self) -> TokenStream {
        let Self { spec, runtime, .. } = self;
        let mut checks = TokenStream::new();
        if let (true, Output::Named(ty)) = (spec.required, &spec.output) {
            checks.extend(quote_spanned!(at(ty.span())=> #runtime::required::<#ty>();));
        }
        if let (Kind::Sync, Output::Named(ty)) = (&spec.kind, &spec.output)
            && let Type::Path(_) | Type::Macro(_) = peel(ty)
        {
            let place = at(ty.span());
            let probe = quote_spanned!(place=> (&&#runtime::Probe::<#ty>::new()).settled());
            checks.extend(quote_spanned!(place=> { use #runtime::Settled as _; #runtime::immediate(#probe); }));
        }
        checks
    }

    /// Clones of the arguments for the fallback, and the driver's further parameter that calls it with them.
    fn fallback(&self) -> (TokenStream, Option<TokenStream>) {
        let Self { spec, .. } = self;
        let Some(path) = &spec.fallback else { return (TokenStream::new(), None) };
        let receiver = spec.receiver.as_ref().map(|receiver| {
            let receiver = receiver.self_token;
            quote!(#receiver,)
        });
        let names = self.names();
        let call = quote_spanned!(at(path.span())=> #path(#receiver #(#names),*));
        if names.is_empty() {
            return (TokenStream::new(), Some(quote_spanned!(Span::mixed_site()=> , move || #call)));
        }
        let repeatable = self.repeatable();
        let keep = quote_spanned!(Span::mixed_site()=> let spare = (#(#repeatable.spare(&#names),)*););
        let or = quote_spanned!(Span::mixed_site()=> , move || { let (#(#names,)*) = spare; #call });
        (keep, Some(or))
    }

    fn names(&self) -> Vec<TokenStream> {
        self.spec.arguments.iter().map(|argument| argument.name.to_token_stream()).collect()
    }

    /// Gives every argument the user's pattern, in the order and with the drop order of the plain function.
    ///
    /// An argument is bound as a whole before it is taken apart: a `_` binds nothing, and what it stands for would be
    /// dropped before the body runs (dtolnay/async-trait#199). The pattern is the user's, so that lints about unused
    /// variables and unused `mut` see the real use.
    fn rebind(&self) -> TokenStream {
        let used = self.used_names();
        let mut statements = TokenStream::new();
        for argument in &self.spec.arguments {
            let Argument { name, pattern, takes_apart, attributes, .. } = argument;
            let conditions: Vec<&Attribute> = attributes.iter().filter(|other| is_configuration(other)).collect();
            let mutable = argument.is_changed_in_place().then(|| quote_spanned!(Span::mixed_site()=> mut));
            if *takes_apart {
                statements.extend(quote_spanned!(Span::mixed_site()=> #(#conditions)* let #mutable #name = #name;));
            }
            if !matches!(pattern, Pat::Wild(_)) {
                // On this statement alone, and not by another name for the argument: rustc's liveness then loses sight
                // of where the value comes from and calls some used variables unused (dtolnay/async-trait#183).
                let same = (!takes_apart).then(|| quote_spanned!(Span::mixed_site()=> #[allow(clippy::shadow_same)]));
                statements.extend(quote_spanned!(Span::mixed_site()=> #(#attributes)* #same let #pattern = #name;));
            }
            // What the attribute reads is used, whatever the body does.
            if used.contains(name) {
                statements.extend(quote_spanned!(Span::mixed_site()=> #(#conditions)* let _ = &#name;));
            }
        }
        statements
    }

    /// The names in the expressions of the attribute.
    fn used_names(&self) -> Vec<Ident> {
        let priority = match &self.spec.priority {
            Some(Priority::Expr(expr)) => Some(expr),
            _ => None,
        };
        let parts = self.spec.cache.iter().filter_map(|cache| cache.key.as_ref()).flatten();
        priority.into_iter().chain(parts).flat_map(|expr| names(&expr.to_token_stream())).collect()
    }

    /// Takes an owned `self` along as a whole: of a captured field, the rest would be dropped elsewhere.
    fn keep_receiver(&self) -> Option<TokenStream> {
        let receiver = self.spec.receiver.as_ref().filter(|receiver| is_owned(receiver))?;
        let receiver = receiver.self_token;
        Some(quote_spanned!(Span::mixed_site()=> let _ = &#receiver;))
    }

    /// Tells the compiler the type of the answer before it reads the body, so that a mismatch is reported at the
    /// user's expression and not at the attribute (tokio-rs/tracing#2270).
    ///
    /// Not `let answer: Ret = loop {};`, which needs an `allow(unreachable_code)`, and with it a quarrel with `forbid`.
    fn edge(&self) -> Option<TokenStream> {
        let ty = self.spec.output.written()?;
        let runtime = &self.runtime;
        // "Return type inferred here" then names the return type.
        let place = at(ty.span());
        let option = quote_spanned!(place=> #runtime::core::option::Option);
        Some(quote_spanned! {place=>
            if let #option::Some(answer) = #option::None::<#ty> {
                return answer;
            }
        })
    }

    fn block(&self) -> Group {
        located(self.function.body.clone(), self.function.brace.span.join())
    }
}

/// The same names at another place, for what the compiler says of them.
fn located_at(names: TokenStream, place: Span) -> TokenStream {
    let moved = names.into_iter().map(|mut name| {
        name.set_span(name.span().located_at(place));
        name
    });
    moved.collect()
}

/// The user's statements between braces of ours at the place of the user's.
///
/// With the user's braces `unused_braces` fires on every one-line function; with braces at the attribute a missing tail
/// expression is reported there. Items of the body are visible between these braces only (tokio-rs/tracing#3311).
fn located(statements: TokenStream, place: Span) -> Group {
    let mut block = Group::new(Delimiter::Brace, statements);
    block.set_span(at(place));
    block
}

fn driver(name: &str, with_fallback: bool) -> Ident {
    let suffix = if with_fallback { "_or" } else { "" };
    Ident::new(&format!("{name}{suffix}"), Span::mixed_site())
}
