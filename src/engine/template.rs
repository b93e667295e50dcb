//! Texts with placeholders: `"/new{path}"`, `"{client_ip}"`.
//!
//! A template is taken apart once, when the configuration is read. Filling it in copies texts and
//! the values of an exchange. The place that the text goes to decides how a value is escaped
//! ([`Escape`]): a value is bytes that a client chose.
//!
//! Invariant: a filled template holds no control character, whatever the request holds.

use std::borrow::Cow;
use std::fmt;

use proto::head::RequestHead;
use proto::pairs;

use crate::address::ClientAddress;
use crate::keys::{ItemKind, Mistake, Shape, Value, Written, nearest};
use crate::snapshot::Route;

/// A text with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<TemplatePart>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// This text.
    Text(String),
    /// A value of the exchange.
    Placeholder(Placeholder),
}

/// Defines the placeholders that have no name of their own behind a dot, and those that have one.
macro_rules! placeholders {
    (
        $($(#[doc = $doc:literal])+ $plain:ident = $word:literal,)+ ;
        $($(#[doc = $named_doc:literal])+ $named:ident = $prefix:literal,)+
    ) => {
        /// A value of the exchange that a template can hold.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Placeholder {
            $($(#[doc = $doc])+ $plain,)+
            $($(#[doc = $named_doc])+ $named(String),)+
        }

        impl Placeholder {
            /// The words of the plain placeholders, and the prefixes of the named ones.
            const WORDS: &[&str] = &[$($word),+];
            const PREFIXES: &[&str] = &[$($prefix),+];

            /// The placeholder that is written so between its braces.
            fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => return Some(Self::$plain),)+
                    _ => {}
                }
                let (prefix, name) = word.split_once('.')?;
                match prefix {
                    $($prefix if !name.is_empty() => Some(Self::$named(name.to_owned())),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for Placeholder {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$plain => write!(f, "{{{}}}", $word),)+
                    $(Self::$named(name) => write!(f, "{{{}.{name}}}", $prefix),)+
                }
            }
        }
    };
}

placeholders! {
    /// The path that the client asked for, without its query.
    Path = "path",
    /// The query with its question mark; nothing where there is none.
    Query = "query",
    /// The host that the client asked for, without port.
    Host = "host",
    /// The method.
    Method = "method",
    /// "http" or "https".
    Scheme = "scheme",
    /// The address of the client.
    ClientIp = "client_ip",
    /// The id of the request.
    RequestId = "request_id",
    /// The name of the route; nothing where no route matches.
    Route = "route",
    /// The name of the upstream; nothing where the request goes to none.
    Upstream = "upstream",
    /// The name of the consumer; nothing where no filter has found one.
    Consumer = "consumer",
    /// The status of the response; nothing before there is one.
    Status = "status",
    /// The reason of an answer that the gateway made, as a token; nothing in other responses.
    Reason = "reason",
    ;
    /// A header of the request; the first where there are several.
    Header = "header",
    /// A cookie of the request.
    Cookie = "cookie",
    /// A value of the query, as it is written there.
    QueryValue = "query",
}

/// The place that a filled template goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// The value of a header: control characters are left out.
    Header,
    /// A URL: all but visible ASCII is percent-encoded.
    Url,
    /// A string in JSON.
    Json,
    /// A text or an attribute in HTML.
    Html,
}

/// The values of an exchange that placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The head of the request.
    pub head: &'a RequestHead,
    /// The client.
    pub client: ClientAddress,
    /// Whether the client's connection is encrypted.
    pub secure: bool,
    /// The id of the request.
    pub request_id: &'a [u8],
    /// The route, where there is one.
    pub route: Option<&'a Route>,
    /// The name of the upstream, or nothing.
    pub upstream: &'a str,
    /// The name of the consumer, or nothing.
    pub consumer: &'a str,
    /// The status of the response; 0 before there is one.
    pub status: u16,
    /// The token of the reason why the gateway answers by itself, or nothing.
    pub reason: &'a str,
}

impl Template {
    /// A template without placeholders.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(vec![TemplatePart::Text(text.to_owned())])
    }

    /// Takes a text apart.
    ///
    /// # Errors
    ///
    /// A brace that belongs to no placeholder, or a placeholder that does not exist.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(['{', '}']).unwrap_or(rest.len());
            let (before, from) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if !before.is_empty() {
                parts.push(TemplatePart::Text(before.to_owned()));
            }
            let Some(behind) = from.strip_prefix('{') else {
                if from.is_empty() {
                    break;
                }
                let cure = "write a placeholder such as {host}";
                return Err(Mistake::with_cure("a } ends no placeholder", cure));
            };
            let Some((word, behind)) = behind.split_once('}') else {
                let cure = "close it with }";
                return Err(Mistake::with_cure("a placeholder does not end", cure));
            };
            let placeholder = Placeholder::of(word).ok_or_else(|| unknown(word))?;
            parts.push(TemplatePart::Placeholder(placeholder));
            rest = behind;
        }
        Ok(Self(parts))
    }

    /// Takes a text apart in which braces that hold no placeholder stand for themselves: style sheets,
    /// scripts, JSON.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            plain.push_str(before);
            let word = behind.split_once('}');
            match word.and_then(|(word, behind)| Some((Placeholder::of(word)?, behind))) {
                Some((placeholder, behind)) => {
                    if !plain.is_empty() {
                        parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(TemplatePart::Placeholder(placeholder));
                    rest = behind;
                }
                None => {
                    plain.push('{');
                    rest = behind;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(TemplatePart::Text(plain));
        }
        Self(parts)
    }

    /// Its parts in order.
    #[must_use]
    pub fn parts(&self) -> &[TemplatePart] {
        &self.0
    }

    /// The placeholders in it.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            TemplatePart::Placeholder(placeholder) => Some(placeholder),
            TemplatePart::Text(_) => None,
        })
    }

    /// Appends the filled text to `out`.
    pub fn fill(&self, facts: &Facts<'_>, escape: Escape, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                TemplatePart::Text(text) => out.extend_from_slice(text.as_bytes()),
                TemplatePart::Placeholder(placeholder) => {
                    facts.value(placeholder, |value| escape.put(value, out));
                }
            }
        }
    }
}

