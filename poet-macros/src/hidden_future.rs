//! Finds the future that a function without `async` returns, so that the future is measured and not its making.
//!
//! `#[async_trait]` turns every method into such a function before `#[poet]` sees it, and an attribute that wraps only
//! the outside times an allocation and takes every answer for a success (tokio-rs/tracing#399,
//! autometrics-dev/autometrics-rs#155). The body is read as tokens, from its end: half-typed code above the tail must
//! not stop the expansion.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::{GenericArgument, PathArguments, Type, TypeParamBound};

/// What a return type says about being a future.
pub(crate) enum Promise {
    /// It is none, as far as can be seen.
    Value,
    /// A future of this type.
    Future(Box<Type>),
    /// A future whose output is not written.
    Unknown,
}

/// Reads a return type.
pub(crate) fn promise(ty: &Type) -> Promise {
    match ty {
        Type::Group(inner) => promise(&inner.elem),
        Type::Paren(inner) => promise(&inner.elem),
        Type::Reference(inner) => promise(&inner.elem),
        Type::ImplTrait(inner) => bounds(inner.bounds.iter()),
        Type::TraitObject(inner) => bounds(inner.bounds.iter()),
        Type::Path(inner) => {
            let Some(last) = inner.path.segments.last() else { return Promise::Value };
            let name = last.ident.to_string();
            match name.as_str() {
                "Pin" | "Box" => argument(&last.arguments).map_or(Promise::Value, promise),
                "BoxFuture" | "LocalBoxFuture" => argument(&last.arguments)
                    .map_or(Promise::Unknown, |output| Promise::Future(Box::new(output.clone()))),
                _ if name.ends_with("Future") => Promise::Unknown,
                _ => Promise::Value,
            }
        }
        _ => Promise::Value,
    }
}

/// Whether a function yields a future as its answer, which is unusual and no mistake.
pub(crate) fn is_future(ty: &Type) -> bool {
    let known = |name: &str| matches!(name, "Ready" | "Pending" | "JoinHandle");
    match ty {
        Type::Path(path) if path.path.segments.last().is_some_and(|last| known(&last.ident.to_string())) => true,
        _ => !matches!(promise(ty), Promise::Value),
    }
}

/// The last type among generic arguments.
fn argument(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    arguments.args.iter().rev().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn bounds<'a>(mut bounds: impl Iterator<Item = &'a TypeParamBound>) -> Promise {
    let future = bounds.find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().filter(|last| last.ident.to_string().ends_with("Future"))
        }
        _ => None,
    });
    let Some(future) = future else { return Promise::Value };
    let PathArguments::AngleBracketed(arguments) = &future.arguments else { return Promise::Unknown };
    let output = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(assoc.ty.clone()),
        _ => None,
    });
    output.map_or(Promise::Unknown, |output| Promise::Future(Box::new(output)))
}

/// The `async` block at the end of a body.
pub(crate) struct Tail {
    /// Where its braces are: the index at each level of nesting.
    path: Vec<usize>,
    /// The `async` block's own tokens.
    pub(crate) block: Group,
    /// Whether it captures by value.
    pub(crate) moves: bool,
    /// What stands before the expression that yields it.
    pub(crate) before: Vec<TokenTree>,
}

impl Tail {
    /// Finds the block in `async move { … }`, `Box::pin(async move { … })` or `async move { … }.boxed()`.
    pub(crate) fn find(body: &TokenStream) -> Option<Self> {
        let mut tokens: Vec<TokenTree> = body.clone().into_iter().collect();
        let ends_in_a_statement = tokens.pop_if(|last| is_punct(last, ';')).is_some();
        let mut path = Vec::new();
        let (start, block, moves) = find(&tokens, &mut path)?;
        let mut before = tokens[..start].to_vec();
        let returns = before.pop_if(|last| is_ident(last, "return")).is_some();
        if ends_in_a_statement && !returns {
            return None;
        }
        Some(Self { path, block, moves, before })
    }

    /// The first `return` among the statements before the block: a way out of the function that is not measured.
    pub(crate) fn way_out(&self) -> Option<Span> {
        way_out(&self.before)
    }

    /// The body, with another content for the block.
    pub(crate) fn replace(&self, body: &TokenStream, content: TokenStream) -> TokenStream {
        replace(body.clone(), &self.path, content)
    }
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Where the tail expression starts, its block, and whether that captures by value.
fn find(tokens: &[TokenTree], path: &mut Vec<usize>) -> Option<(usize, Group, bool)> {
    let end = before_boxing(tokens);
    let (last, before) = tokens[..end].split_last()?;
    let TokenTree::Group(group) = last else { return None };
    path.push(end - 1);
    match group.delimiter() {
        Delimiter::Brace => match before {
            [.., asyncness, moves] if is_ident(moves, "move") && is_ident(asyncness, "async") => {
                Some((end - 3, group.clone(), true))
            }
            [.., asyncness] if is_ident(asyncness, "async") => Some((end - 2, group.clone(), false)),
            _ => None,
        },
        Delimiter::Parenthesis => {
            let start = pinning(before)?;
            let mut inner: Vec<TokenTree> = group.stream().into_iter().collect();
            if inner.last().is_some_and(|token| is_punct(token, ',')) {
                inner.pop();
            }
            let (first, block, moves) = find(&inner, path)?;
            (first == 0).then_some((start, block, moves))
        }
        // What a `macro_rules!` macro passed on stands between invisible delimiters.
        Delimiter::None => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let (first, block, moves) = find(&inner, path)?;
            (first == 0).then_some((end - 1, block, moves))
        }
        Delimiter::Bracket => None,
    }
}

