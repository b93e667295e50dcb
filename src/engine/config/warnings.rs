//! Values that are sound and probably not meant as they are written.
//!
//! Invariant: the cost is linear in the size of the configuration.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;

use super::admin::AdminAddress;
use super::hidden::hidden;
use super::matching::PathRule;
use super::model::Model;
use super::names;
use super::redirect::LocationPart;
use super::route::Destination;
use crate::address::Address;
use crate::keys::{Diagnostic, Name, Span, Spanned};
use crate::names::AddressOrName;

/// The warnings about a model without mistakes.
pub(super) fn warnings(model: &Model) -> Vec<Diagnostic> {
    let mut warnings = Warnings { model, found: Vec::new() };
    warnings.unused();
    warnings.open();
    warnings.endpoints();
    warnings.paths();
    warnings.redirects();
    warnings.found.extend(hidden(model));
    warnings.found
}

struct Warnings<'m> {
    model: &'m Model,
    found: Vec<Diagnostic>,
}

impl Warnings<'_> {
    fn warn(&mut self, span: Span, what: String, why: &str, cure: String) {
        let warning = Diagnostic::error(&self.model.texts, span, what).because(why).cured_by(cure);
        self.found.push(warning.warning());
    }

    /// Upstreams, filters and certificates that nothing names.
    fn unused(&mut self) {
        let document = &self.model.document;
        let used = names::used_upstreams(self.model);
        for name in document.upstreams.names.iter().filter(|name| !used.contains(name.as_ref())) {
            let what = format!("no route goes to upstream `{}`", **name);
            let cure = format!("write upstream = \"{}\" in a route, or leave it out", **name);
            self.warn(name.span, what, "nothing is sent there", cure);
        }
        let used = names::used_filters(self.model);
        for name in document.filters.names.iter().filter(|name| !used.contains(name.as_ref())) {
            let what = format!("nothing uses filter `{}`", **name);
            let cure = format!("write filters = [\"{}\"] in a route or a listener", **name);
            self.warn(name.span, what, "it does nothing", cure);
        }
        let used = names::used_certificates(self.model);
        let names = document.certificates.names.iter();
        for name in names.filter(|name| !used.contains(name.as_ref())) {
            let what = format!("nothing uses certificate `{}`", **name);
            let cure = "name it in `tls.certificates` of a listener, or leave it out";
            self.warn(name.span, what, "nobody gets it", cure.to_owned());
        }
    }

    /// Filters that let requests pass without a credential.
    fn open(&mut self) {
        for (span, user) in names::open_filters(self.model) {
            let cure = "leave `anonymous` out to answer them 401".to_owned();
            let what = format!("{user} lets requests pass without a credential");
            self.warn(span, what, "`anonymous` is true", cure);
        }
    }

    /// Endpoints that stand twice in an upstream, that are no place to connect to, or that are the
    /// gateway itself.
    fn endpoints(&mut self) {
        let model = self.model;
        let listeners = model.document.listeners.objects.iter();
        let own: Vec<(&Spanned<Name>, &Address)> =
            listeners.map(|(name, listener)| (name, &*listener.address)).collect();
        let admin = match &*model.document.admin.address {
            AdminAddress::At(address) => Some(address),
            AdminAddress::Off => None,
        };
        for (upstream, it) in &model.document.upstreams.objects {
            if !it.endpoints.is_empty() && it.endpoints.iter().all(|it| it.weight == 0) {
                let what = format!("every endpoint of upstream `{}` has weight 0", **upstream);
                let cure = "give one a `weight` of 1 or more".to_owned();
                self.warn(it.endpoints.span, what, "its requests are answered 503", cure);
            }
            let mut seen: HashMap<&AddressOrName, Span, FixedState> = HashMap::default();
            for endpoint in it.endpoints.iter() {
                let (address, span) = (&endpoint.address, endpoint.span);
                // An address that came from a variable is not shown.
                let shown = if endpoint.is_secret() {
                    "an endpoint".to_owned()
                } else {
                    address.to_string()
                };
                match seen.entry(address) {
                    Entry::Vacant(entry) => {
                        entry.insert(span);
                    }
                    Entry::Occupied(_) => {
                        let what = format!("{shown} stands twice in upstream `{}`", **upstream);
                        let cure = "leave one out, or give one a `weight`".to_owned();
                        self.warn(
                            span,
                            what,
                            "the two are one endpoint with the sum of their weights",
                            cure,
                        );
                    }
                }
                // Where a name leads is not known here.
                let Some(address) = address.place() else { continue };
                if let Some(ip) = address.ip().filter(|it| it.ip().is_unspecified()) {
                    let what = format!("{shown} is every address of this host");
                    let local = if ip.is_ipv4() { "127.0.0.1" } else { "[::1]" };
                    let cure = format!("write \"{local}:{}\" for this host", ip.port());
                    self.warn(span, what, "an address to listen on, not to connect to", cure);
                }
                if let Address::Unix(name) = address
                    && let Some((path, _)) = name.split_once(':')
                {
                    let what = "the name of this socket has a colon in it".to_owned();
                    let cure = format!("write \"unix:{path}\": a path of requests cannot follow");
                    self.warn(span, what, "the colon is a part of the name", cure);
                }
                let reached = own.iter().find(|(_, own)| reaches(address, own));
                if let Some((listener, _)) = reached {
                    let what = format!("{shown} is listener `{}` of this gateway", ***listener);
                    let cure = "write the address of the application".to_owned();
                    self.warn(span, what, "requests would run in a circle", cure);
                } else if admin.is_some_and(|admin| reaches(address, admin)) {
                    let what = format!("{shown} is the admin API of this gateway");
                    let cure = "write the address of the application".to_owned();
                    self.warn(span, what, "clients could change the configuration", cure);
                }
            }
        }
    }

    /// Paths that look like patterns: they are compared letter by letter.
    fn paths(&mut self) {
        for (_, route) in &self.model.document.routes.objects {
            let Some(path) = &route.matches.path else { continue };
            if matches!(**path, PathRule::Regex(_)) {
                continue;
            }
            let text: &str = (**path).as_ref();
            let shown = path.shown();
            if is_expression(text) {
                let what = format!("the path \"{shown}\" is compared letter by letter");
                let cure = "write `path_regex` for a regular expression".to_owned();
                self.warn(path.span, what, "it looks like a regular expression", cure);
            }
        }
    }

    /// Redirects whose placeholders bring a sign that is there already.
    fn redirects(&mut self) {
        for (_, route) in &self.model.document.routes.objects {
            let Destination::Redirect(redirect) = &route.destination else { continue };
            let mut before = String::new();
            for part in redirect.to.parts() {
                let mistake = match part {
                    LocationPart::Query if before.contains('?') => Some((
                        "{query} brings a question mark of its own",
                        "write {query} without a sign before it, or leave it out",
                    )),
                    LocationPart::Path if before.ends_with('/') => Some((
                        "{path} brings a slash of its own",
                        "leave the slash before {path} out",
                    )),
                    _ => None,
                };
                if let Some((what, cure)) = mistake {
                    let span = redirect.to.span;
                    self.warn(span, what.to_owned(), "it would stand there twice", cure.to_owned());
                }
                before.push_str(match part {
                    LocationPart::Text(text) => text,
                    // Neither ends with a slash for certain, and only the query has a mark.
                    LocationPart::Host => "host",
                    LocationPart::Path => "/path",
                    LocationPart::Query => "?query",
                });
            }
        }
    }
}

