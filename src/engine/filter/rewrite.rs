//! `rewrite`: another path for the endpoint than the one that the client asked for.
//!
//! Routes, logs and placeholders keep the client's path. Where a prefix is taken off or put in front,
//! `Location` and the paths of cookies in the response are changed the other way round, so that the
//! client stays within the paths that it knows.
//!
//! Invariant: the new target is sound, or the old one stays.

use std::borrow::Cow;

use proto::head::{HeaderId, RequestHead};
use proto::path;
use proto::violation::Violation;

use super::{
    Filter, FilterKeys, FilterReply, FilterRequest, FilterResponse, FilterShare, Hooks,
    RequestVerdict, ResponseVerdict,
};
use crate::keys::{ExactlyOne, ItemKind, KeyRule, Mistake, Shape, Value, Written, one_of, section};
use crate::pattern::BytesRegex;
use crate::reason::Reason;
use crate::template::{Escape, Placeholder, Template, TemplatePart};

section! {
    /// Sends another path to the endpoint than the one that the client asked for. Routes and logs keep
    /// the client's.
    #[derive(Eq)]
    pub Rewrite {
        /// How the path is rewritten.
        rule: RewriteRule => ExactlyOne("add strip_prefix = \"/users\", or prefix or to");
        /// Replaces the first match in the path by `to`, in which $1 and ${name} stand for groups. Paths
        /// without a match stay. Only beside `to`.
        regex: Option<BytesRegex> => KeyRule::optional("\"^/old/(.*)$\"");
    }
}

one_of! {
    /// How a path is rewritten.
    #[derive(Eq)]
    pub RewriteRule {
        /// The whole new path, with placeholders; the query follows unless a `?` or {query} stands in it.
        /// Beside `regex`: the text in the place of the match.
        To = "to": String => KeyRule::optional("\"/v2{path}\"");
        /// This beginning of the path is taken off, in whole segments: "/users" makes "/1" of "/users/1"
        /// and "/" of "/users". Other paths stay. The endpoint learns it from `X-Forwarded-Prefix`; in the
        /// response it is put back into `Location` and the paths of cookies.
        StripPrefix = "strip_prefix": PathPart => KeyRule::optional("\"/users\"");
        /// This is put in front of the path. In the response it is taken off `Location` and the paths of
        /// cookies.
        Prefix = "prefix": PathPart => KeyRule::optional("\"/v2\"");
    }
}

/// The beginning of a path: a slash, then whole segments, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPart(String);

impl Value for PathPart {
    fn expected() -> Cow<'static, str> {
        "the beginning of a path such as \"/users\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "path", pattern: Some("^/.") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = &kind.text().ok_or(Mistake::KIND)?.value;
        let part = text.strip_suffix('/').unwrap_or(text);
        let sound = proto::uri::check_path_and_query(part.as_bytes()).is_ok();
        if !sound || part.contains('?') {
            let what = format!("\"{text}\" is not the beginning of a path");
            return Err(Mistake::with_cure(what, "write a slash and whole segments"));
        }
        Ok(Self(part.to_owned()))
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

/// The filter as it runs.
#[derive(Debug)]
pub struct PathRewriter(Rule);

#[derive(Debug)]
enum Rule {
    Strip(String),
    Prefix(String),
    To(Template),
    Regex(BytesRegex, String),
}

impl FilterKeys for Rewrite {
    type Running = PathRewriter;

    fn start(&self, _: FilterShare, _: Option<&PathRewriter>) -> PathRewriter {
        PathRewriter(match (&self.rule, &self.regex) {
            (RewriteRule::StripPrefix(part), _) => Rule::Strip(part.0.clone()),
            (RewriteRule::Prefix(part), _) => Rule::Prefix(part.0.clone()),
            (RewriteRule::To(to), Some(regex)) => Rule::Regex(regex.clone(), to.clone()),
            (RewriteRule::To(to), None) => Rule::To(Template::parse(to).unwrap_or_default()),
        })
    }

