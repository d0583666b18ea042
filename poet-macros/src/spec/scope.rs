//! What the expressions in the attribute can name.

use crate::errors::Errors;
use crate::signature::Argument;
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::PatIdent;
use syn::visit_mut::VisitMut;

/// The expressions of `priority` and `key` see the arguments as they come in, before they are taken apart.
pub(super) fn check(expr: &TokenStream, arguments: &[Argument], errors: &mut Errors) {
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