/// Whether a connection to `endpoint` reaches a listener on `own` of this host.
fn reaches(endpoint: &Address, own: &Address) -> bool {
    let (Some(endpoint), Some(own)) = (endpoint.ip(), own.ip()) else { return endpoint == own };
    let (ip, own_ip) = (endpoint.ip().to_canonical(), own.ip().to_canonical());
    let is_here = own_ip.is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
    endpoint.port() == own.port() && (ip == own_ip || is_here)
}

/// Whether a path looks like a regular expression. Single signs such as ( or + stand in real paths.
fn is_expression(path: &str) -> bool {
    let signs = ["^", "[", "\\", "|", ".*", ".+", ")?", ")*", ")+", "(?"];
    signs.iter().any(|sign| path.contains(sign)) || path.ends_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_sign_of_its_own_is_no_expression() {
        for path in ["/v[0-9]+/x", "/a|b", "^/x", "/x$", "/x/.*", "/(?i)x", "/\\d"] {
            assert!(is_expression(path), "{path}");
        }
        for path in ["/", "/a+b", "/Users(1)", "/a.b", "/$metadata", "/a*b", "/~x"] {
            assert!(!is_expression(path), "{path}");
        }
    }

    #[test]
    fn a_listener_is_reached_by_its_own_address_and_by_that_of_its_host() {
        let reaches = |endpoint: &str, own: &str| {
            reaches(&endpoint.parse().unwrap(), &own.parse::<Address>().unwrap())
        };
        assert!(reaches("127.0.0.1:80", "127.0.0.1:80"));
        assert!(reaches("127.0.0.1:80", "0.0.0.0:80"));
        assert!(reaches("[::1]:80", "[::]:80"));
        assert!(reaches("127.0.0.1:80", "[::]:80"));
        assert!(reaches("unix:/a", "unix:/a"));
        assert!(!reaches("127.0.0.1:81", "0.0.0.0:80"));
        assert!(!reaches("127.0.0.2:80", "127.0.0.1:80"));
        assert!(!reaches("10.0.0.1:80", "0.0.0.0:80"), "it may be another host");
        assert!(!reaches("unix:/a", "127.0.0.1:80"));
    }
}
