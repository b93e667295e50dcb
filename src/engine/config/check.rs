//! What concerns several objects: names that point nowhere, addresses and rules that meet.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};

use super::diagnostic::{Diagnostic, Span};
use super::nearest::nearest;
use super::{Model, Route, Spanned};

/// Every mistake that no object makes alone.
pub(crate) fn check(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = absent(model);
    diagnostics.extend(addresses(model));
    diagnostics.extend(upstream_names(model));
    diagnostics.extend(ties(model));
    diagnostics
}

/// What must be there.
fn absent(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut report = |span: &Span, what: String, cure: &str| {
        diagnostics.push(Diagnostic::new(&model.source, span.clone(), what).cure(cure));
    };
    if model.document.version.is_none() {
        report(&(0..0), "`version` is missing".to_owned(), "add version = 1");
    }
    if model.document.listeners.names.is_empty() {
        let cure = "add [listeners.web] with address = \"0.0.0.0:8080\"";
        report(&(0..0), "there is no listener".to_owned(), cure);
    }
    for (name, upstream) in &model.document.upstreams.objects {
        if upstream.endpoints.is_empty() {
            let what = format!("upstream `{}` has no endpoint", **name);
            report(&upstream.endpoints.span, what, "add one, such as \"127.0.0.1:9000\"");
        }
    }
    for (name, route) in &model.document.routes.objects {
        if let Some(hosts) = route.matches.hosts.as_ref().filter(|hosts| hosts.is_empty()) {
            let what = format!("route `{}` matches no host", **name);
            report(&hosts.span, what, "leave `hosts` out to match any host");
        }
    }
    diagnostics
}

/// Listeners that ask for the same address.
fn addresses(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut seen: Vec<(&str, &Spanned<SocketAddr>)> = Vec::new();
    for (name, listener) in &model.document.listeners.objects {
        let address = &listener.address;
        if let Some((other, first)) = seen.iter().find(|(_, first)| overlap(first, address)) {
            let what = format!("listeners `{other}` and `{}` ask for the same address", **name);
            diagnostics.push(
                Diagnostic::new(&model.source, address.span.clone(), what)
                    .why("taken already")
                    .also(first.span.clone(), format!("by `{other}`"))
                    .cure("give each listener a port of its own"),
            );
        }
        seen.push((name, address));
    }
    diagnostics
}

/// Whether two sockets could not listen at the same time. An unspecified IPv6 address takes IPv4
/// too; port 0 is another port each time.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let takes_all = |taker: &SocketAddr, other: &SocketAddr| match taker.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && other.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    let meet = one.ip() == other.ip() || takes_all(one, other) || takes_all(other, one);
    one.port() == other.port() && one.port() != 0 && meet
}

/// Routes to upstreams that do not exist.
fn upstream_names(model: &Model) -> Vec<Diagnostic> {
    let names = || model.document.upstreams.names.iter().map(|name| name.as_str());
    let dangling = |(name, route): &(Spanned<String>, Route)| {
        if names().any(|known| known == *route.upstream) {
            return None;
        }
        let cure = match nearest(&route.upstream, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names().next().is_none() => {
                format!("add [upstreams.{}] with its endpoints", *route.upstream)
            }
            None => format!("the upstreams are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        let what = format!("no upstream is named `{}`", *route.upstream);
        let why = format!("route `{}` goes there", **name);
        let span = route.upstream.span.clone();
        Some(Diagnostic::new(&model.source, span, what).why(why).cure(cure))
    };
    model.document.routes.objects.iter().filter_map(dangling).collect()
}

/// Routes that would take the same requests: equal host and equal path prefix.
fn ties(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut seen: HashMap<(String, &str), (&str, Span)> = HashMap::new();
    for (name, route) in &model.document.routes.objects {
        for (host, prefix, span) in rules(name, route) {
            match seen.entry((host.to_ascii_lowercase(), prefix)) {
                Entry::Vacant(entry) => {
                    entry.insert((name, span));
                }
                Entry::Occupied(entry) => {
                    let (other, first) = entry.get();
                    let (host, prefix) = entry.key();
                    let (what, cure) = if *other == name.as_str() {
                        let what = format!("route `{other}` names host \"{host}\" twice");
                        (what, "leave one out")
                    } else {
                        let host = if host.is_empty() { "any host" } else { host };
                        let prefix = if prefix.is_empty() { "/" } else { prefix };
                        let what = format!(
                            "routes `{other}` and `{}` are both for {host} and {prefix}",
                            **name
                        );
                        (what, "give them different hosts or path prefixes, or leave one out")
                    };
                    diagnostics.push(
                        Diagnostic::new(&model.source, span, what)
                            .why("the same again")
                            .also(first.clone(), "first here")
                            .cure(cure),
                    );
                }
            }
        }
    }
    diagnostics
}

/// What a route matches: host (empty for any), prefix without a slash at its end, and the place
/// that says so.
fn rules<'m>(
    name: &Spanned<String>,
    route: &'m Route,
) -> impl Iterator<Item = (&'m str, &'m str, Span)> {
    let written = route.matches.path_prefix.as_ref();
    let prefix = written.map_or("", |it| it.0.strip_suffix('/').unwrap_or(&it.0));
    let hosts = route.matches.hosts.as_ref();
    let named = hosts.into_iter().flat_map(|hosts| hosts.iter());
    let any = hosts.is_none().then(|| {
        ("", prefix, written.map_or_else(|| name.span.clone(), |prefix| prefix.span.clone()))
    });
    named.map(move |host| (host.0.as_str(), prefix, host.span.clone())).chain(any)
}
