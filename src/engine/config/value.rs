//! The values that keys hold: strings, numbers, sizes, durations, addresses, and "off".

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use super::section::{Bounded, Mistake, Scalar};
use super::shape::Shape;
use super::tree::Kind;
use super::written::Written;
use crate::time::Micros;

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

    /// The number of bytes, of something that has to fit into memory.
    #[must_use]
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The units of sizes, smallest first.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", ByteSize::kib(1).0),
    ("MiB", ByteSize::mib(1).0),
    ("GiB", ByteSize::gib(1).0),
];

/// The units of durations in microseconds, smallest first.
const DURATION_UNITS: [(&str, u64); 4] = [
    ("ms", Micros::millis(1).0),
    ("s", Micros::secs(1).0),
    ("m", Micros::secs(60).0),
    ("h", Micros::secs(60 * 60).0),
];

/// A day. Write "off" for more.
pub(super) const LONGEST: Micros = Micros::secs(24 * 60 * 60);

/// Below this a timeout fires on healthy traffic: one tick of a worker's wheel is about 8 ms.
pub(super) const SHORTEST: Micros = Micros::millis(10);

impl Scalar for ByteSize {
    fn wanted() -> Cow<'static, str> {
        "a size such as \"16KiB\" or a number of bytes".into()
    }

    fn form() -> Shape {
        let text = Shape::Text { noun: "size", pattern: Some("^[0-9]+(B|KiB|MiB|GiB)$") };
        Shape::Either(Box::new(text), Box::new(Shape::Integer))
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Integer(Some(count)) => u64::try_from(*count)
                .map(Self)
                .map_err(|_| Mistake::value(format!("{count} is not a size"))),
            Kind::Integer(None) => Err(Mistake::value("the number is out of range")),
            Kind::Text(text) => with_unit(&text.value, &SIZE_UNITS)
                .map(Self)
                .ok_or_else(|| Mistake::value(format!("\"{}\" is not a size", text.value))),
            _ => Err(Mistake::Kind),
        }
    }

    fn show(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl Bounded for ByteSize {}

impl CanBeOff for ByteSize {
    const OFF: Self = Self(u64::MAX);
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, &SIZE_UNITS))
    }
}

impl Scalar for Micros {
    fn wanted() -> Cow<'static, str> {
        "a duration such as \"300ms\", \"2s\", \"1m\" or \"1h\"".into()
    }

    fn form() -> Shape {
        Shape::Text { noun: "duration", pattern: Some("^[0-9]+(ms|s|m|h)$") }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Text(text) => with_unit(&text.value, &DURATION_UNITS)
                .map(Self)
                .ok_or_else(|| Mistake::value(format!("\"{}\" is not a duration", text.value))),
            Kind::Integer(Some(number)) => Err(Mistake::with_cure(
                format!("{number} is a number without a unit"),
                format!("write \"{number}s\" for seconds"),
            )),
            _ => Err(Mistake::Kind),
        }
    }

    fn show(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl Bounded for Micros {}

impl CanBeOff for Micros {
    /// A year, longer than any connection.
    const OFF: Self = Self::secs(365 * 24 * 60 * 60);
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, &DURATION_UNITS))
    }
}

impl Scalar for u32 {
    fn wanted() -> Cow<'static, str> {
        "a whole number".into()
    }

    fn form() -> Shape {
        Shape::Integer
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Integer(Some(number)) => Self::try_from(*number)
                .map_err(|_| Mistake::value(format!("{number} is out of range"))),
            Kind::Integer(None) => Err(Mistake::value("the number is out of range")),
            // The value of a variable is always a string.
            Kind::Text(text) if text.secret => {
                text.value.parse().map_err(|_| Mistake::value("not a number"))
            }
            _ => Err(Mistake::Kind),
        }
    }

    fn show(&self) -> Written {
        Written::Integer(i64::from(*self))
    }
}

impl Bounded for u32 {}

impl CanBeOff for u32 {
    const OFF: Self = Self::MAX;
}

/// A string, any.
impl Scalar for String {
    fn wanted() -> Cow<'static, str> {
        "a string".into()
    }

    fn form() -> Shape {
        Shape::Text { noun: "string", pattern: None }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Text(text) => Ok(text.value.to_string()),
            _ => Err(Mistake::Kind),
        }
    }

    fn show(&self) -> Written {
        Written::text(self)
    }
}

/// A limit that can be switched off. Off is a number larger than any limit, so that a worker compares
/// and adds without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Hash)]
pub struct Limit<T>(T);

/// A number that can be so large that it limits nothing.
pub trait CanBeOff: Copy + PartialEq {
    /// Stands for "off": larger than any value that can be meant.
    const OFF: Self;
}

impl<T: CanBeOff> Limit<T> {
    /// No limit.
    pub const OFF: Self = Self(T::OFF);

    /// This limit.
    #[must_use]
    pub const fn at(limit: T) -> Self {
        Self(limit)
    }

    /// The limit, which is [`CanBeOff::OFF`] when it is off.
    #[must_use]
    pub const fn value(self) -> T {
        self.0
    }

    /// Whether there is no limit.
    #[must_use]
    pub fn is_off(self) -> bool {
        self == Self::OFF
    }
}

impl Limit<u32> {
    /// The limit as a count of things in memory: `usize::MAX` when it is off.
    #[must_use]
    pub fn count(self) -> usize {
        if self.is_off() { usize::MAX } else { self.0 as usize }
    }
}

impl<T: Bounded + CanBeOff> Scalar for Limit<T> {
    fn wanted() -> Cow<'static, str> {
        format!("{}, or \"off\"", T::wanted()).into()
    }

    fn form() -> Shape {
        Shape::Either(Box::new(T::form()), Box::new(Shape::Words(vec!["off"])))
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Text(text) if text.value == "off" => Ok(Self::OFF),
            // No limit at all is far more than the smallest one.
            Kind::Integer(Some(0)) => {
                Err(Mistake::with_cure("0 is no limit", "write \"off\" for none"))
            }
            kind => T::parse(kind).map(Self),
        }
    }

    fn show(&self) -> Written {
        if self.is_off() { Written::text("off") } else { self.0.show() }
    }
}

impl Scalar for SocketAddr {
    fn wanted() -> Cow<'static, str> {
        "an IP address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\"".into()
    }

    fn form() -> Shape {
        Shape::Text { noun: "address", pattern: Some(r"^([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]+$") }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
        let text = &text.value;
        text.parse().map_err(|_| {
            let what = format!("\"{text}\" is not an address");
            Mistake::Value { what, cure: cure_address(text) }
        })
    }

    fn show(&self) -> Written {
        Written::text(self.to_string())
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
