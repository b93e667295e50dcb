//! Statuses of responses as values: "502" or "500-599".

use std::borrow::Cow;
use std::fmt;

use super::item::ItemKind;
use super::mistake::Mistake;
use super::shape::Shape;
use super::value::Value;
use super::written::Written;

/// One status, or all from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl StatusRange {
    /// All statuses of final responses.
    const FIRST: u16 = 200;
    const LAST: u16 = 599;

    /// Whether `status` is one of these.
    #[must_use]
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }

    /// Reads "502" or "500-599".
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|it| it.is_ascii_digit());
            let status = text.parse().ok().filter(|_| digits)?;
            (Self::FIRST..=Self::LAST).contains(&status).then_some(status)
        };
        let range = Self { first: status(first)?, last: status(last)? };
        (range.first <= range.last).then_some(range)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl Value for StatusRange {
    fn expected() -> Cow<'static, str> {
        "a status such as \"502\" or \"500-599\", from 200 to 599".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "status", pattern: Some("^[2-5][0-9]{2}(-[2-5][0-9]{2})?$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = match kind {
            ItemKind::Text(text) => &*text.value,
            ItemKind::Integer(Some(number)) => {
                return Err(match Self::of_text(&number.to_string()) {
                    Some(range) => Mistake::kind(format!("write \"{range}\"")),
                    None => Mistake::value(format!("{number} is no status")),
                });
            }
            _ => return Err(Mistake::KIND),
        };
        Self::of_text(text).ok_or_else(|| {
            let what = format!("\"{text}\" is no status");
            // Other gateways write classes.
            let class = text.strip_suffix("xx").and_then(|it| it.parse::<u16>().ok());
            match class.filter(|class| (2..=5).contains(class)) {
                Some(class) => Mistake::with_cure(what, format!("write \"{class}00-{class}99\"")),
                None => Mistake::value(what),
            }
        })
    }

    fn write(&self) -> Written {
        Written::text(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::ItemText;
    use super::*;

    fn text(text: &str) -> Result<StatusRange, Mistake> {
        let value = text.to_owned().into();
        StatusRange::parse(&ItemKind::Text(ItemText { value, secret: false }))
    }

    #[test]
    fn a_status_is_one_or_a_range_of_them() {
        for written in ["200", "599", "500-599", "502"] {
            let range = text(written).unwrap();
            assert_eq!(range.write(), Written::text(written));
        }
        let range = text("500-503").unwrap();
        assert!(range.contains(500) && range.contains(503) && !range.contains(504));
        for wrong in ["", "99", "199", "600", "50", "5000", "503-500", "+500", "500 - 599", "a"] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_class_and_a_number_are_told_how_to_write_them() {
        let cure = Some("write \"500-599\"".to_owned());
        assert!(matches!(text("5xx"), Err(Mistake::Value { cure: it, .. }) if it == cure));
        let number = StatusRange::parse(&ItemKind::Integer(Some(502)));
        assert_eq!(number, Err(Mistake::kind("write \"502\"")));
    }
}
