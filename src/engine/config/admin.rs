//! `[admin]`: the address and the token of the admin API.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::address::Address;
use crate::keys::{ItemKind, KeyRule, MASK, Mistake, Shape, Spanned, Value, Written, section};

section! {
    /// The admin API: health, metrics, status, and the configuration itself. It runs beside the
    /// workers and cannot slow them down.
    pub settings Admin {
        /// The address it listens on: IP address and port, "unix:/path", or "off". Everybody who can
        /// connect may read and change the configuration, so an address that other hosts can reach
        /// needs a `token`.
        address: Spanned<AdminAddress> => KeyRule::default(Spanned::unwritten(ADDRESS_DEFAULT));
        /// The token that clients send as `Authorization: Bearer TOKEN`. Absent: clients need none.
        token: Option<Token> => KeyRule::optional("\"${env:RINGWAY_ADMIN_TOKEN}\"");
    }
}

/// Only this host can reach it.
const ADDRESS_DEFAULT: AdminAddress =
    AdminAddress::At(Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901)));

/// The address of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Here. A Unix socket is one in the file system: a name of the abstract namespace has no
    /// owner, and anybody on the host could connect.
    At(Address),
    /// Nowhere.
    Off,
}

impl AdminAddress {
    /// Whether other hosts can reach it.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        matches!(self, Self::At(Address::Ip(it)) if !it.ip().to_canonical().is_loopback())
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Off => f.pad("off"),
        }
    }
}

impl Value for AdminAddress {
    fn expected() -> Cow<'static, str> {
        "\"IP:port\", \"unix:/path\" or \"off\"".into()
    }

    fn shape() -> Shape {
        let unix = Shape::Text { noun: "socket", pattern: Some("^unix:/.+$") };
        let off = Shape::Words(vec!["off"]);
        let rest = Shape::Either(Box::new(unix), Box::new(off));
        Shape::Either(Box::new(SocketAddr::shape()), Box::new(rest))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        if text.value == "off" {
            return Ok(Self::Off);
        }
        let address = Address::parse(kind)?;
        if matches!(&address, Address::Unix(name) if name.starts_with('@')) {
            let what = "an abstract name has no owner: anybody on this host could connect";
            return Err(Mistake::with_cure(what, "write a path: \"unix:/run/x.sock\""));
        }
        Ok(Self::At(address))
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

/// The token that a client of the admin API must send. No output shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

impl Token {
    /// The token itself. Compare in constant time.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Value for Token {
    fn expected() -> Cow<'static, str> {
        format!("{TOKEN_BYTES_MIN} or more ASCII letters, digits and signs, without spaces").into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "token", pattern: Some("^[!-~]{16,}$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        let token = &text.value;
        if token.len() < TOKEN_BYTES_MIN {
            let cure = "make one with `openssl rand -hex 32`";
            return Err(Mistake::with_cure("the token is too short", cure));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Mistake::value("the token cannot stand in a header"));
        }
        Ok(Self(token.to_string()))
    }

    fn write(&self) -> Written {
        Written::text(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reachable_unless_it_is_loopback_or_a_file() {
        for (address, reachable) in [
            ("127.0.0.1:1", false),
            ("127.3.2.1:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            let at = AdminAddress::At(address.parse().unwrap());
            assert_eq!(at.is_reachable(), reachable, "{address}");
        }
        assert!(!AdminAddress::At(Address::Unix("/run/x".into())).is_reachable());
        assert!(!AdminAddress::Off.is_reachable());
    }

    #[test]
    fn a_token_is_shown_to_nobody() {
        let token = Token("0123456789abcdef".to_owned());
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(token.write(), Written::text("***"));
    }
}
