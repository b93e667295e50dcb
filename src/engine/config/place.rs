//! Values that say where: addresses to listen at or connect to, and networks that are trusted.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::section::{Mistake, Scalar};
use super::shape::Shape;
use super::tree::Kind;
use super::written::Written;
use crate::address::{Address, Network};

impl Scalar for Address {
    fn wanted() -> Cow<'static, str> {
        "an IP address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", or \"unix:/path\""
            .into()
    }

    fn form() -> Shape {
        let unix = Shape::Text { noun: "socket", pattern: Some("^unix:(/.*[^/]|@.+)$") };
        Shape::Either(Box::new(SocketAddr::form()), Box::new(unix))
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
        match Self::unix_part(&text.value) {
            Some(name) => {
                Self::parse_unix(name).map_err(|(what, cure)| Mistake::with_cure(what, cure))
            }
            None => SocketAddr::parse(kind).map(Self::Ip),
        }
    }

    fn show(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl Scalar for Network {
    fn wanted() -> Cow<'static, str> {
        "a block of addresses such as \"10.0.0.0/8\", a single one, or \"unix\"".into()
    }

    fn form() -> Shape {
        let block =
            Shape::Text { noun: "block", pattern: Some("^([0-9.]+|[0-9A-Fa-f:.]+)(/[0-9]+)?$") };
        Shape::Either(Box::new(block), Box::new(Shape::Words(vec!["unix"])))
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
        text.value.parse().map_err(|(what, cure)| Mistake::Value { what, cure })
    }

    fn show(&self) -> Written {
        Written::text(self.to_string())
    }
}

/// Whether connections to a listener begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None does: one is not HTTP, and is refused as such.
    #[default]
    Off,
    /// One may.
    Optional,
    /// Every one does; a connection without one is closed.
    Required,
}

impl ProxyProtocol {
    /// The names, as they are written.
    const NAMES: [(&str, Self); 3] =
        [("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Scalar for ProxyProtocol {
    fn wanted() -> Cow<'static, str> {
        "\"off\", \"optional\" or \"required\"".into()
    }

    fn form() -> Shape {
        Shape::Words(Self::NAMES.map(|(name, _)| name).to_vec())
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
        let named = Self::NAMES.into_iter().find(|(name, _)| *name == text.value);
        let what = || Mistake::value(format!("\"{}\" is not one of them", text.value));
        named.map(|(_, choice)| choice).ok_or_else(what)
    }

    fn show(&self) -> Written {
        let named = Self::NAMES.into_iter().find(|(_, choice)| choice == self);
        Written::text(named.map_or("off", |(name, _)| name))
    }
}
