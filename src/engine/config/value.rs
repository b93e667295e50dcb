//! The values that keys hold: numbers, sizes, durations, addresses, and "off".

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::section::{Bounded, Value, Walk};
use super::tree::{Kind, Node};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `count` times 1024 bytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count * 1024)
    }

    /// `count` times 1024 KiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self::kib(count * 1024)
    }

    /// `count` times 1024 MiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self::mib(count * 1024)
    }
}

/// The units of sizes, smallest first.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", ByteSize::kib(1).0),
    ("MiB", ByteSize::mib(1).0),
    ("GiB", ByteSize::gib(1).0),
];

/// The units of durations in milliseconds, smallest first.
const DURATION_UNITS: [(&str, u64); 4] =
    [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 60 * 60 * 1000)];

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as \"16KiB\" or a number of bytes";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        match &node.kind {
            Kind::Integer(Some(count)) if *count >= 0 => Some(Self(count.cast_unsigned())),
            Kind::Text(text) => match with_unit(text, &SIZE_UNITS) {
                Some(count) => Some(Self(count)),
                None => walk.bad_value(node, format!("\"{text}\" is not a size")),
            },
            _ => walk.wrong_kind(node),
        }
    }
}

impl Bounded for ByteSize {
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, &SIZE_UNITS))
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration such as \"300ms\", \"2s\", \"1m\" or \"1h\"";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) => match with_unit(text, &DURATION_UNITS) {
                Some(millis) => Some(Self::from_millis(millis)),
                None => walk.bad_value(node, format!("\"{text}\" is not a duration")),
            },
            Kind::Integer(Some(number)) => {
                let what = format!("{number} is a number without a unit");
                walk.report(&node.span, what, |it| {
                    it.why(format!("expected {}", Self::EXPECTED))
                        .cure(format!("write \"{number}s\" for seconds"))
                });
                None
            }
            _ => walk.wrong_kind(node),
        }
    }
}

impl Bounded for Duration {
    fn show(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        format!("\"{}\"", in_units(millis, &DURATION_UNITS))
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        match &node.kind {
            Kind::Integer(Some(number)) => match Self::try_from(*number) {
                Ok(number) => Some(number),
                Err(_) => walk.bad_value(node, format!("{number} is out of range")),
            },
            Kind::Integer(None) => walk.bad_value(node, "the number is out of range".to_owned()),
            _ => walk.wrong_kind(node),
        }
    }
}

impl Bounded for u32 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a string";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => walk.wrong_kind(node),
        }
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\"";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        let Kind::Text(text) = &node.kind else {
            return walk.wrong_kind(node);
        };
        let Ok(address) = text.parse() else {
            let what = format!("\"{text}\" is not an address");
            walk.report(&node.span, what, |it| {
                let it = it.why(format!("expected {}", Self::EXPECTED));
                match cure_address(text) {
                    Some(cure) => it.cure(cure),
                    None => it,
                }
            });
            return None;
        };
        Some(address)
    }
}

/// What to write instead, where what was meant is plain.
fn cure_address(text: &str) -> Option<String> {
    if let Some(port) = text.strip_prefix(':').filter(|port| port.parse::<u16>().is_ok()) {
        return Some(format!("write \"0.0.0.0:{port}\" for all addresses of this host"));
    }
    if text.parse::<std::net::Ipv4Addr>().is_ok() {
        return Some(format!("add a port: \"{text}:8080\""));
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(format!("add brackets and a port: \"[{text}]:8080\""));
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Some("write the address alone, without scheme and path".to_owned());
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(format!("write \"127.0.0.1:{port}\""));
    }
    let (host, port) = text.rsplit_once(':')?;
    let name = host.bytes().any(|byte| byte.is_ascii_alphabetic()) && port.parse::<u16>().is_ok();
    name.then(|| "names are not resolved: write the IP address".to_owned())
}

/// A limit that can be switched off. Off is larger than any limit.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Limit<T> {
    /// This limit.
    At(T),
    /// No limit.
    Off,
}

impl Value for Limit<Duration> {
    const EXPECTED: &'static str =
        "a duration such as \"300ms\", \"2s\", \"1m\" or \"1h\", or \"off\"";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) if text == "off" => Some(Self::Off),
            Kind::Text(text) => match with_unit(text, &DURATION_UNITS) {
                Some(millis) => Some(Self::At(Duration::from_millis(millis))),
                None => walk.bad_value(node, format!("\"{text}\" is not a duration")),
            },
            _ => walk.wrong_kind(node),
        }
    }
}

impl<T: Bounded> Bounded for Limit<T> {
    fn show(&self) -> String {
        match self {
            Self::Off => "\"off\"".to_owned(),
            Self::At(value) => value.show(),
        }
    }
}

/// Reads a whole number and a unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a number in the largest unit that leaves it whole.
fn in_units(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
    units
        .iter()
        .rev()
        .find(fits)
        .or(units.first())
        .map_or_else(|| number.to_string(), |(unit, factor)| format!("{}{unit}", number / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_written_as_they_are_read() {
        for text in ["0B", "1B", "1000B", "1KiB", "16KiB", "1MiB", "3GiB", "1025B"] {
            assert_eq!(in_units(with_unit(text, &SIZE_UNITS).unwrap(), &SIZE_UNITS), text);
        }
        for text in ["0ms", "300ms", "2s", "1m", "90s", "1h", "25h"] {
            assert_eq!(in_units(with_unit(text, &DURATION_UNITS).unwrap(), &DURATION_UNITS), text);
        }
    }

    #[test]
    fn what_has_no_whole_number_or_no_known_unit_is_refused() {
        for text in
            ["", "s", "10", "1.5s", "-1s", "1 s", "10 s", "1S", "1d", "99999999999999h", "٣s"]
        {
            assert_eq!(with_unit(text, &DURATION_UNITS), None, "{text}");
        }
        for text in ["16kb", "16KB", "16K", "18446744073709551615KiB"] {
            assert_eq!(with_unit(text, &SIZE_UNITS), None, "{text}");
        }
    }
}
