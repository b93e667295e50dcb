//! `match.methods`: methods that a route is for.

use std::borrow::Cow;

use proto::head::{Method as KnownMethod, is_token};

use crate::keys::{ItemKind, Mistake, Shape, Value, Written};

/// A request method, as written. Case counts (RFC 9110 section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub String);

impl AsRef<str> for Method {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Methods are at most this long: the longest registered one has 17 letters.
const METHOD_BYTES_MAX: usize = 32;

impl Value for Method {
    fn expected() -> Cow<'static, str> {
        "a method such as \"GET\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "method", pattern: Some("^[!#$%&'*+.^_`|~0-9A-Z-]{1,32}$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let text = &text.value;
        if !is_token(text.as_bytes()) || text.len() > METHOD_BYTES_MAX {
            return Err(Mistake::value(format!("\"{text}\" is not a method")));
        }
        let upper = text.to_ascii_uppercase();
        if *text != upper {
            let what = format!("no client sends the method \"{text}\"");
            return Err(Mistake::with_cure(what, format!("write \"{upper}\": case counts")));
        }
        if KnownMethod::of(text.as_bytes()) == KnownMethod::Connect {
            let what = "CONNECT is not served, by any route";
            return Err(Mistake::with_cure(what, "leave it out"));
        }
        Ok(Self(upper))
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}