/// The mistake of a placeholder that does not exist.
fn unknown(word: &str) -> Mistake {
    let what = format!("{{{word}}} is not a placeholder");
    let known = || Placeholder::WORDS.iter().copied();
    if let Some(near) = nearest(word, known()) {
        return Mistake::with_cure(what, format!("did you mean {{{near}}}?"));
    }
    let plain = known().map(|word| format!("{{{word}}}"));
    let named = Placeholder::PREFIXES.iter().map(|prefix| format!("{{{prefix}.NAME}}"));
    let all: Vec<_> = plain.chain(named).collect();
    Mistake::with_cure(what, format!("the placeholders are {}", all.join(" ")))
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            TemplatePart::Text(text) => f.write_str(text),
            TemplatePart::Placeholder(placeholder) => write!(f, "{placeholder}"),
        })
    }
}

impl Facts<'_> {
    /// Hands the value of a placeholder to `take`.
    fn value(&self, placeholder: &Placeholder, take: impl FnOnce(&[u8])) {
        let head = self.head;
        let value = match placeholder {
            Placeholder::Path => head.path(),
            Placeholder::Query => match head.query() {
                // The question mark stands in front of it.
                Some(_) => head.path_and_query().get(head.path().len()..).unwrap_or_default(),
                None => b"",
            },
            Placeholder::Host => head.host(),
            Placeholder::Method => head.method_bytes(),
            Placeholder::Scheme if self.secure => b"https",
            Placeholder::Scheme => b"http",
            Placeholder::ClientIp => match self.client.ip() {
                Some(ip) => return take(ip.to_string().as_bytes()),
                None => b"unix",
            },
            Placeholder::RequestId => self.request_id,
            Placeholder::Route => self.route.map_or(&b""[..], |route| route.name.as_bytes()),
            Placeholder::Upstream => self.upstream.as_bytes(),
            Placeholder::Consumer => self.consumer.as_bytes(),
            Placeholder::Status if self.status == 0 => b"",
            Placeholder::Status => return take(self.status.to_string().as_bytes()),
            Placeholder::Reason => self.reason.as_bytes(),
            Placeholder::Header(name) => head.headers.find(name.as_bytes()).unwrap_or_default(),
            Placeholder::Cookie(name) => {
                pairs::cookie(&head.headers, name.as_bytes()).unwrap_or_default()
            }
            Placeholder::QueryValue(name) => {
                pairs::parameter(head.query().unwrap_or_default(), name.as_bytes())
                    .unwrap_or_default()
            }
        };
        take(value);
    }
}

impl Escape {
    /// Appends `value` to `out`, escaped.
    pub fn put(self, value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Header => out.extend(value.iter().filter(|byte| !byte.is_ascii_control())),
            Self::Url => value.iter().for_each(|byte| match byte {
                byte if byte.is_ascii_graphic() => out.push(*byte),
                byte => out.extend([b'%', hex_digit(byte >> 4), hex_digit(byte & 15)]),
            }),
            Self::Json => put_text(value, out, |char, out| match char {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                // "</script>" inside a page ends the script, whatever quotes stand around it.
                '<' => out.extend_from_slice(b"\\u003c"),
                char => put_char(char, out),
            }),
            Self::Html => put_text(value, out, |char, out| match char {
                '&' => out.extend_from_slice(b"&amp;"),
                '<' => out.extend_from_slice(b"&lt;"),
                '>' => out.extend_from_slice(b"&gt;"),
                '"' => out.extend_from_slice(b"&quot;"),
                '\'' => out.extend_from_slice(b"&#39;"),
                char => put_char(char, out),
            }),
        }
    }
}

