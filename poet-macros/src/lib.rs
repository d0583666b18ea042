//! The `#[poet]` attribute of [`poet-rs`](https://docs.rs/poet-rs); users depend on that crate.
//!
//! A small compiler: `args` reads what was written and `value` what it stands for, `spec` decides what is meant for
//! this function, `expand` prints one call to the runtime around the untouched body. The guide for users is
//! `docs/attribute.md`, which the facade shows where it re-exports the attribute.

mod args;
mod duration;
mod errors;
mod expand;
mod hidden_future;
mod signature;
#[cfg(test)]
mod snapshot;
mod spec;
mod suggest;
mod value;

use crate::args::PoetArgs;
use crate::errors::Errors;
use crate::signature::Function;
use crate::spec::CallSpec;
use proc_macro2::TokenStream;

/// Makes the calls of a function reliable by learning.
#[proc_macro_attribute]
pub fn poet(attribute: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    attribute_macro(attribute.into(), item.into()).into()
}

fn attribute_macro(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = PoetArgs::parse(attribute, &mut errors);
    let expansion = Function::parse(item.clone(), &mut errors).and_then(|function| {
        let spec = CallSpec::resolve(args, &function, &mut errors)?;
        errors.is_empty().then(|| expand::function(&spec, &function))
    });
    // On any mistake the item stays as it is: whoever calls it sees one error, not thirty, and the editor keeps
    // completing (rwf2/Rocket#1967).
    expansion.unwrap_or_else(|| item.into_iter().chain(errors.to_compile_errors()).collect())
}
