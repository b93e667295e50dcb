//! Names of objects: those that nothing has.
//!
//! Invariant: the cost is linear in the size of the configuration, but for the first mistakes.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use super::model::Model;
use super::route::Destination;
use crate::filter::{FilterSettings, FilterUse};
use crate::keys::{Diagnostic, MASK, Name, Span, Spanned, nearest};

/// A name where an object is used.
struct NameUse<'m> {
    name: &'m str,
    span: Span,
    secret: bool,
    /// The object that uses it, such as "route `users`".
    user: String,
}

/// Every use of a name that nothing has.
pub(super) fn dangling(model: &Model) -> Vec<Diagnostic> {
    let document = &model.document;
    let upstreams = unknown(
        model,
        ("upstream", "upstreams", "with its endpoints", "goes there"),
        &document.upstreams.names,
        upstream_uses(model),
    );
    let filters = unknown(
        model,
        ("filter", "filters", "with its `type`", "uses it"),
        &document.filters.names,
        filter_uses(model),
    );
    let certificates = unknown(
        model,
        ("certificate", "certificates", "with `cert` and `key`", "shows it"),
        &document.certificates.names,
        certificate_uses(model),
    );
    let listeners = unknown(
        model,
        ("listener", "listeners", "with its `address`", "is for it"),
        &document.listeners.names,
        listener_uses(model),
    );
    upstreams.chain(filters).chain(certificates).chain(listeners).collect()
}

/// The listeners that routes are for.
fn listener_uses(model: &Model) -> impl Iterator<Item = NameUse<'_>> {
    model.document.routes.objects.iter().flat_map(|(name, route)| {
        let listeners = route.matches.listeners.iter().flat_map(|it| it.iter());
        listeners.map(|it| of(it, format!("route `{}`", **name)))
    })
}

/// The names of the upstreams that anything sends requests to.
pub(super) fn used_upstreams(model: &Model) -> HashSet<&str, FixedState> {
    upstream_uses(model).map(|it| it.name).collect()
}

/// The names of the filters that a route or a listener uses.
pub(super) fn used_filters(model: &Model) -> HashSet<&str, FixedState> {
    filter_uses(model).map(|it| it.name).collect()
}

/// The names of the certificates that anything shows.
pub(super) fn used_certificates(model: &Model) -> HashSet<&str, FixedState> {
    certificate_uses(model).map(|it| it.name).collect()
}

/// The certificates that listeners show, and those that the gateway shows to endpoints.
fn certificate_uses(model: &Model) -> impl Iterator<Item = NameUse<'_>> {
    let document = &model.document;
    let of_listeners = document.listeners.objects.iter().flat_map(|(name, listener)| {
        let names = listener.tls.iter().flat_map(|tls| tls.certificates.iter());
        names.map(|it| of(it, format!("listener `{}`", **name)))
    });
    let of_upstreams = document.upstreams.objects.iter().filter_map(|(name, upstream)| {
        let tls = upstream.tls.as_ref()?;
        Some(of(tls.client_certificate.as_ref()?, format!("upstream `{}`", **name)))
    });
    of_listeners.chain(of_upstreams)
}

/// The upstreams that routes and filters send requests to.
fn upstream_uses(model: &Model) -> impl Iterator<Item = NameUse<'_>> {
    let document = &model.document;
    let of_routes = document.routes.objects.iter().filter_map(|(name, route)| {
        let user = || format!("route `{}`", **name);
        match &route.destination {
            Destination::Upstream(upstream) => Some(of(upstream, user())),
            Destination::Redirect(_) | Destination::Reply(_) => None,
        }
    });
    let of_filters = all_filters(model).flat_map(|(user, settings)| {
        settings.upstreams().into_iter().map(move |it| of(it, user.clone()))
    });
    of_routes.chain(of_filters)
}

fn of<'m>(name: &'m Spanned<String>, user: String) -> NameUse<'m> {
    NameUse { name, span: name.span, secret: name.is_secret(), user }
}

