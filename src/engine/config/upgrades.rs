//! `upgrades` of a route: the protocols that its clients may switch to.

use std::borrow::Cow;

use proto::upgrade::{is_protocol, is_same};

use crate::keys::{ItemKind, Mistake, Shape, Value, Written};

/// A protocol as the Upgrade field names it (RFC 9110 section 7.8), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(pub String);

/// Names are at most this long: the longest registered one has 9 letters.
const PROTOCOL_BYTES_MAX: usize = 64;

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Value for Protocol {
    fn expected() -> Cow<'static, str> {
        "a protocol such as \"websocket\"".into()
    }

    fn shape() -> Shape {
        const PATTERN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?$";
        Shape::Text { noun: "protocol", pattern: Some(PATTERN) }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let text = &text.value;
        if !is_protocol(text.as_bytes()) || text.len() > PROTOCOL_BYTES_MAX {
            return Err(Mistake::value(format!("\"{text}\" is not a protocol")));
        }
        if is_same(text.as_bytes(), b"h2c") {
            // And its settings travel in a field that ends at this hop (RFC 7540 section 3.2.1).
            let what =
                "\"h2c\" would lead clients past every route to whatever the endpoint serves";
            return Err(Mistake::with_cure(what, "leave it out"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}
