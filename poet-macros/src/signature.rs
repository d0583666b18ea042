//! The function under the attribute: its parts as written, and what the expansion has to know about them.
//!
//! The body stays a stream of tokens; parsing it would reject half-typed code, and completion in the editor with it
//! (tokio-rs/tokio#4154, tokio-rs/tracing#1633).

use crate::errors::Errors;
use crate::hidden_future::{Promise, Tail, promise};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident};
use syn::parse::{Parse, ParseStream};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, FnArg, ItemImpl, ItemMod, ItemTrait, Pat, PatIdent, Receiver, ReceiverKind, ReturnType, Signature,
    Token, Type, Visibility, braced, parse_quote, parse_quote_spanned, token,
};

/// A function as it was written.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) brace: token::Brace,
    /// `#![…]` at the start of the body.
    pub(crate) inner_attributes: Vec<Attribute>,
    pub(crate) body: TokenStream,
}

/// How the function runs.
pub(crate) enum Kind {
    /// `async fn`.
    Async,
    /// It returns its value when it returns.
    Sync,
    /// It returns the future at its tail.
    Hidden(Tail),
}

/// What can be said of the type of the answer.
pub(crate) enum Output {
    /// It has a name.
    Named(Box<Type>),
    /// It has a name but for the parts that are `impl Trait`, which are `_` here.
    Partly(Box<Type>),
    /// It is `impl Trait`.
    Opaque,
    /// It is `!`.
    Never,
}

impl Output {
    fn of(ty: &Type) -> Self {
        match peel(ty) {
            Type::Never(_) => Self::Never,
            Type::ImplTrait(_) => Self::Opaque,
            _ => {
                let mut erased = ty.clone();
                let mut erase = EraseImplTrait { found: false };
                erase.visit_type_mut(&mut erased);
                if erase.found { Self::Partly(Box::new(erased)) } else { Self::Named(Box::new(erased)) }
            }
        }
    }

    /// The type to write where it can be written.
    pub(crate) fn written(&self) -> Option<&Type> {
        match self {
            Self::Named(ty) | Self::Partly(ty) => Some(ty),
            Self::Opaque | Self::Never => None,
        }
    }
}

/// `impl Trait` cannot stand in a `let`; `_` can (dtolnay/async-trait#266).
struct EraseImplTrait {
    found: bool,
}

impl VisitMut for EraseImplTrait {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::ImplTrait(_) = ty {
            *ty = parse_quote!(_);
            self.found = true;
        } else {
            visit_mut::visit_type_mut(self, ty);
        }
    }
}

/// Takes off parentheses, visible or not.
pub(crate) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(inner) => peel(&inner.elem),
        Type::Paren(inner) => peel(&inner.elem),
        other => other,
    }
}

/// An argument other than `self`.
pub(crate) struct Argument {
    /// Its name in the signature of the expansion: the user's, if the pattern is a plain name.
    pub(crate) name: Ident,
    /// The user's pattern.
    pub(crate) pattern: Pat,
    /// Whether the pattern is more than a name, with or without `mut`.
    pub(crate) takes_apart: bool,
    pub(crate) ty: Type,
    /// The attributes that belong to the binding; lints are decided where it is used.
    pub(crate) attributes: Vec<Attribute>,
}

impl Argument {
    /// Whether it exists in some configurations only.
    pub(crate) fn is_conditional(&self) -> bool {
        self.attributes.iter().any(is_configuration)
    }

    /// Whether the pattern borrows a part to change it.
    pub(crate) fn is_changed_in_place(&self) -> bool {
        let mut search = UniqueBinding { found: false };
        search.visit_pat_mut(&mut self.pattern.clone());
        search.found
    }

    /// Whether it is a unique borrow, which only one attempt can be given.
    pub(crate) fn is_unique_borrow(&self) -> bool {
        matches!(peel(&self.ty), Type::Reference(reference) if reference.mutability.is_some())
    }
}

/// Looks for `ref mut`.
struct UniqueBinding {
    found: bool,
}

impl VisitMut for UniqueBinding {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        self.found |= pattern.by_ref.is_some() && pattern.mutability.is_some();
        visit_mut::visit_pat_ident_mut(self, pattern);
    }
}

/// Whether an attribute decides that what it stands on exists.
pub(crate) fn is_configuration(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
}

/// Whether `self` is a shared borrow, which every attempt can be given.
pub(crate) fn is_shared(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_none(),
        ReceiverKind::Typed(_, ty) => matches!(peel(ty), Type::Reference(inner) if inner.mutability.is_none()),
        _ => false,
    }
}

/// Whether the function owns what `self` is.
pub(crate) fn is_owned(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(..) => false,
        ReceiverKind::Typed(_, ty) => !matches!(peel(ty), Type::Reference(_)),
        _ => true,
    }
}

impl Function {
    /// Reads the item under the attribute; `None` means that it is none that can be expanded.
    pub(crate) fn parse(item: TokenStream, errors: &mut Errors) -> Option<Self> {
        match syn::parse2::<MaybeFunction>(item.clone()) {
            Ok(MaybeFunction::Whole(function)) => Some(*function),
            Ok(MaybeFunction::Bodyless(signature)) => {
                errors
                    .push(signature, "a method without a body calls nothing; put `#[poet]` on the methods of the impl");
                None
            }
            Err(error) => {
                errors.add(no_function(item, error));
                None
            }
        }
    }