/// The filters that routes and listeners use by name.
fn filter_uses(model: &Model) -> impl Iterator<Item = NameUse<'_>> {
    lists(model).flat_map(|(user, filters)| {
        filters.iter().filter_map(move |it| match &**it {
            FilterUse::Named(name) => {
                Some(NameUse { name, span: it.span, secret: it.is_secret(), user: user.clone() })
            }
            FilterUse::Own(_) => None,
        })
    })
}

/// Every filter, with the object that it belongs to.
fn all_filters(model: &Model) -> impl Iterator<Item = (String, &FilterSettings)> {
    let named = model.document.filters.objects.iter();
    let named = named.map(|(name, it)| (format!("filter `{}`", **name), it));
    let own = lists(model).flat_map(|(user, filters)| {
        filters.iter().filter_map(move |it| match &**it {
            FilterUse::Own(settings) => Some((format!("a filter of {user}"), &**settings)),
            FilterUse::Named(_) => None,
        })
    });
    named.chain(own)
}

/// The filters that let requests pass without a credential, with their places.
pub(super) fn open_filters(model: &Model) -> Vec<(Span, String)> {
    let named = model.document.filters.objects.iter().filter(|(_, it)| it.opens());
    let named = named.map(|(name, _)| (name.span, format!("filter `{}`", **name)));
    let own = lists(model).flat_map(|(user, filters)| {
        filters.iter().filter_map(move |it| match &**it {
            FilterUse::Own(settings) if settings.opens() => {
                Some((it.span, format!("a filter of {user}")))
            }
            _ => None,
        })
    });
    named.chain(own).collect()
}

/// The lists of filters, with the object that each belongs to.
fn lists(model: &Model) -> impl Iterator<Item = (String, &[Spanned<FilterUse>])> {
    let document = &model.document;
    let listeners = document.listeners.objects.iter();
    let listeners = listeners.map(|(name, it)| (format!("listener `{}`", **name), &*it.filters));
    let routes = document.routes.objects.iter();
    let routes = routes.map(|(name, it)| (format!("route `{}`", **name), &*it.filters));
    listeners.chain(routes)
}

/// The uses of names that are not among `names`. An object is called `noun`, stands in `section`,
/// and needs `with`; `verb` says how another object uses it.
fn unknown<'m>(
    model: &'m Model,
    (noun, section, with, verb): (&'static str, &'static str, &'static str, &'static str),
    names: &'m [Spanned<Name>],
    uses: impl Iterator<Item = NameUse<'m>>,
) -> impl Iterator<Item = Diagnostic> {
    let known: HashSet<&str, FixedState> = names.iter().map(|name| name.as_ref()).collect();
    let dangling = uses.filter(move |it| !known.contains(it.name));
    dangling.enumerate().map(move |(index, NameUse { name, span, secret, user })| {
        let shown = if secret { MASK } else { name };
        let candidates = names.iter().map(|name| name.as_ref());
        let affordable = index.saturating_mul(names.len()) < COMPARISONS_MAX;
        let near = (affordable && !secret).then(|| nearest(name, candidates.clone())).flatten();
        let cure = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("add [{section}.{shown}] {with}"),
            None => {
                let some: Vec<_> = candidates.take(NAMES_LISTED_MAX).collect();
                let rest = if names.len() > some.len() { ", and more" } else { "" };
                format!("the {section} are: {}{rest}", some.join(", "))
            }
        };
        let what = format!("no {noun} is named `{shown}`");
        let why = format!("{user} {verb}");
        Diagnostic::error(&model.texts, span, what).because(why).cured_by(cure)
    })
}

/// So many pairs of names are compared to find the one that was meant: some 10 ms.
const COMPARISONS_MAX: usize = 50_000;

/// More names than these are no help.
const NAMES_LISTED_MAX: usize = 20;