/// Appends a text char by char, without its control characters. Bytes that are no UTF-8 become the
/// replacement character.
fn put_text(value: &[u8], out: &mut Vec<u8>, put: impl Fn(char, &mut Vec<u8>)) {
    let text = String::from_utf8_lossy(value);
    text.chars().filter(|char| !char.is_control()).for_each(|char| put(char, out));
}

fn put_char(char: char, out: &mut Vec<u8>) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

/// A template as the value of a key. Its text is visible, with spaces and tabs.
impl Value for Template {
    fn expected() -> Cow<'static, str> {
        "a text, with placeholders such as {host} or {header.x-user}".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "text with placeholders", pattern: None }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        if text.value.len() > TEMPLATE_BYTES_MAX {
            let what = format!("the text has {} bytes", text.value.len());
            let cure = format!("write at most {TEMPLATE_BYTES_MAX}");
            return Err(Mistake::with_cure(what, cure));
        }
        Self::parse(&text.value)
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

/// Templates are at most this long, as they are written: more is a file.
const TEMPLATE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(target: &str) -> RequestHead {
        let text = format!(
            "GET {target} HTTP/1.1\r\nHost: a.example:81\r\nX-User: Bo \"B\" <b>\r\n\
             Cookie: one=1; id=x=y\r\nCookie: two=2\r\n\r\n"
        );
        let mut head = RequestHead::new();
        proto::h1::parse_request(text.as_bytes(), 100, &mut head).unwrap();
        head
    }

    fn filled(text: &str, head: &RequestHead, escape: Escape) -> String {
        let facts = Facts {
            head,
            client: ClientAddress::of_ip([192, 0, 2, 1].into()),
            secure: true,
            request_id: b"r-1",
            route: None,
            upstream: "app",
            consumer: "alice",
            status: 0,
            reason: "",
        };
        let mut out = Vec::new();
        Template::parse(text).unwrap().fill(&facts, escape, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_placeholder_stands_for_its_value() {
        let head = head("/a/b?c=d&e=&f");
        for (text, value) in [
            ("plain", "plain"),
            ("{path}", "/a/b"),
            ("{path}{query}", "/a/b?c=d&e=&f"),
            ("{method} {scheme}://{host}", "GET https://a.example"),
            ("{client_ip}/{request_id}", "192.0.2.1/r-1"),
            ("[{route}{status}{reason}]{upstream}/{consumer}", "[]app/alice"),
            ("{query.c}{query.e}{query.f}{query.g}", "d"),
            ("{cookie.id}|{cookie.two}|{cookie.none}", "x=y|2|"),
            ("{header.X-User}{header.none}", "Bo \"B\" <b>"),
        ] {
            assert_eq!(filled(text, &head, Escape::Header), value, "{text}");
        }
    }

    #[test]
    fn a_value_is_escaped_for_the_place_that_it_goes_to() {
        let head = head("/a");
        for (escape, value) in [
            (Escape::Header, "Bo \"B\" <b>"),
            (Escape::Url, "Bo%20\"B\"%20<b>"),
            (Escape::Json, "Bo \\\"B\\\" \\u003cb>"),
            (Escape::Html, "Bo &quot;B&quot; &lt;b&gt;"),
        ] {
            assert_eq!(filled("{header.x-user}", &head, escape), value, "{escape:?}");
        }
    }

    #[test]
    fn a_text_is_written_as_it_is_read() {
        for text in ["", "a", "{host}", "a{path}b{query}", "{header.x}{cookie.y}{query.z}"] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_mistake_in_a_placeholder_has_its_cure() {
        for (text, cure) in [
            ("{hots}", "did you mean {host}?"),
            ("{nothing_like_it}", "the placeholders are {path}"),
            ("{header.}", "the placeholders are"),
            ("a}", "placeholder such as"),
            ("{host", "close it"),
        ] {
            let Err(Mistake::Value { cure: Some(found), .. }) = Template::parse(text) else {
                panic!("{text}")
            };
            assert!(found.contains(cure), "{text}: {found}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_client_break_a_line(
            value in prop::collection::vec(any::<u8>(), 0..40),
            escape in prop::sample::select(&[Escape::Header, Escape::Url, Escape::Json, Escape::Html][..]),
        ) {
            let mut out = Vec::new();
            escape.put(&value, &mut out);
            prop_assert!(!out.iter().any(u8::is_ascii_control));
        }
    }
}
