//! Mistakes between several objects or keys: names that point nowhere, addresses and rules that
//! meet.
//!
//! Invariant: the cost is linear in the size of the configuration, but for the first mistakes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;

use super::admin::AdminAddress;
use super::in_flight::InFlight;
use super::model::Model;
use super::names;
use super::reply::Reply;
use super::route::{Destination, RouteTimeouts};
use super::ties::ties;
use super::tls::ClientAuth;
use super::upstream::Endpoint;
use crate::address::Address;
use crate::auth::KeyHash;
use crate::filter::{FilterSettings, FilterUse};
use crate::keys::{Diagnostic, Name, Span, Spanned};

/// Every mistake that no value makes alone.
pub(crate) fn check(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = absent(model);
    diagnostics.extend(admin(model));
    diagnostics.extend(addresses(model));
    diagnostics.extend(names::dangling(model));
    diagnostics.extend(filters(model));
    diagnostics.extend(certificates(model));
    diagnostics.extend(api_keys(model));
    diagnostics.extend(replies(model));
    diagnostics.extend(lists(model));
    diagnostics.extend(superfluous(model));
    diagnostics.extend(ports(model));
    diagnostics.extend(ties(model));
    diagnostics
}

/// Objects and values that must be there.
fn absent(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut report = |span: Span, what: String, cure: &str| {
        diagnostics.push(Diagnostic::error(&model.texts, span, what).cured_by(cure));
    };
    if model.document.version.is_none() {
        report(Span::START, "`version` is missing".to_owned(), "add version = 1");
    }
    if model.document.listeners.names.is_empty() {
        let cure = "add [listeners.web] with address = \"0.0.0.0:8080\"";
        report(Span::START, "there is no listener".to_owned(), cure);
    }
    for (name, upstream) in &model.document.upstreams.objects {
        if upstream.endpoints.is_empty() {
            let what = format!("upstream `{}` has no endpoint", **name);
            report(upstream.endpoints.span, what, "add one, such as \"127.0.0.1:9000\"");
        }
    }
    for (name, route) in &model.document.routes.objects {
        if let Some(hosts) = route.matches.hosts.as_ref().filter(|hosts| hosts.is_empty()) {
            let what = format!("route `{}` matches no host", **name);
            report(hosts.span, what, "leave `hosts` out to match any host");
        }
        if let Some(clients) = route.matches.clients.as_ref().filter(|it| it.is_empty()) {
            let what = format!("route `{}` matches no client", **name);
            report(clients.span, what, "leave `clients` out to match any client");
        }
        if let Some(listeners) = route.matches.listeners.as_ref().filter(|it| it.is_empty()) {
            let what = format!("route `{}` matches no listener", **name);
            report(listeners.span, what, "leave `listeners` out to match any listener");
        }
        if let Some(methods) = route.matches.methods.as_ref().filter(|it| it.is_empty()) {
            let what = format!("route `{}` matches no method", **name);
            report(methods.span, what, "leave `methods` out to match any method");
        }
    }
    diagnostics
}

/// An admin API that anybody could use.
fn admin(model: &Model) -> Option<Diagnostic> {
    let admin = &model.document.admin;
    let open = admin.address.is_reachable() && admin.token.is_none();
    open.then(|| {
        Diagnostic::error(
            &model.texts,
            admin.address.span,
            "the admin API would be open to other hosts",
        )
        .because("not a loopback address")
        .cured_by("add token = \"${env:RINGWAY_ADMIN_TOKEN}\", or listen on 127.0.0.1")
    })
}

