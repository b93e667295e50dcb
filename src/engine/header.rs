//! Names of headers, and headers with templates, as values of keys.

use std::borrow::Cow;

use proto::head::{HeaderId, is_token};

use crate::keys::{Item, ItemEntry, ItemKind, Mistake, PathStep, Shape, Value, Walk, Written};
use crate::template::Template;

/// The name of a header that a configuration may change, in the case in which it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl Value for HeaderName {
    fn expected() -> Cow<'static, str> {
        "the name of a header such as \"x-user\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "header name", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        match unsound_name(&text.value) {
            None => Ok(Self(text.value.to_string())),
            Some((what, cure)) => {
                let what = format!("the header \"{}\" {what}", text.value.escape_debug());
                Err(Mistake::with_cure(what, cure))
            }
        }
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

/// The mistake in the name of a header, and the cure.
fn unsound_name(name: &str) -> Option<(&'static str, &'static str)> {
    if !is_token(name.as_bytes()) {
        return Some(("has no sound name", "write letters, digits and - only"));
    }
    match HeaderId::of(name.as_bytes()) {
        HeaderId::ContentLength | HeaderId::TransferEncoding | HeaderId::Trailer => {
            Some(("frames the message", "leave it out: the gateway writes it"))
        }
        // RFC 8586 section 2: a gateway must neither remove nor change it.
        HeaderId::CdnLoop => Some(("ends loops", "leave it out: the gateway writes it")),
        HeaderId::Date => Some(("is written by the gateway", "leave it out")),
        HeaderId::Connection
        | HeaderId::KeepAlive
        | HeaderId::ProxyConnection
        | HeaderId::Te
        | HeaderId::Upgrade
        | HeaderId::Http2Settings => {
            Some(("is about one connection", "leave it out: the gateway looks after connections"))
        }
        _ => None,
    }
}

/// Reads the entries of a table of headers: a sound name for each, none twice, whatever its case.
/// `None` after a mistake, which has been reported.
pub(crate) fn read_headers<'n, T>(
    entries: &'n [ItemEntry<'n>],
    walk: &mut Walk<'n>,
    mut read: impl FnMut(&'n Item<'n>, &mut Walk<'n>) -> Option<T>,
) -> Option<Vec<(String, T)>> {
    let mut headers: Vec<(String, T)> = Vec::new();
    let mut sound = true;
    for entry in entries {
        let name = &entry.key;
        let twice = headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let mistake = if twice {
            Some(("is given twice", "leave one out: case does not matter"))
        } else {
            unsound_name(name)
        };
        if let Some((what, cure)) = mistake {
            let what = format!("the header \"{}\" {what}", name.escape_debug());
            walk.report(entry.key_span, what, |it| it.cured_by(cure));
            sound = false;
        }
        match walk.inside(PathStep::Key(name), |walk| read(&entry.value, walk)) {
            Some(value) => headers.push((name.to_string(), value)),
            None => sound = false,
        }
    }
    sound.then_some(headers)
}

/// Headers with templates as their values, in the order in which they are written; no name twice,
/// whatever its case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderTemplates(pub Vec<(HeaderName, Template)>);

impl Value for HeaderTemplates {
    fn expected() -> Cow<'static, str> {
        "a table of headers such as { \"x-user\" = \"{header.user}\" }".into()
    }

    fn shape() -> Shape {
        Shape::Map("header", Box::new(Template::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let entries = walk.entries(item, |_| (Self::expected().into_owned(), None))?;
        let read = |item, walk: &mut Walk<'n>| HeaderTemplate::read(item, walk).map(|it| it.0);
        let headers = read_headers(entries, walk, read)?;
        Some(Self(headers.into_iter().map(|(name, value)| (HeaderName(name), value)).collect()))
    }

    fn write(&self) -> Written {
        let entry = |(name, value): &(HeaderName, Template)| (name.0.clone(), value.write());
        Written::Table(self.0.iter().map(entry).collect())
    }
}

/// A template whose text can stand in a header.
struct HeaderTemplate(Template);

impl Value for HeaderTemplate {
    fn expected() -> Cow<'static, str> {
        "visible ASCII, with spaces or tabs only between, and placeholders such as {host}".into()
    }

    fn shape() -> Shape {
        Template::shape()
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let value = &text.value;
        let sound = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        if value.bytes().all(sound) && value.trim_ascii() == value {
            return Template::parse(value).map(Self);
        }
        let what = format!("\"{}\" cannot be the value of a header", value.escape_debug());
        Err(Mistake::value(what))
    }

    fn write(&self) -> Written {
        self.0.write()
    }
}