    fn mistake(&self) -> Option<(String, &'static str)> {
        let to = match (&self.rule, &self.regex) {
            (RewriteRule::To(to), None) => to,
            (RewriteRule::To(_), Some(_)) | (_, None) => return None,
            (_, Some(_)) => {
                let what = "a prefix needs no regular expression";
                return Some((what.to_owned(), "leave `regex` out, or write `to` beside it"));
            }
        };
        match Template::parse(to) {
            Err(_) => Some((
                format!("\"{to}\" has an unknown placeholder"),
                "write placeholders such as {path}, {host} or {header.x-user}",
            )),
            Ok(template) => {
                let rooted = match template.parts().first() {
                    Some(TemplatePart::Text(text)) => text.starts_with('/'),
                    Some(TemplatePart::Placeholder(it)) => *it == Placeholder::Path,
                    None => false,
                };
                (!rooted).then(|| (format!("\"{to}\" is not a path"), "begin it with a slash"))
            }
        }
    }
}

impl Filter for PathRewriter {
    fn hooks(&self) -> Hooks {
        match self.0 {
            Rule::Strip(_) | Rule::Prefix(_) => Hooks::REQUEST | Hooks::RESPONSE,
            Rule::To(_) | Rule::Regex(..) => Hooks::REQUEST,
        }
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let Some(target) = self.target(request) else { return RequestVerdict::Continue };
        if self.is_led_astray(&target) {
            return FilterReply::refuse(Reason::Violation(Violation::Target));
        }
        if let Rule::Strip(prefix) = &self.0 {
            request.head.headers.remove_named(FORWARDED_PREFIX);
            request.head.headers.push_named(FORWARDED_PREFIX, prefix.as_bytes());
        }
        match request.head.rewrite_target(&target) {
            Ok(()) => RequestVerdict::Continue,
            // A value of the request makes no sound path.
            Err(violation) => FilterReply::refuse(Reason::Violation(violation)),
        }
    }

    fn on_response(&self, response: &mut FilterResponse<'_>) -> ResponseVerdict {
        let (stripped, added) = match &self.0 {
            Rule::Strip(prefix) => ("", prefix.as_str()),
            Rule::Prefix(prefix) => (prefix.as_str(), ""),
            Rule::To(_) | Rule::Regex(..) => return ResponseVerdict::Continue,
        };
        // A path that this filter left alone is none of its business.
        if !added.is_empty() && behind(response.request.path(), added).is_none() {
            return ResponseVerdict::Continue;
        }
        let move_back = |path: &[u8]| {
            let rest = if stripped.is_empty() { path } else { behind(path, stripped)? };
            if !rest.starts_with(b"/") && !rest.is_empty() || rest.starts_with(b"//") {
                return None;
            }
            // An endpoint that knows of the prefix has written it already.
            if !added.is_empty() && behind(path, added).is_some() {
                return None;
            }
            let rest = if rest.is_empty() && added.is_empty() { b"/" } else { rest };
            Some([added.as_bytes(), rest].concat())
        };
        let headers = &mut response.head.headers;
        if let Some(location) = headers.get(HeaderId::Location)
            && let Some(moved) = moved_location(location, response.request, &move_back)
        {
            headers.set(HeaderId::Location, &moved);
        }
        let cookies: Vec<Vec<u8>> = headers.all_named(SET_COOKIE).map(<[u8]>::to_vec).collect();
        let moved: Vec<_> = cookies.iter().map(|cookie| moved_cookie(cookie, &move_back)).collect();
        if moved.iter().any(Option::is_some) {
            headers.remove_named(SET_COOKIE);
            for (cookie, moved) in cookies.iter().zip(&moved) {
                headers.push_named(SET_COOKIE, moved.as_deref().unwrap_or(cookie));
            }
        }
        ResponseVerdict::Continue
    }
}

const FORWARDED_PREFIX: &[u8] = b"x-forwarded-prefix";
const SET_COOKIE: &[u8] = b"set-cookie";

impl PathRewriter {
    /// Whether a value that a client chose has given the path another form than a normal one: with `..`
    /// it would lead the request out of the path that the template names.
    fn is_led_astray(&self, target: &[u8]) -> bool {
        let Rule::To(template) = &self.0 else { return false };
        let settled = |it: &Placeholder| matches!(it, Placeholder::Path | Placeholder::Query);
        if template.placeholders().all(settled) {
            return false;
        }
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        !path::settled(path, path::Rules::default()).is_ok_and(|normal| normal == path)
    }

