//! `reply`: an answer of the gateway itself.

use std::borrow::Cow;

use crate::header::read_headers;
use crate::keys::{
    ByteSize, Item, ItemKind, KeyRule, Mistake, Shape, Spanned, Value, Walk, Written, section,
};

section! {
    /// An answer of the gateway itself.
    #[derive(Eq)]
    pub Reply {
        /// The status.
        status: u16 => KeyRule::required("503").within(200..=599);
        /// The body, at most 64 KiB. A 204 or 304 has none.
        body: Spanned<ReplyBody> => KeyRule::default(Spanned::unwritten(ReplyBody(String::new())))
            .example("\"back soon\"");
        /// Headers, without those that frame the message. Without `content-type` a body is sent as
        /// text/plain in UTF-8.
        headers: ReplyHeaders => KeyRule::default(ReplyHeaders(Vec::new()))
            .example("{ \"retry-after\" = \"60\" }");
    }
}

impl Reply {
    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.0.as_bytes()
    }

    /// The headers, with a `content-type` if there is a body.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let written = || self.headers.0.iter().map(|(name, value)| (&**name, value.as_bytes()));
        let is_typed = written().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE));
        let default = (!is_typed && !self.body.0.is_empty()).then_some((CONTENT_TYPE, TEXT));
        written().chain(default)
    }
}

/// The type of a body if the configuration does not name one.
const CONTENT_TYPE: &str = "content-type";
const TEXT: &[u8] = b"text/plain; charset=utf-8";

/// Files are for a file server.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// As many as a request has, if the listener's default bounds it.
const HEADERS_MAX: usize = 100;

/// Together with the bound on the body, this keeps a reply far below the size of one write.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// The body of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyBody(pub String);

impl Value for ReplyBody {
    fn expected() -> Cow<'static, str> {
        format!("a string of at most {}", ByteSize(BODY_BYTES_MAX as u64)).into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "string", pattern: None }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        match kind {
            ItemKind::Text(text) if text.value.len() > BODY_BYTES_MAX => {
                Err(Mistake::value(format!("the body has {} bytes", text.value.len())))
            }
            ItemKind::Text(text) => Ok(Self(text.value.to_string())),
            _ => Err(Mistake::KIND),
        }
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}

/// Headers of a reply: names as written, values; no name twice, whatever its case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyHeaders(pub Vec<(String, String)>);

impl Value for ReplyHeaders {
    fn expected() -> Cow<'static, str> {
        "a table of headers such as { \"retry-after\" = \"60\" }".into()
    }

    fn shape() -> Shape {
        Shape::Map("header", Box::new(HeaderValue::shape()))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let entries = walk.entries(item, |_| (Self::expected().into_owned(), None))?;
        if entries.len() > HEADERS_MAX {
            let what = format!("there are {} headers", entries.len());
            walk.report(item.span, what, |it| it.cured_by(format!("give at most {HEADERS_MAX}")));
            return None;
        }
        let read = |item, walk: &mut Walk<'n>| HeaderValue::read(item, walk).map(|it| it.0);
        let headers = read_headers(entries, walk, read)?;
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > HEADERS_BYTES_MAX {
            let what = format!("the headers have {bytes} bytes");
            let cure = format!("give at most {HEADERS_BYTES_MAX}");
            walk.report(item.span, what, |it| it.cured_by(cure));
            return None;
        }
        Some(Self(headers))
    }

    fn write(&self) -> Written {
        let entry = |(name, value): &(String, String)| (name.clone(), Written::text(value));
        Written::Table(self.0.iter().map(entry).collect())
    }
}

/// The value of a header.
struct HeaderValue(String);

impl Value for HeaderValue {
    fn expected() -> Cow<'static, str> {
        "visible ASCII, with spaces or tabs only between".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "header value", pattern: Some("^([!-~]([\\t -~]*[!-~])?)?$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let value = &text.value;
        let sound = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        if value.bytes().all(sound) && value.trim_ascii() == value {
            Ok(Self(value.to_string()))
        } else {
            let what = format!("\"{}\" cannot be the value of a header", value.escape_debug());
            Err(Mistake::value(what))
        }
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}