    /// The arguments other than `self`.
    pub(crate) fn arguments(&self) -> Vec<Argument> {
        let typed = self.signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        });
        let read = typed.enumerate().map(|(index, argument)| {
            let plain = match &*argument.pat {
                Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => Some(&pattern.ident),
                _ => None,
            };
            Argument {
                name: plain.cloned().unwrap_or_else(|| format_ident!("__arg{index}", span = Span::mixed_site())),
                pattern: (*argument.pat).clone(),
                takes_apart: plain.is_none(),
                ty: (*argument.ty).clone(),
                attributes: argument.attrs.clone(),
            }
        });
        read.collect()
    }

    /// The signature of the expansion: the user's, with a name for every argument.
    ///
    /// ```text
    /// async fn f(&self, mut page: Page, (from, to): (u32, u32)) -> Doc      is read
    /// async fn f(&self, page: Page, __arg1: (u32, u32)) -> Doc              is written
    /// ```
    pub(crate) fn signature_with_names(&self, arguments: &[Argument]) -> Signature {
        let mut signature = self.signature.clone();
        let typed = signature.inputs.iter_mut().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        });
        for (input, argument) in typed.zip(arguments) {
            let name = &argument.name;
            *input.pat = parse_quote!(#name);
            input.attrs.retain(is_configuration);
        }
        signature
    }

    /// How it runs and what it answers; `None` if it cannot be expanded.
    pub(crate) fn kind(&self, errors: &mut Errors) -> Option<(Kind, Output)> {
        // Complaints about `()` belong to the name: there is no type to point at.
        let unit = || Box::new(parse_quote_spanned!(self.signature.ident.span()=> ()));
        let ReturnType::Type(_, ty) = &self.signature.output else {
            let kind = if self.signature.asyncness.is_some() { Kind::Async } else { Kind::Sync };
            return Some((kind, Output::Named(unit())));
        };
        if self.signature.asyncness.is_some() {
            return Some((Kind::Async, Output::of(ty)));
        }
        match (promise(ty), Tail::find(&self.body)) {
            (Promise::Value, None) => Some((Kind::Sync, Output::of(ty))),
            (Promise::Future(output), Some(tail)) => {
                if let Some(way_out) = tail.way_out() {
                    errors.add(syn::Error::new(
                        way_out,
                        "this would leave past `#[poet]`; move it into the `async` block at the end",
                    ));
                    return None;
                }
                Some((Kind::Hidden(tail), Output::of(&output)))
            }
            (Promise::Value | Promise::Unknown, Some(_)) => {
                errors.push(
                    ty,
                    "this does not show what the future yields; write `Pin<Box<dyn Future<Output = …>>>`, or make this \
                     an `async fn`",
                );
                None
            }
            (Promise::Future(_) | Promise::Unknown, None) => {
                errors.push(
                    ty,
                    "this is a future that `#[poet]` cannot see into; make this an `async fn`, or end it in \
                     `Box::pin(async move { … })`",
                );
                None
            }
        }
    }
}

/// A function, or the declaration of one.
enum MaybeFunction {
    Whole(Box<Function>),
    Bodyless(Box<Signature>),
}

impl Parse for MaybeFunction {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature: Signature = input.parse()?;
        if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
            return Ok(Self::Bodyless(Box::new(signature)));
        }
        let content;
        let brace = braced!(content in input);
        let inner_attributes = content.call(Attribute::parse_inner)?;
        let body = content.parse()?;
        Ok(Self::Whole(Box::new(Function { attributes, visibility, signature, brace, inner_attributes, body })))
    }
}

/// Says why an item is no function, in words that fit what it is.
fn no_function(item: TokenStream, error: syn::Error) -> syn::Error {
    if let Ok(found) = syn::parse2::<ItemImpl>(item.clone()) {
        return syn::Error::new_spanned(found.impl_token, "`#[poet]` goes on the methods of the impl, one by one");
    }
    if let Ok(found) = syn::parse2::<ItemTrait>(item.clone()) {
        return syn::Error::new_spanned(found.trait_token, "`#[poet]` goes on the methods of the impl, one by one");
    }
    if let Ok(found) = syn::parse2::<ItemMod>(item.clone()) {
        return syn::Error::new_spanned(found.mod_token, "`#[poet]` goes on functions, one by one");
    }
    if let Ok(found) = syn::parse2::<syn::Item>(item)
        && !matches!(found, syn::Item::Fn(_) | syn::Item::Verbatim(_))
    {
        return syn::Error::new_spanned(head(&found), "`#[poet]` goes on a function");
    }
    error
}

/// The first token of an item after its attributes.
fn head(item: &syn::Item) -> TokenStream {
    let mut rest = item.to_token_stream().into_iter().peekable();
    while rest.next_if(|token| matches!(token, proc_macro2::TokenTree::Punct(sign) if sign.as_char() == '#')).is_some()
    {
        rest.next();
    }
    rest.next().into_iter().collect()
}
