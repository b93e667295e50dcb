//! TOML as most people write it, straight into the tree.
//!
//! The `toml` crate makes tokens, events and maps before there is a tree. With thousands of routes
//! that is most of the cost of a change. Here the plain part of TOML is read in one pass over the
//! bytes: headers, keys (bare, quoted, dotted), strings on one line, decimal numbers, booleans,
//! lists and inline tables.
//!
//! Left to the `toml` crate, so that there is one TOML and not two: every text with a mistake in
//! it, because that crate has the words for it; and rare syntax, from strings on several lines to
//! arrays of tables. [`entries`] returns `None` for them. It is then slower, and nothing else.
//!
//! Invariant: [`entries`] returns the same as the `toml` crate, spans included.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::item::{Item, ItemEntry, ItemKind, ItemText};
use super::source::Span;

/// The text with number `source` as a table.
pub(super) fn entries(source: u32, text: &str) -> Option<Vec<ItemEntry<'_>>> {
    let mut scanner = TomlScanner { source, text, at: 0 };
    let mut tables = HeaderTables::new();
    loop {
        scanner.blank_lines();
        match scanner.peek() {
            None => return Some(tables.tree()),
            Some(b'[') => {
                let start = scanner.at;
                scanner.at += 1;
                let path = scanner.path()?;
                scanner.expect(b']')?;
                let span = scanner.span(start);
                tables.enter(path, span)?;
            }
            Some(_) => {
                let path = scanner.path()?;
                scanner.expect(b'=')?;
                scanner.spaces();
                let value = scanner.value(0)?;
                tables.add(path, value)?;
            }
        }
        scanner.end_of_line()?;
    }
}

/// Plain keys of one table: they are compared with each other.
const KEYS_MAX: usize = 64;
/// Steps of one key, and values within values. The deepest configuration nests them five deep.
const DEPTH_MAX: usize = 16;

/// A step of a key, and its place.
type KeyPart<'t> = (Cow<'t, str>, Span);

/// A key: the steps before the last one, which are mostly none, and the last one.
type DottedKey<'t> = (Vec<KeyPart<'t>>, KeyPart<'t>);

/// A place in the text. Each method reads one thing, and says `None` if it is not there or not
/// plain.
struct TomlScanner<'t> {
    source: u32,
    text: &'t str,
    at: usize,
}

