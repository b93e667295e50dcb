//! Plain values: strings, numbers, booleans, fractions, and limits that can be off.

use std::borrow::Cow;

use super::item::ItemKind;
use super::mistake::Mistake;
use super::shape::Shape;
use super::value::Value;
use super::written::Written;

/// Any string.
impl Value for String {
    fn expected() -> Cow<'static, str> {
        "a string".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "string", pattern: None }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        kind.text().map(|text| text.value.to_string()).ok_or(Mistake::KIND)
    }

    fn write(&self) -> Written {
        Written::text(self)
    }
}

/// Whole numbers of a few bits.
macro_rules! whole_numbers {
    ($($type:ident)+) => {$(
        impl Value for $type {
            fn expected() -> Cow<'static, str> {
                "a whole number".into()
            }

            fn shape() -> Shape {
                Shape::Integer
            }

            fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
                let number = whole_number(kind)?;
                let mistake = || Mistake::value(format!("{number} is out of range"));
                Self::try_from(number).map_err(|_| mistake())
            }

            fn write(&self) -> Written {
                Written::Integer(i64::from(*self))
            }
        }
    )+};
}

whole_numbers! { u16 u32 i32 }

fn whole_number(kind: &ItemKind<'_>) -> Result<i64, Mistake> {
    match kind {
        ItemKind::Integer(Some(number)) => Ok(*number),
        ItemKind::Integer(None) => Err(Mistake::value("the number is out of range")),
        // The value of a variable is always a string.
        ItemKind::Text(text) if text.secret => {
            text.value.parse().map_err(|_| Mistake::value("not a number"))
        }
        ItemKind::Text(text) => match text.value.trim().parse::<i64>() {
            Ok(number) => Err(Mistake::kind(format!("write {number} without quotes"))),
            Err(_) => Err(Mistake::KIND),
        },
        _ => Err(Mistake::KIND),
    }
}

impl CanBeOff for u32 {
    const OFF: Self = Self::MAX;
}

impl Value for bool {
    fn expected() -> Cow<'static, str> {
        "true or false".into()
    }

    fn shape() -> Shape {
        Shape::Boolean
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = match kind {
            ItemKind::Boolean(value) => return Ok(*value),
            ItemKind::Text(text) => text,
            _ => return Err(Mistake::KIND),
        };
        let value = match text.value.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => true,
            "false" | "off" | "no" => false,
            _ => return Err(Mistake::KIND),
        };
        // The value of a variable is always a string.
        if text.secret && matches!(&*text.value, "true" | "false") {
            return Ok(value);
        }
        Err(Mistake::kind(format!("write {value} without quotes")))
    }

    fn write(&self) -> Written {
        Written::Boolean(*self)
    }
}

/// A part of a whole, from 0 to 1: `0.2` or "20%".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fraction(u32);

/// The parts that a fraction counts.
const PARTS: u32 = 1_000_000;

/// The parts of one percent.
const PERCENT: u32 = PARTS / 100;

impl Fraction {
    /// `count` percent, at most 100.
    #[must_use]
    pub const fn percent(count: u32) -> Self {
        Self(if count < 100 { count * PERCENT } else { PARTS })
    }

    /// How many whole things this part of `count` things is.
    #[must_use]
    pub const fn of(self, count: u64) -> u64 {
        count.saturating_mul(self.0 as u64) / PARTS as u64
    }

    /// Reads digits with a point, in units of `unit` parts. `None` if it is finer than a part, or
    /// more than the whole.
    fn of_decimal(text: &str, unit: u32) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let decimals_used = decimals.trim_end_matches('0');
        if !digits(whole) || !digits(decimals) || decimals_used.len() > 6 {
            return None;
        }
        let tens = 10_u64.pow(u32::try_from(decimals_used.len()).ok()?);
        let decimals = if decimals_used.is_empty() { 0 } else { decimals_used.parse().ok()? };
        let scaled = whole.parse::<u64>().ok()?.checked_mul(tens)?.checked_add(decimals)?;
        let scaled = scaled.checked_mul(unit.into())?;
        let parts = u32::try_from(scaled / tens).ok()?;
        (scaled % tens == 0 && parts <= PARTS).then_some(Self(parts))
    }
}

impl Value for Fraction {
    fn expected() -> Cow<'static, str> {
        "a fraction such as 0.2 or \"20%\", from 0 to 1".into()
    }

    fn shape() -> Shape {
        let percent = Shape::Text { noun: "percentage", pattern: Some(r"^[0-9]+(\.[0-9]+)?%$") };
        Shape::Either(Box::new(Shape::Fraction), Box::new(percent))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let no_fraction = |shown: &dyn std::fmt::Display, number: &str| {
            let what = format!("{shown} is not a fraction");
            match Self::of_decimal(number, PERCENT) {
                Some(_) => Mistake::with_cure(what, format!("write \"{number}%\" for percent")),
                None => Mistake::value(what),
            }
        };
        match kind {
            ItemKind::Integer(Some(number @ (0 | 1))) => {
                Ok(Self(if *number == 0 { 0 } else { PARTS }))
            }
            ItemKind::Integer(Some(number)) => Err(no_fraction(number, &number.to_string())),
            ItemKind::Fraction(number) => {
                let text = number.to_string();
                Self::of_decimal(&text, PARTS).ok_or_else(|| no_fraction(number, &text))
            }
            ItemKind::Text(text) => {
                let text = &*text.value;
                let percent = text.strip_suffix('%').and_then(|it| Self::of_decimal(it, PERCENT));
                let mistake = || Mistake::value(format!("\"{text}\" is not a fraction"));
                percent.or_else(|| Self::of_decimal(text, PARTS)).ok_or_else(mistake)
            }
            _ => Err(Mistake::KIND),
        }
    }

    fn write(&self) -> Written {
        let (whole, rest) = (self.0 / PERCENT, self.0 % PERCENT);
        if rest == 0 {
            return Written::text(format!("{whole}%"));
        }
        Written::text(format!("{whole}.{}%", format!("{rest:04}").trim_end_matches('0')))
    }
}

