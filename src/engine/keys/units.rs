//! Values with a unit: sizes, durations and rates.

use std::borrow::Cow;
use std::fmt;

use super::item::ItemKind;
use super::mistake::Mistake;
use super::plain::CanBeOff;
use super::shape::Shape;
use super::value::Value;
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

/// A unit: how it is written, how others write it, and how many of the smallest unit it is.
struct Unit {
    name: &'static str,
    others: &'static [&'static str],
    factor: u64,
}

const fn unit(name: &'static str, others: &'static [&'static str], factor: u64) -> Unit {
    Unit { name, others, factor }
}

/// The units of sizes, smallest first.
const SIZES: &[Unit] = &[
    unit("B", &["byte", "bytes"], 1),
    unit("KiB", &["k", "kb", "ki", "kbyte"], ByteSize::kib(1).0),
    unit("MiB", &["m", "mb", "mi", "mbyte"], ByteSize::mib(1).0),
    unit("GiB", &["g", "gb", "gi", "gbyte"], ByteSize::gib(1).0),
];

/// The units of durations in microseconds, smallest first.
const DURATIONS: &[Unit] = &[
    unit("ms", &["msec", "millis", "milliseconds"], Micros::millis(1).0),
    unit("s", &["sec", "secs", "second", "seconds"], Micros::secs(1).0),
    unit("m", &["min", "mins", "minute", "minutes"], Micros::secs(60).0),
    unit("h", &["hr", "hour", "hours"], Micros::secs(60 * 60).0),
];

/// The longest duration that a key takes: a day. Write "off" for more.
pub const LONGEST: Micros = Micros::secs(24 * 60 * 60);

/// The shortest timeout: below it, one fires on healthy traffic. A tick of a worker's wheel is about
/// 8 ms.
pub const SHORTEST: Micros = Micros::millis(10);

impl Value for ByteSize {
    fn expected() -> Cow<'static, str> {
        "a size such as \"16KiB\" or a number of bytes".into()
    }

    fn shape() -> Shape {
        let text = Shape::Text { noun: "size", pattern: Some("^[0-9]+(B|KiB|MiB|GiB)$") };
        Shape::Either(Box::new(text), Box::new(Shape::Integer))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        match kind {
            ItemKind::Integer(Some(count)) => u64::try_from(*count)
                .map(Self)
                .map_err(|_| Mistake::value(format!("{count} is not a size"))),
            ItemKind::Integer(None) => Err(Mistake::value("the number is too large")),
            ItemKind::Text(text) => with_unit(&text.value, SIZES).map(Self).map_err(|meant| {
                let what = format!("\"{}\" is not a size", text.value);
                match meant.or_else(|| text.value.trim().parse().ok()) {
                    Some(bytes) => Mistake::with_cure(what, format!("write \"{}\"", Self(bytes))),
                    None => Mistake::value(what),
                }
            }),
            _ => Err(Mistake::KIND),
        }
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl CanBeOff for ByteSize {
    const OFF: Self = Self(u64::MAX);
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, SIZES))
    }
}

impl Value for Micros {
    fn expected() -> Cow<'static, str> {
        "a duration such as \"300ms\", \"2s\", \"1m\" or \"1h\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "duration", pattern: Some("^[0-9]+(ms|s|m|h)$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let without_unit = |number: &str| {
            let what = format!("{number} is a number without a unit");
            Mistake::with_cure(what, format!("write \"{number}s\" for seconds"))
        };
        match kind {
            ItemKind::Text(text) => with_unit(&text.value, DURATIONS).map(Self).map_err(|meant| {
                let what = format!("\"{}\" is not a duration", text.value);
                let number = text.value.trim();
                match meant {
                    Some(micros) => Mistake::with_cure(what, format!("write \"{}\"", Self(micros))),
                    None if number.parse::<u32>().is_ok() => without_unit(number),
                    None => Mistake::value(what),
                }
            }),
            ItemKind::Integer(Some(number)) if *number >= 0 => {
                Err(without_unit(&number.to_string()))
            }
            _ => Err(Mistake::KIND),
        }
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl CanBeOff for Micros {
    /// A year, longer than any connection.
    const OFF: Self = Self::secs(365 * 24 * 60 * 60);
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, DURATIONS))
    }
}

/// A number of events in a span of time: "100/s".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventRate {
    /// How many, at least 1.
    pub count: u32,
    /// In how long: a second, a minute, an hour or a day.
    pub per: Micros,
}

/// The spans that a rate counts in.
const SPANS: &[Unit] = &[
    unit("s", &["sec", "second"], Micros::secs(1).0),
    unit("m", &["min", "minute"], Micros::secs(60).0),
    unit("h", &["hr", "hour"], Micros::secs(60 * 60).0),
    unit("d", &["day"], Micros::secs(24 * 60 * 60).0),
];

impl Value for EventRate {
    fn expected() -> Cow<'static, str> {
        "a rate such as \"100/s\", \"5/m\", \"1000/h\" or \"10000/d\"".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "rate", pattern: Some("^[1-9][0-9]*/[smhd]$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = match kind {
            ItemKind::Text(text) => &*text.value,
            ItemKind::Integer(Some(number)) if *number > 0 => {
                let what = format!("{number} is a number without a span of time");
                let cure = format!("write \"{number}/s\" for so many in a second");
                return Err(Mistake::with_cure(what, cure));
            }
            _ => return Err(Mistake::KIND),
        };
        let what = || format!("\"{text}\" is not a rate");
        let (number, span) = text.split_once('/').unwrap_or((text, "s"));
        let (number, span) = (number.trim(), span.trim().to_ascii_lowercase());
        let unit = SPANS.iter().find(|unit| unit.name == span || unit.others.contains(&&*span));
        let count = number.parse::<u32>().ok().filter(|count| *count > 0);
        let (Some(unit), Some(count)) = (unit, count) else {
            return Err(Mistake::value(what()));
        };
        let rate = Self { count, per: Micros(unit.factor) };
        let right = rate.to_string();
        if right == text {
            Ok(rate)
        } else {
            Err(Mistake::with_cure(what(), format!("write \"{right}\"")))
        }
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

impl fmt::Display for EventRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SPANS.iter().find(|unit| unit.factor == self.per.0);
        write!(f, "{}/{}", self.count, unit.map_or("s", |unit| unit.name))
    }
}

