//! Compares what the attribute prints with what is kept in `tests/expansion`.
//!
//! `NAME.rs` holds one annotated function, `NAME.expanded.rs` what becomes of it. After a change on purpose, run the
//! tests with `POET_EXPAND=write` and read the difference.

use crate::attribute_macro;
use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use std::path::{Path, PathBuf};
use std::{env, fs};
use syn::{Item, Meta};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expansion")
}

/// The names of all cases, in order.
fn cases() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files
        .filter(|name| !name.ends_with(".expanded.rs"))
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// What becomes of the function in `NAME.rs`.
fn expansion(name: &str) -> TokenStream {
    let source = fs::read_to_string(folder().join(format!("{name}.rs"))).unwrap();
    let Item::Fn(mut function) = syn::parse_file(&source).unwrap().items.remove(0) else {
        panic!("{name}: no function")
    };
    let place = function.attrs.iter().position(|attribute| attribute.path().is_ident("poet")).unwrap();
    let keys = match function.attrs.remove(place).meta {
        Meta::List(list) => list.tokens,
        _ => TokenStream::new(),
    };
    attribute_macro(keys, function.to_token_stream())
}

fn count(tokens: TokenStream, word: &str) -> usize {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) => usize::from(ident == word),
            TokenTree::Group(group) => count(group.stream(), word),
            _ => 0,
        })
        .sum()
}

#[test]
fn every_expansion_is_what_was_agreed() {
    let write = env::var_os("POET_EXPAND").is_some_and(|value| value == "write");
    for name in cases() {
        let file = folder().join(format!("{name}.expanded.rs"));
        let printed = prettyplease::unparse(&syn::parse2(expansion(&name)).unwrap());
        if write {
            fs::write(&file, &printed).unwrap();
        }
        let agreed = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(printed, agreed, "{name} expands to something else; POET_EXPAND=write keeps it");
    }
}

#[test]
fn the_body_stands_in_every_expansion_exactly_once() {
    for name in cases() {
        assert_eq!(count(expansion(&name), "the_body"), 1, "{name}");
    }
}

#[test]
fn with_another_prefix_nothing_names_the_facade() {
    assert_eq!(count(expansion("another_prefix"), "poet"), 0);
    assert!(count(expansion("async_fn"), "poet") > 0, "or the count finds nothing at all");
}

#[test]
fn after_a_mistake_the_item_stands_as_it_was_written() {
    let item = quote! { pub fn fetch(mut id: u64) -> Result<Doc, Error> { the_body(id) } };
    let printed = attribute_macro(quote!(retries = 3), item.clone()).to_string();
    assert!(printed.starts_with(&item.to_string()));
    assert!(printed.contains("compile_error"));
}

#[test]
fn half_typed_code_in_the_body_still_expands() {
    let printed = attribute_macro(quote!(), quote! { async fn fetch(&self) -> u8 { self. } }).to_string();
    assert!(printed.contains("run_once"), "{printed}");
    assert!(!printed.contains("compile_error"), "{printed}");
}
