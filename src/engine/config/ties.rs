//! Routes that can have the same rank for one request, so that nothing says which of them gets it.
//!
//! Equal are priority, host, path, number of predicates and method. If the predicates of two such
//! routes exclude each other, no request fits both. It is known of an exact value and any form that it
//! does not have, of prefixes and of suffixes that are no parts of each other, of a value that must be
//! absent, and of listeners and blocks of addresses that have nothing in common. Of all else it is
//! assumed that a request may fit both.
//!
//! Invariant: the cost is linear in the size of the configuration, but for [`COMPARISONS_MAX`] pairs.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::mem::{Discriminant, discriminant};

use foldhash::fast::FixedState;

use super::matching::{Match, ValuePatterns};
use super::model::Model;
use super::route::Route;
use crate::keys::{Diagnostic, MASK, Name, Span, Spanned};
use crate::router::{HostPattern, PathPattern, RouteRule};

/// Only this many pairs of routes that differ in nothing but their predicates are compared, some 0.2 s.
/// Beyond it, of two routes that tie, the first in the alphabet gets a request.
const COMPARISONS_MAX: usize = 2_000_000;

/// The requests that a route claims, but for its predicates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RouteClaim<'m> {
    priority: i32,
    host_kind: Discriminant<HostPattern<'m>>,
    host: Cow<'m, str>,
    path_kind: Discriminant<PathPattern<'m>>,
    path: Cow<'m, str>,
    predicates: u32,
    method: Option<&'m str>,
}

/// A route that makes a claim.
struct Claimant<'m> {
    name: &'m Spanned<Name>,
    matches: &'m Match,
    /// The place to point at.
    span: Span,
    /// The one before it with the same claim.
    previous: Option<usize>,
}

/// Pairs of routes that can tie.
pub(super) fn ties(model: &Model) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut last: HashMap<RouteClaim<'_>, usize, FixedState> = HashMap::default();
    let mut claimants: Vec<Claimant<'_>> = Vec::new();
    let mut comparisons = 0;
    for (name, route) in &model.document.routes.objects {
        // Once for each pair of routes is enough.
        let mut told: HashSet<&str, FixedState> = HashSet::default();
        let places = Places::of(name, route);
        for rule in route.matches.rules(0) {
            let claim = RouteClaim::of(&rule);
            let mut at = last.get(&claim).copied();
            while let Some(other) = at.and_then(|at| claimants.get(at)) {
                at = other.previous;
                comparisons += 1;
                if comparisons > COMPARISONS_MAX {
                    break;
                }
                // A host that is named twice in one route has been told.
                if other.name.span == name.span || exclude(other.matches, &route.matches) {
                    continue;
                }
                if told.insert(other.name) {
                    diagnostics.push(tie(model, &claim, places.of_rule(&rule), name, other));
                }
                // One mistake is enough: a file of equal routes costs no more than its size.
                break;
            }
            let (span, _) = places.of_rule(&rule);
            let previous = last.insert(claim, claimants.len());
            claimants.push(Claimant { name, matches: &route.matches, span, previous });
        }
    }
    diagnostics
}

fn tie(
    model: &Model,
    claim: &RouteClaim<'_>,
    (span, is_secret): (Span, bool),
    name: &Name,
    other: &Claimant<'_>,
) -> Diagnostic {
    let rule = if is_secret { MASK.to_owned() } else { claim.to_string() };
    let (verb, why, cure) = if claim.predicates == 0 {
        (
            "are both",
            "the same again",
            "give them different hosts, paths or methods, or one a `priority`, or leave one out",
        )
    } else {
        (
            "can both be",
            "a request may fit the other predicates of both, and they are equally many",
            "give one of them a `priority`",
        )
    };
    let what = format!("routes `{}` and `{name}` {verb} for {rule}", **other.name);
    Diagnostic::error(&model.texts, span, what)
        .because(why)
        .also(&model.texts, other.span, "first here")
        .cured_by(cure)
}

impl<'m> RouteClaim<'m> {
    fn of(rule: &RouteRule<'m>) -> Self {
        Self {
            priority: rule.priority,
            host_kind: discriminant(&rule.host),
            host: rule.host.key(),
            path_kind: discriminant(&rule.path),
            path: rule.path.key(),
            predicates: rule.predicates,
            method: rule.method,
        }
    }
}

impl fmt::Display for RouteClaim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = self.method {
            write!(f, "{method} on ")?;
        }
        if self.host_kind == discriminant(&HostPattern::Wildcard("")) {
            f.write_str("*.")?;
        }
        f.write_str(if self.host.is_empty() { "any host" } else { &self.host })?;
        let is_prefix = self.path_kind == discriminant(&PathPattern::Prefix(""));
        match (&*self.path, is_prefix) {
            ("", true) => f.write_str(" and any path"),
            (path, true) => write!(f, " and {path} with what lies below"),
            (path, false) => write!(f, " and {path} alone"),
        }
    }
}

/// The places of the hosts of a route, and whether a part of its claims is secret.
struct Places<'m> {
    route: &'m Route,
    /// The place of a claim for any host.
    otherwise: Span,
    is_path_secret: bool,
}

impl<'m> Places<'m> {
    fn of(name: &Spanned<Name>, route: &'m Route) -> Self {
        let path = route.matches.path.as_ref();
        Self {
            route,
            otherwise: path.map_or(name.span, |path| path.span),
            is_path_secret: path.is_some_and(Spanned::is_secret),
        }
    }

    /// The place of a rule of the route, and whether it is secret.
    fn of_rule(&self, rule: &RouteRule<'_>) -> (Span, bool) {
        let mut hosts = self.route.matches.hosts.iter().flat_map(|hosts| hosts.iter());
        let host = hosts.find(|it| HostPattern::of(&it.0) == rule.host);
        let mut methods = self.route.matches.methods.iter().flat_map(|methods| methods.iter());
        let method = methods.find(|it| Some(it.0.as_str()) == rule.method);
        let is_secret = self.is_path_secret
            || host.is_some_and(Spanned::is_secret)
            || method.is_some_and(Spanned::is_secret);
        (host.map_or(self.otherwise, |it| it.span), is_secret)
    }
}

/// Whether it is certain that no request fits the predicates of both.
fn exclude(one: &Match, other: &Match) -> bool {
    let listeners = one.listeners.as_deref().zip(other.listeners.as_deref());
    let apart = |(one, other): (&Vec<Spanned<String>>, &Vec<Spanned<String>>)| {
        !one.iter().any(|it| other.iter().any(|other| **it == **other))
    };
    if listeners.is_some_and(apart) {
        return true;
    }
    if let (Some(one), Some(other)) = (&one.clients, &other.clients)
        && !one.iter().any(|it| other.iter().any(|other| it.overlaps(other)))
    {
        return true;
    }
    values_exclude(&one.headers, &other.headers)
        || values_exclude(&one.query, &other.query)
        || values_exclude(&one.cookies, &other.cookies)
}

fn values_exclude<K>(one: &ValuePatterns<K>, other: &ValuePatterns<K>) -> bool {
    one.iter().any(|(name, pattern)| {
        other.iter().any(|(its, other)| name == its && pattern.excludes(other))
    })
}
