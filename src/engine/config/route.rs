//! `[routes.NAME]`: a match rule and what happens to the requests it takes.

use std::borrow::Cow;

use super::collection::Spanned;
use super::matching::Match;
use super::redirect::Redirect;
use super::reply::Reply;
use super::section::{Rule, Value, section};
use super::shape::{Choice, Shape};
use super::tree::Node;
use super::upgrades::Protocol;
use super::walk::Walk;
use super::written::Written;

section! {
    /// A match rule, and what happens to the requests it takes.
    RouteKeys {
        /// Which requests it is for. Absent: all.
        matches = "match": Match => Rule::section();
        /// The upstream that its requests go to.
        upstream: Option<Spanned<String>> => Rule::optional("\"users\"").in_sample();
        /// Protocols that its clients may switch to by `Upgrade`, such as "websocket" or "tcp-x/1":
        /// once the endpoint has agreed, bytes pass both ways as they are. Of other protocols the
        /// endpoint does not hear. Absent: ["websocket"]; [] for none. Only beside `upstream`.
        upgrades: Option<Spanned<Vec<Spanned<Protocol>>>> => Rule::optional("[\"websocket\"]");
        /// Where clients are sent instead.
        redirect: Option<Spanned<Redirect>> => Rule::optional_section();
        /// What the gateway answers by itself.
        reply: Option<Spanned<Reply>> => Rule::optional_section();
    }
}

/// A match rule and what happens to the requests it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Which requests it is for.
    pub matches: Match,
    /// What happens to them.
    pub action: Action,
    /// Protocols that clients may switch to; absent: `websocket`.
    pub upgrades: Option<Spanned<Vec<Spanned<Protocol>>>>,
}

/// What happens to the requests of a route.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// They go to the upstream of this name.
    Upstream(Spanned<String>),
    /// Their clients are sent elsewhere.
    Redirect(Redirect),
    /// The gateway answers them.
    Reply(Reply),
}

impl Value for Route {
    fn expected() -> Cow<'static, str> {
        RouteKeys::expected()
    }

    fn shape() -> Shape {
        RouteKeys::shape().with_choice(Choice::ExactlyOne(&["upstream", "redirect", "reply"]))
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let RouteKeys { matches, upstream, upgrades, redirect, reply } =
            RouteKeys::read(node, walk)?;
        let places = [
            ("upstream", upstream.as_ref().map(|it| it.span)),
            ("redirect", redirect.as_ref().map(|it| it.span)),
            ("reply", reply.as_ref().map(|it| it.span)),
        ];
        let mut given = places.iter().filter_map(|&(key, span)| Some((key, span?)));
        if let (Some((one, first)), Some((other, second))) = (given.next(), given.next()) {
            let texts = walk.texts;
            let what = format!("`{}` has both `{one}` and `{other}`", walk.path());
            let (span, also) = if first < second { (second, first) } else { (first, second) };
            walk.report(span, what, |it| {
                it.because("a route does one thing")
                    .also(texts, also, "it does this already")
                    .cured_by("leave one out, or make two routes of it")
            });
            return None;
        }
        let action = match (upstream, redirect, reply) {
            (Some(upstream), ..) => Action::Upstream(upstream),
            (_, Some(redirect), _) => Action::Redirect(redirect.into_inner()),
            (.., Some(reply)) => Action::Reply(reply.into_inner()),
            (None, None, None) => {
                let what = format!("`{}` does nothing with its requests", walk.path());
                walk.report(node.span, what, |it| {
                    it.cured_by("add upstream = \"NAME\", or redirect, or reply")
                });
                return None;
            }
        };
        if let (Some(upgrades), Action::Redirect(_) | Action::Reply(_)) = (&upgrades, &action) {
            let what = format!("`{}` has `upgrades` and no `upstream`", walk.path());
            walk.report(upgrades.span, what, |it| {
                it.because("it is the endpoint that agrees to another protocol")
                    .cured_by("leave `upgrades` out")
            });
            return None;
        }
        Some(Self { matches, action, upgrades })
    }

    fn write(&self) -> Written {
        let mut keys = RouteKeys {
            matches: self.matches.clone(),
            upstream: None,
            upgrades: self.upgrades.clone(),
            redirect: None,
            reply: None,
        };
        match self.action.clone() {
            Action::Upstream(upstream) => keys.upstream = Some(upstream),
            Action::Redirect(redirect) => keys.redirect = Some(Spanned::unwritten(redirect)),
            Action::Reply(reply) => keys.reply = Some(Spanned::unwritten(reply)),
        }
        keys.write()
    }
}
