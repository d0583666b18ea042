//! Everything that is wrong with one use of the attribute, reported at once and each at its own token.
//!
//! A user who fixes one mistake and compiles again should not meet the next one: reading the attribute and judging it
//! against the function both go on after an error, and nothing is expanded while there is one.

use proc_macro2::TokenStream;
use quote::ToTokens;
use std::fmt;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    /// Notes a mistake at the tokens that have to change.
    pub(crate) fn push(&mut self, at: impl ToTokens, message: impl fmt::Display) {
        self.0.push(syn::Error::new_spanned(at, message));
    }

    /// Notes a mistake that `syn` has found.
    pub(crate) fn add(&mut self, error: syn::Error) {
        self.0.push(error);
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One `compile_error!` for each mistake, in the order in which they were found.
    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        self.0.iter().map(syn::Error::to_compile_error).collect()
    }
}