/// Listeners that ask for the same address, and the admin API beside them.
fn addresses(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut seen: HashMap<(u16, Taken<'_>), (String, Span), FixedState> = HashMap::default();
    let admin = &model.document.admin.address;
    let admin = match &**admin {
        AdminAddress::At(address) => Some(("the admin API".to_owned(), address, admin.span)),
        AdminAddress::Off => None,
    };
    let listeners = model.document.listeners.objects.iter().map(|(name, listener)| {
        (format!("listener `{}`", **name), &*listener.address, listener.address.span)
    });
    // The admin API comes first: where it listens may be a default that stands nowhere.
    for (name, address, span) in admin.into_iter().chain(listeners) {
        let port = address.ip().map_or(0, |it| it.port());
        if port == 0 && address.ip().is_some() {
            // Another port each time.
            continue;
        }
        let in_the_way = Taken::against(address).find_map(|taken| seen.get(&(port, taken)));
        if let Some((other, first)) = in_the_way {
            let what = format!("{other} and {name} ask for the same address");
            let diagnostic = Diagnostic::error(&model.texts, span, what).because("taken already");
            diagnostics.push(if *first == Span::START {
                diagnostic.cured_by("choose another one, or write another one in `admin.address`")
            } else {
                let diagnostic = diagnostic.also(&model.texts, *first, format!("by {other}"));
                diagnostic.cured_by(match address {
                    Address::Ip(_) => "give each of them a port of its own",
                    Address::Unix(_) => "give each of them a socket of its own",
                })
            });
        }
        for taken in Taken::by(address) {
            seen.entry((port, taken)).or_insert_with(|| (name.clone(), span));
        }
    }
    diagnostics
}

/// The part of a port that a listener takes. A Unix socket has no port; 0 stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Taken<'a> {
    /// This address, as it is written.
    Address(IpAddr),
    /// Any IPv4 address.
    SomeIpv4,
    /// Any address.
    Some,
    /// This Unix socket.
    Socket(&'a str),
}

impl<'a> Taken<'a> {
    /// The parts that a listener on `address` takes.
    fn by(address: &'a Address) -> impl Iterator<Item = Self> {
        let (ip, socket) = Self::parts(address);
        let of_ip = ip.into_iter().flat_map(|ip| {
            let ipv4 = ip.is_ipv4().then_some(Self::SomeIpv4);
            [Self::Address(ip), Self::Some].into_iter().chain(ipv4)
        });
        of_ip.chain(socket)
    }

    /// The parts of another listener that exclude one on `address`. An unspecified IPv6 address takes IPv4
    /// too.
    fn against(address: &'a Address) -> impl Iterator<Item = Self> {
        let (ip, socket) = Self::parts(address);
        let of_ip = ip.into_iter().flat_map(|ip| {
            let all = Self::Address(Ipv6Addr::UNSPECIFIED.into());
            let all_ipv4 = ip.is_ipv4().then_some(Self::Address(Ipv4Addr::UNSPECIFIED.into()));
            let takes_all = ip.is_unspecified().then_some(match ip {
                IpAddr::V4(_) => Self::SomeIpv4,
                IpAddr::V6(_) => Self::Some,
            });
            [Self::Address(ip), all].into_iter().chain(all_ipv4).chain(takes_all)
        });
        of_ip.chain(socket)
    }

    fn parts(address: &'a Address) -> (Option<IpAddr>, Option<Self>) {
        match address {
            Address::Ip(address) => (Some(address.ip()), None),
            Address::Unix(name) => (None, Some(Self::Socket(name))),
        }
    }
}

/// Filters with keys that contradict each other.
fn filters(model: &Model) -> Vec<Diagnostic> {
    let document = &model.document;
    let named = document.filters.objects.iter().map(|(name, it)| (name.span, it));
    let of_listeners = document.listeners.objects.iter().flat_map(|(_, it)| it.filters.iter());
    let of_routes = document.routes.objects.iter().flat_map(|(_, it)| it.filters.iter());
    let own = of_listeners.chain(of_routes).filter_map(|it| match &**it {
        FilterUse::Named(_) => None,
        FilterUse::Own(settings) => Some((it.span, &**settings)),
    });
    let mistake = |(span, settings): (Span, &FilterSettings)| {
        let (what, cure) = settings.mistake()?;
        Some(Diagnostic::error(&model.texts, span, what).cured_by(cure))
    };
    named.chain(own).filter_map(mistake).collect()
}

/// API keys that stand twice. No message shows one.
fn api_keys(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut seen: HashMap<KeyHash, Span, FixedState> = HashMap::default();
    for (name, consumer) in &model.document.consumers.objects {
        for key in &consumer.api_keys {
            let Some(first) = seen.insert(**key, key.span) else { continue };
            let what = format!("an API key of consumer `{}` stands twice", **name);
            diagnostics.push(
                Diagnostic::error(&model.texts, key.span, what)
                    .because("the same again")
                    .also(&model.texts, first, "first here")
                    .cured_by("give each consumer keys of its own"),
            );
        }
    }
    diagnostics
}

/// Listeners whose `tls` names no certificate, and half of what client certificates need.
fn certificates(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let with_tls = model.document.listeners.objects.iter();
    for (listener, tls) in with_tls.filter_map(|(name, it)| Some((name, it.tls.as_ref()?))) {
        let mut report = |span: Span, what: String, cure: String| {
            diagnostics.push(Diagnostic::error(&model.texts, span, what).cured_by(cure));
        };
        if tls.certificates.is_empty() {
            let what = format!("listener `{}` has TLS and no certificate", **listener);
            let cure = "name one of [certificates], such as certificates = [\"site\"]";
            report(tls.certificates.span, what, cure.to_owned());
        }
        let with_auth = tls.client_auth != ClientAuth::Off;
        for (key, file) in [("client_ca", &tls.client_ca), ("client_crl", &tls.client_crl)] {
            if let Some(file) = file.as_ref().filter(|_| !with_auth) {
                let what = format!("`{key}` has no effect where `client_auth` is \"off\"");
                let cure = format!("write client_auth = \"required\", or leave `{key}` out");
                report(file.span, what, cure);
            }
        }
        if with_auth && tls.client_ca.is_none() {
            let what = format!("listener `{}` asks for client certificates of nobody", **listener);
            let cure = "add client_ca = \"clients.pem\", the authority that issues them";
            report(tls.certificates.span, what, cure.to_owned());
        }
    }
    diagnostics
}

/// Replies with a body that cannot have one (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5).
fn replies(model: &Model) -> Vec<Diagnostic> {
    let routes = model.document.routes.objects.iter();
    let with_body = routes.filter_map(|(_, route)| match &route.destination {
        Destination::Reply(reply)
            if matches!(reply.status, 204 | 205 | 304) && !reply.body.0.is_empty() =>
        {
            Some(reply)
        }
        _ => None,
    });
    let mistake = |reply: &Reply| {
        let what = format!("a reply with status {} has no body", reply.status);
        Diagnostic::error(&model.texts, reply.body.span, what)
            .cured_by("leave `body` out, or choose another status")
    };
    with_body.map(mistake).collect()
}

/// Routes with keys about an endpoint, and without one.
fn superfluous(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (name, route) in &model.document.routes.objects {
        if matches!(route.destination, Destination::Upstream(_)) {
            continue;
        }
        let mut report = |span: Span, key: &str, why: &str| {
            let what = format!("`routes.{}` has `{key}` and no `upstream`", **name);
            let diagnostic = Diagnostic::error(&model.texts, span, what);
            diagnostics.push(diagnostic.because(why).cured_by(format!("leave `{key}` out")));
        };
        if let Some(upgrades) = &route.upgrades {
            report(upgrades.span, "upgrades", "it is the endpoint that agrees to another protocol");
        }
        if *route.timeouts != RouteTimeouts::default() {
            report(route.timeouts.span, "timeouts", "there is no endpoint to wait for");
        }
        if *route.in_flight != InFlight::default() {
            report(route.in_flight.span, "in_flight", "the gateway answers at once");
        }
    }
    diagnostics
}

/// Endpoints that nobody can connect to.
fn ports(model: &Model) -> Vec<Diagnostic> {
    let endpoints = model.document.upstreams.objects.iter().flat_map(|(_, it)| it.endpoints.iter());
    let portless = endpoints
        .filter(|it| it.address.place().and_then(Address::ip).is_some_and(|ip| ip.port() == 0));
    let mistake = |endpoint: &Spanned<Endpoint>| {
        Diagnostic::error(&model.texts, endpoint.span, "port 0 is no place to connect to")
            .cured_by("write the port that the endpoint listens on")
    };
    portless.map(mistake).collect()
}

/// Routes that name a host, a method or a protocol twice.
fn lists(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (name, route) in &model.document.routes.objects {
        let hosts = route.matches.hosts.iter().flat_map(|hosts| hosts.iter());
        let hosts = hosts.map(|it| (lower(&it.0), it.span, it.shown()));
        twice(model, name, "host", hosts, &mut diagnostics);
        let listeners = route.matches.listeners.iter().flat_map(|listeners| listeners.iter());
        let listeners = listeners.map(|it| (Cow::Borrowed(it.as_str()), it.span, it.shown()));
        twice(model, name, "listener", listeners, &mut diagnostics);
        let methods = route.matches.methods.iter().flat_map(|methods| methods.iter());
        let methods = methods.map(|it| (Cow::Borrowed(&*it.0), it.span, it.shown()));
        twice(model, name, "method", methods, &mut diagnostics);
        let upgrades = route.upgrades.iter().flat_map(|upgrades| upgrades.iter());
        let upgrades = upgrades.map(|it| (Cow::Borrowed(&*it.0), it.span, it.shown()));
        twice(model, name, "protocol", upgrades, &mut diagnostics);
    }
    diagnostics
}

fn twice<'m>(
    model: &Model,
    route: &Name,
    noun: &str,
    items: impl Iterator<Item = (Cow<'m, str>, Span, &'m str)>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<Cow<'m, str>, Span, FixedState> = HashMap::default();
    for (key, span, shown) in items {
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(span);
            }
            Entry::Occupied(entry) => {
                let what = format!("route `{route}` names the {noun} {shown} twice");
                let diagnostic =
                    Diagnostic::error(&model.texts, span, what).because("the same again");
                let diagnostic = diagnostic.also(&model.texts, *entry.get(), "first here");
                diagnostics.push(diagnostic.cured_by("leave one out"));
            }
        }
    }
}

/// A host as it is compared.
fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn sockets_that_could_not_listen_at_the_same_time_are_known() {
        let meet = |one: &str, other: &str| {
            let (one, other): (Address, Address) = (one.parse().unwrap(), other.parse().unwrap());
            let taken: HashSet<_> = Taken::by(&one).collect();
            Taken::against(&other).any(|it| taken.contains(&it))
        };
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("127.0.0.1:1", "[::1]:1", false),
            ("[::1]:1", "0.0.0.0:1", false),
            ("[::1]:1", "[::]:1", true),
            ("0.0.0.0:1", "[::]:1", true),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", "unix:@a", false),
            ("unix:/a", "[::]:1", false),
        ] {
            assert_eq!(meet(one, other), expected, "{one} {other}");
            assert_eq!(meet(other, one), expected, "{other} {one}");
        }
    }
}
