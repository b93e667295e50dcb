//! Routes that can never match, because others take every request that they are for.
//!
//! Without priorities, a route that takes more is less specific and goes behind. So only a route with a
//! higher priority can hide another one, or a path with parameters, which goes before a prefix that it
//! covers.
//!
//! Invariant: the cost is that of [`COMPARISONS_MAX`] comparisons at most. Beyond it, a hidden route is
//! not reported.

use super::matching::{Match, ValuePatterns};
use super::model::Model;
use crate::keys::{Diagnostic, Name, Spanned};
use crate::router::{PathPattern, Rank, RouteRule};

/// Some 0.2 s.
const COMPARISONS_MAX: usize = 2_000_000;

/// A rule that could hide others.
struct Wide<'m> {
    name: &'m Spanned<Name>,
    matches: &'m Match,
    rule: RouteRule<'m>,
    rank: Rank<'m>,
}

/// A warning about each route that is hidden.
pub(super) fn hidden(model: &Model) -> Vec<Diagnostic> {
    let routes = &model.document.routes.objects;
    let lowest = routes.iter().map(|(_, it)| it.matches.priority).min().unwrap_or(0);
    let mut wide = Vec::new();
    for (name, route) in routes {
        let matches = &route.matches;
        for rule in matches.rules(0) {
            if rule.priority > lowest || matches!(rule.path, PathPattern::Parameters(_)) {
                wide.push(Wide { name, matches, rule, rank: rule.rank() });
            }
        }
    }
    let mut diagnostics = Vec::new();
    let mut comparisons = 0;
    for (name, route) in routes {
        let mut first = None;
        let is_hidden = !wide.is_empty()
            && route.matches.rules(0).all(|rule| {
                let rank = rule.rank();
                let mut hides = |it: &&Wide<'_>| {
                    comparisons += 1;
                    comparisons <= COMPARISONS_MAX
                        && it.rank > rank
                        && it.rule.host.covers(&rule.host)
                        && it.rule.path.covers(&rule.path)
                        && (it.rule.method.is_none() || it.rule.method == rule.method)
                        && fits_whenever(it.matches, &route.matches)
                };
                let found = wide.iter().find(|it| hides(it));
                first = first.or(found);
                found.is_some()
            });
        let Some(by) = first.filter(|_| is_hidden) else { continue };
        let what = format!("route `{}` never gets a request", **name);
        let why = if by.rule.priority > route.matches.priority {
            "a route with a higher priority takes them all"
        } else {
            "a route with a more specific path takes them all"
        };
        diagnostics.push(
            Diagnostic::error(&model.texts, name.span, what)
                .because(why)
                .also(&model.texts, by.name.span, "this route")
                .cured_by("give it a higher `priority`, or leave it out")
                .warning(),
        );
    }
    diagnostics
}

/// Whether each request that fits the predicates of `narrow` fits those of `wide`.
fn fits_whenever(wide: &Match, narrow: &Match) -> bool {
    let listeners = wide.listeners.as_ref().is_none_or(|wide| {
        let narrow = narrow.listeners.as_ref();
        narrow
            .is_some_and(|narrow| narrow.iter().all(|it| wide.iter().any(|other| **it == **other)))
    });
    let clients = wide.clients.as_ref().is_none_or(|it| narrow.clients.as_ref() == Some(it));
    listeners
        && clients
        && has_all(&narrow.headers, &wide.headers)
        && has_all(&narrow.query, &wide.query)
        && has_all(&narrow.cookies, &wide.cookies)
}

fn has_all<K>(narrow: &ValuePatterns<K>, wide: &ValuePatterns<K>) -> bool {
    wide.iter().all(|it| narrow.iter().any(|other| it == other))
}