/// The end of the expression before `.boxed()` or `.boxed_local()`.
fn before_boxing(tokens: &[TokenTree]) -> usize {
    match tokens {
        [rest @ .., dot, TokenTree::Ident(method), TokenTree::Group(arguments)]
            if is_punct(dot, '.')
                && (method == "boxed" || method == "boxed_local")
                && arguments.delimiter() == Delimiter::Parenthesis
                && arguments.stream().is_empty() =>
        {
            rest.len()
        }
        _ => tokens.len(),
    }
}

/// Where the path of a call to `Box::pin`, `Box::new` or `Pin::from` starts, if `tokens` end in one.
fn pinning(tokens: &[TokenTree]) -> Option<usize> {
    let [.., TokenTree::Ident(ty), one, two, TokenTree::Ident(function)] = tokens else { return None };
    let known = (ty == "Box" && (function == "pin" || function == "new")) || (ty == "Pin" && function == "from");
    if !known || !is_punct(one, ':') || !is_punct(two, ':') {
        return None;
    }
    let mut start = tokens.len() - 4;
    while let Some([one, two]) = tokens.get(start.wrapping_sub(2)..start) {
        if !is_punct(one, ':') || !is_punct(two, ':') {
            break;
        }
        start -= 2;
        if let Some(TokenTree::Ident(_)) = start.checked_sub(1).map(|before| &tokens[before]) {
            start -= 1;
        }
    }
    Some(start)
}

fn way_out(tokens: &[TokenTree]) -> Option<Span> {
    tokens.iter().find_map(|token| match token {
        TokenTree::Ident(ident) if ident == "return" => Some(ident.span()),
        TokenTree::Group(group) => way_out(&group.stream().into_iter().collect::<Vec<_>>()),
        _ => None,
    })
}

fn replace(tokens: TokenStream, path: &[usize], content: TokenStream) -> TokenStream {
    let Some((&at, deeper)) = path.split_first() else { return content };
    let mut content = Some(content);
    tokens
        .into_iter()
        .enumerate()
        .map(|(index, token)| match token {
            TokenTree::Group(group) if index == at => {
                let inside = content.take().unwrap_or_default();
                let mut changed = Group::new(group.delimiter(), replace(group.stream(), deeper, inside));
                changed.set_span(group.span());
                TokenTree::Group(changed)
            }
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn content(body: &TokenStream) -> Option<String> {
        Tail::find(body).map(|tail| tail.block.stream().to_string())
    }

    #[test]
    fn the_block_is_found_in_every_usual_tail() {
        let found = Some("x".to_owned());
        assert_eq!(content(&quote! { async move { x } }), found);
        assert_eq!(content(&quote! { async { x } }), found);
        assert_eq!(content(&quote! { let y = 1; Box::pin(async move { x }) }), found);
        assert_eq!(content(&quote! { ::std::boxed::Box::pin(async move { x },) }), found);
        assert_eq!(content(&quote! { Pin::from(Box::new(async move { x })) }), found);
        assert_eq!(content(&quote! { async move { x }.boxed() }), found);
        assert_eq!(content(&quote! { return Box::pin(async move { x }) }), found);
        assert_eq!(content(&quote! { return Box::pin(async move { x }); }), found);
    }

    #[test]
    fn another_tail_is_left_alone() {
        assert_eq!(content(&quote! {}), None);
        assert_eq!(content(&quote! { unsafe { x } }), None);
        assert_eq!(content(&quote! { async move { x }; }), None);
        assert_eq!(content(&quote! { spawn(async move { x }) }), None);
        assert_eq!(content(&quote! { Box::pin(other.then(async move { x })) }), None);
        assert_eq!(content(&quote! { let later = async move { x }; later }), None);
    }

    #[test]
    fn what_stands_before_the_tail_is_told_apart_from_it() {
        let before = |body| Tail::find(&body).map(|tail| tail.before.len());
        assert_eq!(before(quote! { ::std::boxed::Box::pin(async move { x }) }), Some(0));
        assert_eq!(before(quote! { return Box::pin(async move { x }) }), Some(0));
        assert_eq!(before(quote! { let y = 1; Box::pin(async move { x }) }), Some(5));
        assert!(Tail::find(&quote! { if y { return z; } Box::pin(async move { x }) }).unwrap().way_out().is_some());
    }

    #[test]
    fn only_the_content_of_the_block_is_replaced() {
        let body = quote! { let y = 1; Box::pin(async move { x }) };
        let tail = Tail::find(&body).unwrap();
        let expected = quote! { let y = 1; Box::pin(async move { z }) };
        assert_eq!(tail.replace(&body, quote! { z }).to_string(), expected.to_string());
    }

    #[test]
    fn a_future_is_recognised_by_its_type() {
        let output = |ty: TokenStream| match promise(&syn::parse2(ty).unwrap()) {
            Promise::Value => "no future".to_owned(),
            Promise::Future(output) => quote!(#output).to_string(),
            Promise::Unknown => "unknown".to_owned(),
        };
        assert_eq!(output(quote! { Pin<Box<dyn Future<Output = u8> + Send + 'a>> }), "u8");
        assert_eq!(output(quote! { ::core::pin::Pin<Box<dyn ::core::future::Future<Output = u8>>> }), "u8");
        assert_eq!(output(quote! { impl Future<Output = u8> + Send }), "u8");
        assert_eq!(output(quote! { BoxFuture<'a, u8> }), "u8");
        assert_eq!(output(quote! { MyFuture }), "unknown");
        assert_eq!(output(quote! { Result<u8, E> }), "no future");
        assert_eq!(output(quote! { Box<dyn Fn()> }), "no future");
    }
}
