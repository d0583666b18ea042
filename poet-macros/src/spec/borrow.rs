//! Finds what a type borrows, as far as it can be read off.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{Lifetime, ParenthesizedGenericArguments, Type, TypeFnPtr, TypeReference};

/// The first borrow in a type that does not last for ever.
pub(super) fn first_borrow(ty: &Type) -> Option<TokenStream> {
    let mut borrows = Borrows { first: None };
    borrows.visit_type_mut(&mut ty.clone());
    borrows.first
}

struct Borrows {
    first: Option<TokenStream>,
}

impl VisitMut for Borrows {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if reference.lifetime.is_none() {
            self.first.get_or_insert_with(|| reference.to_token_stream());
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident != "static" {
            self.first.get_or_insert_with(|| lifetime.to_token_stream());
        }
    }

    // What a function takes is borrowed from whoever calls it.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}