impl<'t> TomlScanner<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// From `start` to here.
    fn span(&self, start: usize) -> Span {
        Span::new(self.source, start..self.at)
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
    }

    fn spaces(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Spaces, comments and ends of lines. A mistake in them is found by the next step.
    fn blank_lines(&mut self) {
        loop {
            self.skip(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
            match self.peek() {
                Some(b'#') => self.comment(),
                Some(b'\r') if self.text.as_bytes().get(self.at + 1) == Some(&b'\n') => {
                    self.at += 2;
                }
                _ => return,
            }
        }
    }

    fn comment(&mut self) {
        self.skip(is_text);
    }

    fn end_of_line(&mut self) -> Option<()> {
        self.spaces();
        if self.peek() == Some(b'#') {
            self.comment();
        }
        matches!(self.peek(), None | Some(b'\n' | b'\r')).then_some(())
    }

    /// A key with the spaces around its steps.
    fn path(&mut self) -> Option<DottedKey<'t>> {
        let mut before = Vec::new();
        loop {
            self.spaces();
            let step = self.step()?;
            self.spaces();
            if self.peek() != Some(b'.') {
                return Some((before, step));
            }
            if before.len() >= DEPTH_MAX {
                return None;
            }
            self.at += 1;
            before.push(step);
        }
    }

    fn step(&mut self) -> Option<KeyPart<'t>> {
        let start = self.at;
        let key = match self.peek()? {
            b'"' => self.basic()?,
            b'\'' => self.literal()?,
            _ => {
                self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
                Cow::Borrowed(self.text.get(start..self.at).filter(|key| !key.is_empty())?)
            }
        };
        Some((key, self.span(start)))
    }

    fn value(&mut self, depth: usize) -> Option<Item<'t>> {
        if depth > DEPTH_MAX {
            return None;
        }
        let start = self.at;
        let text = |value| ItemKind::Text(ItemText { value, secret: false });
        let kind = match self.peek()? {
            b'"' => text(self.basic()?),
            b'\'' => text(self.literal()?),
            b'[' => ItemKind::List(self.list(depth)?),
            b'{' => ItemKind::Table(self.table(depth)?),
            _ => self.word()?,
        };
        Some(Item { span: self.span(start), kind })
    }

    /// A string that stands for itself.
    fn literal(&mut self) -> Option<Cow<'t, str>> {
        self.expect(b'\'')?;
        let start = self.at;
        self.skip(|byte| byte != b'\'' && is_text(byte));
        let text = self.text.get(start..self.at)?;
        self.expect(b'\'')?;
        // Two quotes in a row begin a string on several lines if there is a third.
        let is_long = text.is_empty() && self.peek() == Some(b'\'');
        (!is_long).then_some(Cow::Borrowed(text))
    }

    /// A string with escapes, of which the short ones are read.
    fn basic(&mut self) -> Option<Cow<'t, str>> {
        self.expect(b'"')?;
        let mut whole = Cow::Borrowed("");
        loop {
            let start = self.at;
            self.skip(|byte| !matches!(byte, b'"' | b'\\') && is_text(byte));
            whole += self.text.get(start..self.at)?;
            let end = self.peek()?;
            self.at += 1;
            if end == b'"' {
                let is_long = whole.is_empty() && self.peek() == Some(b'"');
                return (!is_long).then_some(whole);
            }
            if end != b'\\' {
                return None;
            }
            whole += match self.peek()? {
                b'n' => "\n",
                b't' => "\t",
                b'r' => "\r",
                b'"' => "\"",
                b'\\' => "\\",
                _ => return None,
            };
            self.at += 1;
        }
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Item<'t>>> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blank_lines();
            if self.peek()? == b']' {
                self.at += 1;
                return Some(items);
            }
            items.push(self.value(depth + 1)?);
            self.blank_lines();
            if self.peek()? != b']' {
                self.expect(b',')?;
            }
        }
    }

    /// An inline table on one line.
    fn table(&mut self, depth: usize) -> Option<Vec<ItemEntry<'t>>> {
        self.at += 1;
        let mut entries = Vec::new();
        self.spaces();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(entries);
        }
        loop {
            let path = self.path()?;
            self.expect(b'=')?;
            self.spaces();
            let value = self.value(depth + 1)?;
            insert(&mut entries, path, value)?;
            self.spaces();
            if self.peek()? == b'}' {
                self.at += 1;
                return Some(entries);
            }
            self.expect(b',')?;
        }
    }

    /// A decimal number, with or without a fraction, or a boolean.
    fn word(&mut self) -> Option<ItemKind<'t>> {
        let start = self.at;
        self.skip(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'#' | b',' | b']' | b'}'));
        let word = self.text.get(start..self.at)?;
        if matches!(word, "true" | "false") {
            return Some(ItemKind::Boolean(word == "true"));
        }
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let number = word.strip_prefix('-').unwrap_or(word);
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        let sound = digits(whole) && (whole.len() == 1 || !whole.starts_with('0'));
        match fraction {
            None => sound.then(|| ItemKind::Integer(word.parse().ok())),
            Some(fraction) if sound && digits(fraction) => {
                word.parse().ok().map(ItemKind::Fraction)
            }
            Some(_) => None,
        }
    }
}

/// Whether a byte may stand in a string or a comment.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// The root, and every table that a header names or implies.
struct HeaderTables<'t> {
    /// Those around a table go before it; the root is the first.
    all: Vec<HeaderTable<'t>>,
    /// Their numbers, by that of the table around them and their key.
    numbers: HashMap<(u32, Cow<'t, str>), u32, FixedState>,
    /// The table that keys go into.
    current: u32,
}