/// Reads a whole number and a unit.
///
/// # Errors
/// It is something else; with the number that is probably meant, where that is plain: with a unit
/// that others use, a space before it, or a decimal point.
fn with_unit(text: &str, units: &[Unit]) -> Result<u64, Option<u64>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, name) = text.split_at_checked(digits).ok_or(None)?;
    let exact = units.iter().find(|unit| unit.name == name);
    match exact.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit.factor)) {
        Some(value) => Ok(value),
        None => Err(meant(text.trim(), units)),
    }
}

/// The number that is probably meant.
fn meant(text: &str, units: &[Unit]) -> Option<u64> {
    let end = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, name) = text.split_at_checked(end)?;
    let name = name.trim().to_ascii_lowercase();
    let named =
        |unit: &&Unit| unit.name.to_ascii_lowercase() == name || unit.others.contains(&&*name);
    // A day has no unit of its own.
    let factor = match units.iter().find(named) {
        Some(unit) => unit.factor,
        None if matches!(&*name, "d" | "day" | "days") => units.last()?.factor.checked_mul(24)?,
        None => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let tens = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = if part.is_empty() { 0 } else { part.parse::<u64>().ok()? };
    let value = whole.parse::<u64>().ok()?.checked_mul(tens)?.checked_add(part)?;
    let value = value.checked_mul(factor)?;
    // Nobody means half a millisecond.
    let smallest = units.first()?.factor;
    (value % tens == 0 && (value / tens) % smallest == 0).then_some(value / tens)
}

/// Writes a number in the largest unit that leaves it whole.
fn in_units(number: u64, units: &[Unit]) -> String {
    let fits = |unit: &&Unit| number >= unit.factor && number.is_multiple_of(unit.factor);
    let unit = units.iter().rev().find(fits).or(units.first());
    unit.map_or_else(|| number.to_string(), |unit| format!("{}{}", number / unit.factor, unit.name))
}

#[cfg(test)]
mod tests {
    use super::super::item::ItemText;
    use super::*;

    #[test]
    fn sizes_and_durations_are_written_as_they_are_read() {
        for text in ["0B", "1B", "1000B", "1KiB", "16KiB", "1MiB", "3GiB", "1025B"] {
            assert_eq!(in_units(with_unit(text, SIZES).unwrap(), SIZES), text);
        }
        for text in ["0ms", "300ms", "2s", "1m", "90s", "1h", "25h"] {
            assert_eq!(in_units(with_unit(text, DURATIONS).unwrap(), DURATIONS), text);
        }
    }

    #[test]
    fn a_text_without_a_whole_number_or_a_known_unit_is_refused() {
        for text in ["", "s", "10", "-1s", "1x", "99999999999999h", "٣s", "1.2.3s", ".", ".s"] {
            assert_eq!(with_unit(text, DURATIONS), Err(None), "{text}");
        }
        for text in ["18446744073709551615KiB", "x", "1 x"] {
            assert_eq!(with_unit(text, SIZES), Err(None), "{text}");
        }
    }

    #[test]
    fn the_value_that_is_meant_is_found() {
        for (text, right) in [
            ("1 s", "1s"),
            (" 10s", "10s"),
            ("1.5s", "1500ms"),
            ("0.5h", "30m"),
            ("1S", "1s"),
            ("5min", "5m"),
            ("2 Hours", "2h"),
            ("1d", "24h"),
        ] {
            let meant = with_unit(text, DURATIONS).unwrap_err().unwrap();
            assert_eq!(in_units(meant, DURATIONS), right, "{text}");
        }
        for (text, right) in
            [("16kb", "16KiB"), ("16K", "16KiB"), ("256 MB", "256MiB"), ("1.5GiB", "1536MiB")]
        {
            let meant = with_unit(text, SIZES).unwrap_err().unwrap();
            assert_eq!(in_units(meant, SIZES), right, "{text}");
        }
    }

    #[test]
    fn a_rate_is_written_as_it_is_read() {
        let text = |text: &str| {
            EventRate::parse(&ItemKind::Text(ItemText {
                value: text.to_owned().into(),
                secret: false,
            }))
        };
        for right in ["100/s", "5/m", "1/h", "4294967295/d"] {
            assert_eq!(text(right).map(|it| it.to_string()).as_deref(), Ok(right));
        }
        for (wrong, right) in
            [("100", "100/s"), ("5 / min", "5/m"), ("5/M", "5/m"), ("05/m", "5/m")]
        {
            let cure = Some(format!("write \"{right}\""));
            assert!(
                matches!(text(wrong), Err(Mistake::Value { cure: it, .. }) if it == cure),
                "{wrong}"
            );
        }
        for wrong in ["", "/s", "0/s", "-1/s", "1.5/s", "5/w", "4294967296/s"] {
            assert!(matches!(text(wrong), Err(Mistake::Value { cure: None, .. })), "{wrong}");
        }
        let number = EventRate::parse(&ItemKind::Integer(Some(7)));
        let cure = "write \"7/s\" for so many in a second";
        assert!(matches!(number, Err(Mistake::Value { cure: Some(it), .. }) if it == cure));
    }
}
