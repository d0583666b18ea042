//! The `#[poet]` attribute of poet-rs.

use proc_macro::TokenStream;

/// Wraps a function in perceive, operate, enforce and train.
#[proc_macro_attribute]
pub fn poet(_attribute: TokenStream, item: TokenStream) -> TokenStream {
    item
}