    /// The new target; `None` where the old one stays.
    fn target(&self, request: &FilterRequest<'_>) -> Option<Vec<u8>> {
        let target = request.head.target_to_send();
        if !target.starts_with(b"/") {
            // "*" of OPTIONS.
            return None;
        }
        let path_len = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
        let (path, query) = target.split_at_checked(path_len)?;
        let mut new = match &self.0 {
            Rule::Strip(prefix) => match behind(path, prefix)? {
                b"" => b"/".to_vec(),
                rest => rest.to_vec(),
            },
            Rule::Prefix(prefix) => [prefix.as_bytes(), path].concat(),
            Rule::Regex(regex, to) => {
                let mut new = Vec::new();
                regex.replace(path, to.as_bytes(), &mut new).then_some(new)?
            }
            Rule::To(template) => {
                let mut new = Vec::new();
                template.fill(&request.facts(), Escape::Url, &mut new);
                let has_query = |part: &TemplatePart| match part {
                    TemplatePart::Text(text) => text.contains('?'),
                    TemplatePart::Placeholder(it) => *it == Placeholder::Query,
                };
                if template.parts().iter().any(has_query) {
                    return Some(new);
                }
                new
            }
        };
        new.extend_from_slice(query);
        Some(new)
    }
}

/// The part of `path` behind `prefix`, which stands for whole segments.
fn behind<'p>(path: &'p [u8], prefix: &str) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(prefix.as_bytes())?;
    matches!(rest.first(), None | Some(b'/' | b'?' | b'#')).then_some(rest)
}

/// A `Location` whose path has moved: a path, or a URL of the host that the request was for.
fn moved_location(
    location: &[u8],
    request: &RequestHead,
    move_back: &impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    if location.starts_with(b"/") {
        return move_back(location);
    }
    let at = location.windows(3).position(|it| it == b"://")? + 3;
    let rest = location.get(at..)?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let own = [request.authority(), request.authority_to_send()];
    if !own.iter().any(|it| it.eq_ignore_ascii_case(authority)) {
        return None;
    }
    let moved = move_back(path)?;
    Some([location.get(..at + end)?, &moved].concat())
}

