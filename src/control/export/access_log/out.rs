//! The value of a field, as the form of the line wants it.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::text;

/// The form of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Of JSON: strings in quotes, `null` for nothing.
    Json,
    /// Bare: `-` for nothing.
    Plain,
}

/// A line on its way, at a field.
#[derive(Debug)]
pub(super) struct Out<'a> {
    pub(super) line: &'a mut Vec<u8>,
    pub(super) style: Style,
}

impl Out<'_> {
    /// There is no value.
    pub(super) fn nothing(&mut self) {
        let nothing: &[u8] = match self.style {
            Style::Json => b"null",
            Style::Plain => b"-",
        };
        self.line.extend_from_slice(nothing);
    }

    /// A number.
    pub(super) fn number(&mut self, number: impl Into<u64>) {
        self.line.extend_from_slice(itoa::Buffer::new().format(number.into()).as_bytes());
    }

    /// A number, or nothing where `is_known` is false.
    pub(super) fn number_if(&mut self, is_known: bool, number: impl Into<u64>) {
        if is_known { self.number(number) } else { self.nothing() }
    }

    /// True or false.
    pub(super) fn boolean(&mut self, value: bool) {
        self.line.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A text in which `write` puts the parts.
    pub(super) fn string(&mut self, write: impl FnOnce(&mut Self)) {
        let quote: &[u8] = match self.style {
            Style::Json => b"\"",
            Style::Plain => b"",
        };
        self.line.extend_from_slice(quote);
        write(self);
        self.line.extend_from_slice(quote);
    }

    /// A text from a client or from the configuration, or nothing when it is empty.
    pub(super) fn text(&mut self, value: &[u8]) {
        match value {
            [] => self.nothing(),
            value => self.string(|to| to.escaped(value)),
        }
    }

    /// A word of our own, or nothing.
    pub(super) fn word(&mut self, word: Option<&str>) {
        match word {
            Some(word) => self.string(|to| to.plain(word.as_bytes())),
            None => self.nothing(),
        }
    }

    /// A part of a text that needs no escapes: it is our own.
    pub(super) fn plain(&mut self, part: &[u8]) {
        self.line.extend_from_slice(part);
    }

    /// A part of a text, made harmless.
    pub(super) fn escaped(&mut self, part: &[u8]) {
        match self.style {
            Style::Json => text::json(self.line, part),
            Style::Plain => text::plain(self.line, part),
        }
    }

    /// A part of a text: an address and port.
    pub(super) fn address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(_) => self.ip(address.ip()),
            IpAddr::V6(_) => {
                self.line.push(b'[');
                self.ip(address.ip());
                self.line.push(b']');
            }
        }
        self.line.push(b':');
        self.number(address.port());
    }

    /// A part of a text: an address.
    pub(super) fn ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                self.number(a);
                for part in [b, c, d] {
                    self.line.push(b'.');
                    self.number(part);
                }
            }
            // Writing to a vector does not fail.
            IpAddr::V6(ip) => drop(write!(self.line, "{ip}")),
        }
    }
}
