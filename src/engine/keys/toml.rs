//! TOML as a tree of items.
//!
//! Most texts are read by [`direct`], the others by the `toml` crate. A text that is not TOML is read
//! as far as it can be: see [`torn`](super::torn).

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::direct;
use super::item::{Item, ItemEntry, ItemKind, ItemText};
use super::source::Span;

/// Reads the text with number `source`. Variables in it stay as they are written.
///
/// # Errors
/// The first mistake.
pub(crate) fn read(source: u32, text: &str) -> Result<Vec<ItemEntry<'_>>, Error> {
    match direct::entries(source, text) {
        Some(entries) => Ok(entries),
        None => DeTable::parse(text).map(|table| entries(source, table.into_inner())),
    }
}

/// A table of the `toml` crate.
fn entries<'t>(source: u32, table: DeTable<'t>) -> Vec<ItemEntry<'t>> {
    let entry = |(key, value): (Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>)| {
        let key_span = Span::new(source, key.span());
        ItemEntry { key: key.into_inner(), key_span, value: item(source, value) }
    };
    let mut entries: Vec<ItemEntry<'t>> = table.into_iter().map(entry).collect();
    // Diagnostics come in the order of the text.
    entries.sort_unstable_by_key(|entry| entry.key_span);
    entries
}

fn item(source: u32, value: Spanned<DeValue<'_>>) -> Item<'_> {
    let span = Span::new(source, value.span());
    let kind = match value.into_inner() {
        DeValue::String(value) => ItemKind::Text(ItemText { value, secret: false }),
        DeValue::Integer(number) => {
            ItemKind::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        // The crate has read it as a number.
        DeValue::Float(number) => ItemKind::Fraction(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => ItemKind::Boolean(value),
        DeValue::Datetime(_) => ItemKind::Date,
        DeValue::Array(items) => {
            ItemKind::List(items.into_iter().map(|value| item(source, value)).collect())
        }
        DeValue::Table(table) => ItemKind::Table(entries(source, table)),
    };
    Item { span, kind }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether it is read directly. Then the `toml` crate must say the same.
    fn is_direct(text: &str) -> bool {
        let Some(direct) = direct::entries(7, text) else { return false };
        let table = DeTable::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(direct, entries(7, table.into_inner()), "{text}");
        true
    }

    #[test]
    fn what_people_write_is_read_directly() {
        for text in [
            "",
            "a = 1\n\"b c\" = 'x'\nc.d = 31\nc.e.f = 0\n",
            "[a]\nx = [1, \"ü\\n\", { y = 2, z.w = 3, z.v = 4 }, []]\n[b]\n[a.c]\n",
            "[a.b.c]\nx = 1\n[a]\ny = 2\n[a.b]\nz = -3\n",
            "w = 0.2\nv = -10.050\nu = false\nx = true # so\r\n\r\ny = \"\"\n[ \"\" . 'b' ]#\nz='\\d'",
            include_str!("../../../config/ringway.toml"),
            include_str!("../../../config/minimal.toml"),
        ] {
            assert!(is_direct(text), "{text}");
        }
    }

    #[test]
    fn the_rest_is_not() {
        let many: String = (0..100).map(|key| format!("k{key} = 1\n")).collect();
        let deep = format!("x = {}{}", "[".repeat(20), "]".repeat(20));
        for text in [
            "[[a]]\nb = 1\n",
            "a = 1\na = 2\n",
            "a = 1\na.b = 2\n",
            "[a]\n[a]\n",
            "a.b = 1\n[a]\n",
            "a = {}\n[a.b]\n",
            "[a.b]\n[a]\nb = 1\n",
            "a = { b = 1, b.c = 2 }\n",
            "[a]\nb.c = 1\n[a.b]\n",
            "a = 1999-01-01\n",
            "a = 0x1f\n",
            "a = 01\n",
            "a = 01.5\n",
            "a = 1.\n",
            "a = .5\n",
            "a = 1e3\n",
            "a = +1.5\n",
            "a = 1_0.5\n",
            "a = nan\n",
            "a = \"\"\"x\"\"\"\n",
            "a = \"\"\"\"\"\"\n",
            "a =  \n",
            "a = \"\\u0041\"\n",
            "a = 1 b = 2\n",
            "a = 1\r",
            "a = [1 2]\n",
            "a = [,]\n",
            "a = 1 # \u{1}\n",
            "a =\n",
            "[a] b = 1\n",
            "a = \"x\n",
            &many,
            &deep,
        ] {
            assert!(!is_direct(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn read_directly_a_text_says_the_same(
            lines in prop::collection::vec(
                prop_oneof![
                    "\\[[ab]( ?\\. ?[abc]){0,2}\\]",
                    "[abcd](\\.[abcd]){0,2} = (1|-2|0x3|007|0.25|-1.5|1.|.5|1e3|1.5e3|00.5|nan|inf|\"x\"|\"\\\\t\"|'y'|1.5|true|false|9999999999999999999|\"\"\"a\"\"\"|\"\"|\\[\\]|\\{\\})",
                    "[abcd] = \\{ ?[ab](\\.[ab])? = 1, [bc] = \\[ ?2, \\{ x = 3 \\},? ?\\] \\}",
                    "(\\[\\[a\\]\\]|# x|\\[a|x = |x = \\[|1,|\\] ?#|)",
                    "[\\[\\]{}a.=,\"'# 0\r\t\\\\]{0,9}",
                ],
                0..7,
            ),
        ) {
            is_direct(&lines.join("\n"));
        }
    }
}