/// A cookie whose `Path` has moved.
fn moved_cookie(cookie: &[u8], move_back: &impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut moved = None;
    let attributes = cookie.split(|byte| *byte == b';').map(|attribute| {
        let trimmed = attribute.trim_ascii();
        let path = trimmed.get(..5).filter(|it| it.eq_ignore_ascii_case(b"path="));
        let new = path.and_then(|_| move_back(trimmed.get(5..)?));
        match new {
            Some(new) => {
                moved = Some(());
                Cow::Owned([&b" Path="[..], &new].concat())
            }
            None => Cow::Borrowed(attribute),
        }
    });
    let joined = attributes.collect::<Vec<_>>().join(&b';');
    moved.map(|()| joined)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestRequest, test_response};
    use super::*;

    fn started(rewrite: &Rewrite) -> PathRewriter {
        assert_eq!(rewrite.mistake(), None);
        rewrite.start(super::super::testing::SHARE, None)
    }

    fn strip(part: &str) -> Rewrite {
        Rewrite { rule: RewriteRule::StripPrefix(PathPart(part.to_owned())), regex: None }
    }

    fn prefix(part: &str) -> Rewrite {
        Rewrite { rule: RewriteRule::Prefix(PathPart(part.to_owned())), regex: None }
    }

    fn to(to: &str) -> Rewrite {
        Rewrite { rule: RewriteRule::To(to.to_owned()), regex: None }
    }

    fn sent(filter: &PathRewriter, target: &str) -> String {
        let mut request = TestRequest::get(target);
        assert!(matches!(request.run(filter), RequestVerdict::Continue), "{target}");
        String::from_utf8(request.head.target_to_send().to_vec()).unwrap()
    }

    #[test]
    fn a_prefix_is_taken_off_in_whole_segments() {
        let filter = started(&strip("/users"));
        for (target, expected) in [
            ("/users/1?a=b", "/1?a=b"),
            ("/users", "/"),
            ("/users?a", "/?a"),
            ("/usersx", "/usersx"),
            ("/other", "/other"),
        ] {
            assert_eq!(sent(&filter, target), expected, "{target}");
        }
    }

    #[test]
    fn a_path_gets_a_prefix_a_template_or_a_replacement() {
        assert_eq!(sent(&started(&prefix("/v2")), "/a?b"), "/v2/a?b");
        assert_eq!(sent(&started(&to("/x{path}")), "/a?b"), "/x/a?b");
        assert_eq!(sent(&started(&to("/x?p={path}")), "/a?b"), "/x?p=/a");
        assert_eq!(sent(&started(&to("/{header.x-user}")), "/a"), "/Bo%20B");
        let regex = BytesRegex::new("^/old/([a-z]+)/").ok();
        let rewrite = Rewrite { regex, ..to("/new/$1-${1}/") };
        assert_eq!(sent(&started(&rewrite), "/old/x/y?z"), "/new/x-x/y?z");
        assert_eq!(sent(&started(&rewrite), "/other"), "/other");
    }

    #[test]
    fn a_value_of_the_client_does_not_lead_out_of_the_path() {
        let filter = started(&to("/data/{query.name}/x"));
        assert_eq!(sent(&filter, "/?name=a.b"), "/data/a.b/x?name=a.b");
        for name in ["..", "%2e%2e", "../../etc", ".", "a//b", "a%2f.."] {
            let mut request = TestRequest::get(&format!("/?name={name}"));
            let verdict = request.run(&filter);
            assert!(
                matches!(verdict, RequestVerdict::Reply(reply) if reply.status == 400),
                "{name}"
            );
        }
    }

    #[test]
    fn locations_and_cookies_of_the_response_are_moved_back() {
        let (strip, add) = (started(&strip("/users")), started(&prefix("/v2")));
        for (filter, location, moved) in [
            (&strip, "/1", "/users/1"),
            (&strip, "/users/1", "/users/1"),
            (&strip, "http://a.example/1?b", "http://a.example/users/1?b"),
            (&strip, "http://A.example", "http://A.example/users"),
            (&strip, "http://other.example/1", "http://other.example/1"),
            (&strip, "//evil.example/1", "//evil.example/1"),
            (&strip, "relative", "relative"),
            (&add, "/v2/a", "/a"),
            (&add, "/v2", "/"),
            (&add, "/a", "/a"),
        ] {
            let mut request = TestRequest::get("/users/7");
            let _ = request.run(filter);
            let fields = format!("Location: {location}\r\nSet-Cookie: a=b; path={location}\r\n");
            let head = test_response(filter, &request, &fields);
            let text = |name: &[u8]| String::from_utf8_lossy(head.headers.find(name).unwrap());
            assert_eq!(text(b"location"), moved, "{location}");
            if location.starts_with('/') {
                let cookie = text(b"set-cookie").to_ascii_lowercase();
                assert_eq!(cookie, format!("a=b; path={moved}"), "{location}");
            }
        }
    }

    #[test]
    fn rules_that_contradict_each_other_are_a_mistake() {
        let regex = || BytesRegex::new("a").ok();
        for rewrite in [
            Rewrite { regex: regex(), ..strip("/a") },
            Rewrite { regex: regex(), ..prefix("/a") },
            to("x{path}"),
            to("/{pth}"),
        ] {
            assert!(rewrite.mistake().is_some(), "{rewrite:?}");
        }
    }
}