#[derive(Default)]
struct HeaderTable<'t> {
    around: u32,
    key: Cow<'t, str>,
    key_span: Span,
    span: Span,
    /// A header names it; others are implied by a header of a table in them.
    named: bool,
    has_tables: bool,
    /// Its plain keys.
    entries: Vec<ItemEntry<'t>>,
    /// The tables in it, the last one first.
    inner: Vec<ItemEntry<'t>>,
}

/// The number of the root.
const ROOT: u32 = 0;

impl<'t> HeaderTables<'t> {
    fn new() -> Self {
        Self { all: vec![HeaderTable::default()], numbers: HashMap::default(), current: ROOT }
    }

    /// Goes to the table that a header names.
    fn enter(&mut self, (before, last): DottedKey<'t>, span: Span) -> Option<()> {
        let mut number = ROOT;
        for step in before {
            number = self.step(number, step)?;
        }
        let key_span = last.1;
        number = self.step(number, last)?;
        let table = self.all.get_mut(number as usize)?;
        if table.named {
            return None;
        }
        (table.named, table.key_span, table.span) = (true, key_span, span);
        self.current = number;
        Some(())
    }

    /// The table `key` in the table `around`, made if it is not there yet.
    fn step(&mut self, around: u32, (key, key_span): KeyPart<'t>) -> Option<u32> {
        let new = u32::try_from(self.all.len()).ok()?;
        let number = *self.numbers.entry((around, key.clone())).or_insert(new);
        if number == new {
            let outer = self.all.get_mut(around as usize)?;
            if outer.entries.iter().any(|entry| entry.key == key) {
                return None;
            }
            outer.has_tables = true;
            self.all.push(HeaderTable {
                around,
                key,
                key_span,
                span: key_span,
                ..HeaderTable::default()
            });
        }
        Some(number)
    }

    /// Puts a value where it belongs.
    fn add(&mut self, path: DottedKey<'t>, value: Item<'t>) -> Option<()> {
        let table = self.all.get_mut(self.current as usize)?;
        if table.has_tables {
            let (before, last) = &path;
            let (key, _) = before.first().unwrap_or(last);
            if self.numbers.contains_key(&(self.current, key.clone())) {
                return None;
            }
        }
        insert(&mut table.entries, path, value)
    }

    /// Puts every table into the one around it.
    fn tree(mut self) -> Vec<ItemEntry<'t>> {
        loop {
            let Some(table) = self.all.pop() else { return Vec::new() };
            let mut entries = table.entries;
            entries.extend(table.inner.into_iter().rev());
            if !entries.is_sorted_by_key(|entry| entry.key_span) {
                entries.sort_unstable_by_key(|entry| entry.key_span);
            }
            let Some(around) = self.all.get_mut(table.around as usize) else { return entries };
            let value = Item { span: table.span, kind: ItemKind::Table(entries) };
            around.inner.push(ItemEntry { key: table.key, key_span: table.key_span, value });
        }
    }
}

/// Adds a key. `None` if it is there already, or too much is.
fn insert<'t>(
    entries: &mut Vec<ItemEntry<'t>>,
    path: DottedKey<'t>,
    value: Item<'t>,
) -> Option<()> {
    let mut entries = entries;
    let (before, (key, key_span)) = path;
    for (key, key_span) in before {
        let at = match entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None if entries.len() < KEYS_MAX => {
                let value = Item { span: key_span, kind: ItemKind::Table(Vec::new()) };
                entries.push(ItemEntry { key, key_span, value });
                entries.len() - 1
            }
            None => return None,
        };
        let entry = entries.get_mut(at)?;
        // Only tables that came to be in this way have the place of their key.
        if entry.value.span != entry.key_span {
            return None;
        }
        let ItemKind::Table(inner) = &mut entry.value.kind else { return None };
        entries = inner;
    }
    if entries.len() >= KEYS_MAX || entries.iter().any(|entry| entry.key == key) {
        return None;
    }
    if entries.capacity() == 0 {
        // Most tables are small, and there are many of them.
        entries.reserve_exact(2);
    }
    entries.push(ItemEntry { key, key_span, value });
    Some(())
}