impl CanBeOff for Fraction {
    const OFF: Self = Self(u32::MAX);
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

/// How a limit is switched off.
const OFF: &str = "off";

impl<T: Value + CanBeOff> Value for Limit<T> {
    fn expected() -> Cow<'static, str> {
        format!("{}, or \"{OFF}\"", T::expected()).into()
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(T::shape()), Box::new(Shape::Words(vec![OFF])))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let no_limit = |shown: &str| {
            let what = format!("{shown} is no limit");
            Err(Mistake::with_cure(what, format!("write \"{OFF}\" for none")))
        };
        match kind {
            ItemKind::Text(text) if text.value == OFF => Ok(Self::OFF),
            // No limit at all is far more than the smallest one.
            ItemKind::Integer(Some(number @ (0 | -1))) => no_limit(&number.to_string()),
            ItemKind::Boolean(false) => no_limit("false"),
            ItemKind::Text(text) => match &*text.value.to_ascii_lowercase() {
                "0" | "-1" | "" | "off" | "false" | "no" | "none" | "never" | "unlimited"
                | "infinite" | "infinity" => no_limit(&format!("\"{}\"", text.value)),
                _ => T::parse(kind).map(Self),
            },
            kind => T::parse(kind).map(Self),
        }
    }

    fn write(&self) -> Written {
        if self.is_off() { Written::text(OFF) } else { self.0.write() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::ItemText;
    use super::*;

    fn text<T: Value>(text: &str) -> Result<T, Mistake> {
        T::parse(&ItemKind::Text(ItemText { value: text.to_owned().into(), secret: false }))
    }

    fn secret<T: Value>(text: &str) -> Result<T, Mistake> {
        T::parse(&ItemKind::Text(ItemText { value: text.to_owned().into(), secret: true }))
    }

    #[test]
    fn a_fraction_is_a_number_or_a_percentage() {
        for (number, parts) in [(0.0, 0), (0.2, 200_000), (1.0, PARTS), (0.000_001, 1)] {
            assert_eq!(Fraction::parse(&ItemKind::Fraction(number)), Ok(Fraction(parts)));
        }
        for number in [1.5, -0.1, 0.000_000_1, f64::NAN, f64::INFINITY] {
            assert!(Fraction::parse(&ItemKind::Fraction(number)).is_err(), "{number}");
        }
        assert_eq!(Fraction::parse(&ItemKind::Integer(Some(1))), Ok(Fraction::percent(100)));
        let percent = Fraction::parse(&ItemKind::Integer(Some(20)));
        let cure = "write \"20%\" for percent";
        assert!(matches!(percent, Err(Mistake::Value { cure: Some(it), .. }) if it == cure));
        for (written, parts) in
            [("20%", 200_000), ("0%", 0), ("100%", PARTS), ("0.5%", 5_000), ("12.3456%", 123_456)]
        {
            let fraction = text::<Fraction>(written).unwrap();
            assert_eq!(fraction.0, parts);
            assert_eq!(fraction.write(), Written::text(written));
        }
        assert_eq!(secret::<Fraction>("0.2"), Ok(Fraction::percent(20)));
        for wrong in ["", "%", "101%", "-1%", "1e-1", "0.00001%", "20 %", "1.%", ".5%"] {
            assert!(text::<Fraction>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_boolean_has_no_quotes_unless_a_variable_gives_it() {
        assert_eq!(bool::parse(&ItemKind::Boolean(true)), Ok(true));
        assert_eq!(secret("false"), Ok(false));
        assert_eq!(text::<bool>("true"), Err(Mistake::kind("write true without quotes")));
        assert_eq!(text::<bool>("off"), Err(Mistake::kind("write false without quotes")));
        assert_eq!(text::<bool>("perhaps"), Err(Mistake::KIND));
        assert_eq!(bool::parse(&ItemKind::Integer(Some(1))), Err(Mistake::KIND));
        assert_eq!(true.write().to_string(), "true");
    }

    #[test]
    fn a_limit_is_off_by_one_word() {
        assert_eq!(text::<Limit<u32>>("off"), Ok(Limit::OFF));
        assert_eq!(Limit::<u32>::parse(&ItemKind::Integer(Some(7))), Ok(Limit::at(7)));
        assert!(Limit::at(u32::MAX - 1) < Limit::OFF);
        assert_eq!((Limit::<u32>::OFF.count(), Limit::at(5).count()), (usize::MAX, 5));
        let off = |it: Result<Limit<u32>, Mistake>| matches!(it, Err(Mistake::Value { cure: Some(cure), .. }) if cure.contains("\"off\""));
        for kind in
            [ItemKind::Integer(Some(0)), ItemKind::Integer(Some(-1)), ItemKind::Boolean(false)]
        {
            assert!(off(Limit::parse(&kind)), "{kind:?}");
        }
        for word in ["0", "none", "Off", "unlimited", ""] {
            assert!(off(text(word)), "{word}");
        }
    }
}
