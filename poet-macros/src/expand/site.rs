//! Writes the site of a function: what its author declared, in a `static`.

use super::{Expansion, at, facade};
use crate::spec::CallSpec;
use crate::value::{Domain, Kept, Priority};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use std::time::Duration;
use syn::LitStr;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

impl Expansion<'_> {
    /// The site, in a scope of its own: a `static` is an item, and the body must not see it.
    pub(super) fn site(&self) -> TokenStream {
        let Self { spec, runtime, .. } = self;
        let core = quote_spanned!(Span::mixed_site()=> #runtime::core);
        let some = quote_spanned!(Span::mixed_site()=> #core::option::Option::Some);
        let mut fields = TokenStream::new();
        let mut field = |name: &str, value: TokenStream| {
            let name = Ident::new(name, Span::mixed_site());
            fields.extend(quote_spanned!(Span::mixed_site()=> #name: #some(#value),));
        };
        if let Some(domain) = &spec.domain {
            field("profile", profile(spec, domain));
        }
        if let Some(word) = spec.learning {
            let word = Ident::new(word, Span::mixed_site());
            field("learning", quote_spanned!(Span::mixed_site()=> #runtime::Learning::#word));
        }
        if let Some(Priority::Fixed(word)) = spec.priority {
            let word = Ident::new(word, Span::mixed_site());
            field("priority", quote_spanned!(Span::mixed_site()=> #runtime::Priority::#word));
        }
        let mut label = |name, value: &Option<LitStr>| {
            if let Some(value) = value {
                field(name, value.to_token_stream());
            }
        };
        label("service", &spec.service);
        label("operation", &spec.operation);
        if let Some(retries) = spec.retries {
            field("retries", retries.to_token_stream());
        }
        let mut time = |name, value: Option<Duration>| {
            if let Some(value) = value {
                field(name, duration(&core, value));
            }
        };
        time("timeout", spec.timeout);
        time("deadline", spec.deadline);
        if let Some(cost) = spec.cost {
            field("cost", cost.to_token_stream());
        }
        if let Some(cache) = &spec.cache {
            let cache_for = quote_spanned!(Span::mixed_site()=> #runtime::CacheFor);
            let kept = match cache.kept {
                Kept::Learned => quote_spanned!(Span::mixed_site()=> #cache_for::Learned),
                Kept::Fixed(time) => {
                    let time = duration(&core, time);
                    quote_spanned!(Span::mixed_site()=> #cache_for::Fixed(#time))
                }
            };
            field("cache", kept);
        }
        if spec.idempotent {
            fields.extend(quote_spanned!(Span::mixed_site()=> idempotent: true,));
        }
        if spec.deferrable {
            fields.extend(quote_spanned!(Span::mixed_site()=> deferrable: true,));
        }
        let name = LitStr::new(&self.function.signature.ident.unraw().to_string(), Span::mixed_site());
        let place = quote_spanned!(Span::mixed_site()=> #core::module_path!(), #core::file!(), #core::line!());
        let mut declaration = quote_spanned!(Span::mixed_site()=> #runtime::Declaration::new(#name, #place));
        if !fields.is_empty() {
            declaration = quote_spanned!(Span::mixed_site()=> #runtime::Declaration { #fields ..#declaration });
        }
        quote_spanned! {Span::mixed_site()=>
            {
                static __POET_SITE: #runtime::Site = #runtime::Site::new(#declaration);
                &__POET_SITE
            }
        }
    }
}

/// A length of time, in a `const`.
fn duration(core: &TokenStream, time: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (time.as_secs(), time.subsec_nanos());
    quote_spanned!(Span::mixed_site()=> #core::time::Duration::new(#seconds, #nanoseconds))
}

/// The profile of a domain, at the place where the domain is named.
fn profile(spec: &CallSpec, domain: &Domain) -> TokenStream {
    match domain {
        Domain::Path(path) => quote_spanned!(at(path.span())=> &#path),
        Domain::Known(name) => {
            let facade = facade(spec);
            let profile = Ident::new(&name.value().to_uppercase(), at(name.span()));
            quote_spanned!(at(name.span())=> &#facade::domains::#profile)
        }
    }
}
