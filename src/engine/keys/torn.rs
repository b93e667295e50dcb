//! Reads a text that is not TOML as far as it can be read, so that one slip of the pen does not hide
//! all other mistakes.
//!
//! The text is cut into statements: a header, or a key with its value. Each is read alone. Statements
//! with a mistake are blanked out, a header together with the keys below it, and the rest is read.
//!
//! Invariant: items of the rest have the places that they have in the text.

use std::ops::Range;

use ::toml::de::{DeTable, Error};

use super::diagnostic::{DIAGNOSTICS_SHOWN_MAX, Diagnostic, Texts};
use super::item::{Item, ItemEntry, ItemKind, ItemText};
use super::source::Span;
use super::toml;

/// The mistakes of a text that is not TOML, and the items in the rest of it.
pub(crate) struct Torn {
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) entries: Vec<ItemEntry<'static>>,
}

/// Reads the text with number `source`, of which `error` is the first mistake.
pub(crate) fn read(texts: &Texts, source: u32, text: &str, error: &Error) -> Torn {
    // An error without a place is about the end of the text.
    let range = error.span().unwrap_or(text.len()..text.len());
    let alone = |what: String, range: Range<usize>, cure: &str| Torn {
        diagnostics: vec![Diagnostic::error(texts, Span::new(source, range), what).cured_by(cure)],
        entries: Vec::new(),
    };
    if TOO_DEEP.iter().any(|too| error.message().starts_with(too)) {
        let what = "lists and tables are nested too deeply".to_owned();
        return alone(what, range, "the deepest configuration nests them five deep");
    }
    if let Some((language, line)) = other_language(text) {
        let what = format!("this is {language}, and a configuration is TOML");
        return alone(
            what,
            line,
            "write sections in brackets and keys as key = \"value\": see config/minimal.toml",
        );
    }
    if text.len() > RECOVERED_BYTES_MAX {
        return alone(message(error), range, OTHER_CURE);
    }
    Recovery { texts, source, text, rest: text.into(), diagnostics: Vec::new() }.run()
}

/// Longer texts are not cut into statements: a text can have a mistake in every byte.
const RECOVERED_BYTES_MAX: usize = 1024 * 1024;

/// So many mistakes between statements, such as keys that are written twice, are found.
const ROUNDS_MAX: usize = 32;

/// So much is read in all rounds together.
const BYTES_READ_MAX: usize = 4 * RECOVERED_BYTES_MAX;

/// How the parser says that it does not go deeper.
const TOO_DEEP: [&str; 2] = ["cannot recurse further", "recursion limit"];

/// The message of the parser on one line.
fn message(error: &Error) -> String {
    error.message().trim().replace('\n', ", ")
}

struct Recovery<'t> {
    texts: &'t Texts,
    source: u32,
    text: &'t str,
    /// The text, with blanks in place of the statements that cannot be read.
    rest: Vec<u8>,
    diagnostics: Vec<Diagnostic>,
}

impl Recovery<'_> {
    fn run(mut self) -> Torn {
        let statements = statements(self.text);
        let mut under_broken_header = false;
        for statement in &statements {
            let error = self.error_of(statement);
            if statement.is_header {
                under_broken_header = error.is_some();
            }
            if error.is_some() || under_broken_header {
                self.blank(statement.range.clone());
            }
            if let Some(error) = error {
                self.report(&error, statement);
            }
        }
        let entries = self.read_rest(&statements);
        Torn { diagnostics: self.diagnostics, entries }
    }

    /// The mistake of a statement alone.
    fn error_of(&self, statement: &Statement) -> Option<Error> {
        let text = self.text.get(statement.range.clone())?;
        DeTable::parse(text).err()
    }

    /// Reads all sound statements together. Each round finds one mistake that lies between two of
    /// them, and takes the second one out.
    fn read_rest(&mut self, statements: &[Statement]) -> Vec<ItemEntry<'static>> {
        let rounds = BYTES_READ_MAX / self.rest.len().max(1);
        for _ in 0..rounds.clamp(1, ROUNDS_MAX) {
            // Statements begin and end with their lines, so no letter is blanked in part.
            let Ok(rest) = std::str::from_utf8(&self.rest) else { break };
            let error = match toml::read(self.source, rest) {
                Ok(entries) => return entries.into_iter().map(owned_entry).collect(),
                Err(error) => error,
            };
            let at = error.span().map_or(self.rest.len(), |span| span.start);
            let Some(index) = statements.iter().position(|it| it.range.contains(&at)) else {
                break;
            };
            let Some(statement) = statements.get(index) else { break };
            let whole = Statement { range: 0..self.text.len(), is_header: statement.is_header };
            self.report(&error, &whole);
            self.blank(statement.range.clone());
            if statement.is_header {
                let below = statements.iter().skip(index + 1).take_while(|it| !it.is_header);
                below.for_each(|it| self.blank(it.range.clone()));
            }
        }
        Vec::new()
    }

    /// Puts blanks in the place of a statement, byte for byte, so that places stay.
    fn blank(&mut self, range: Range<usize>) {
        let statement = self.rest.get_mut(range).unwrap_or_default();
        statement.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }

    fn report(&mut self, error: &Error, statement: &Statement) {
        if self.diagnostics.len() >= DIAGNOSTICS_SHOWN_MAX {
            return;
        }
        let start = statement.range.start;
        let text = self.text.get(statement.range.clone()).unwrap_or_default();
        let range = error.span().unwrap_or(text.len()..text.len());
        let what = message(error);
        let cure = cure(text, statement.is_header, &what);
        let span = Span::new(self.source, start + range.start..start + range.end);
        self.diagnostics.push(Diagnostic::error(self.texts, span, what).cured_by(cure));
    }
}

/// A header, or a key with its value.
struct Statement {
    range: Range<usize>,
    is_header: bool,
}

/// Cuts a text into statements. A list or a table may go over several lines, unless a header comes
/// before its end: then it lacks its end, and each key stands alone.
fn statements(text: &str) -> Vec<Statement> {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        lines.push((at, line));
        at += line.len();
    }
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(&(start, line)) = lines.get(index) {
        let first = index;
        index += 1;
        if is_blank(line) {
            continue;
        }
        let is_header = line.trim_start().starts_with('[');
        if !is_header {
            let mut state = Nesting::default();
            state.line(line);
            let mut last = index;
            while state.is_open()
                && let Some((_, line)) = lines.get(last).filter(|(_, line)| !is_header_inside(line))
            {
                state.line(line);
                last += 1;
            }
            if state.is_open() {
                // It has no end. It goes on up to the next line that looks like a key.
                let rest = lines.iter().skip(first + 1);
                let own = rest.take_while(|(_, line)| !is_header_inside(line) && !is_key(line));
                last = first + 1 + own.count();
            }
            index = last;
        }
        let end = lines.get(index).map_or(text.len(), |(start, _)| *start);
        found.push(Statement { range: start..end, is_header });
    }
    found
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Whether a line in the middle of a list is rather a header: `[a.b]`.
fn is_header_inside(line: &str) -> bool {
    let line = line.trim_start();
    let name = line.trim_start_matches('[');
    name.len() < line.len()
        && name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
        && !name.contains(['=', ',', '"'])
}

/// Whether a line begins with a key: `a.b =`.
fn is_key(line: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else { return false };
    let key = key.trim();
    let of_key = |it: char| it.is_ascii_alphanumeric() || "_-.\"' ".contains(it);
    !key.is_empty() && key.chars().all(of_key)
}

/// How deep a text is inside of lists, tables and long strings.
#[derive(Default)]
struct Nesting {
    depth: usize,
    /// The quotes that end the long string.
    long: Option<&'static str>,
}

impl Nesting {
    fn is_open(&self) -> bool {
        self.depth > 0 || self.long.is_some()
    }

    /// Goes over a line.
    fn line(&mut self, line: &str) {
        let mut rest = line;
        while !rest.is_empty() {
            if let Some(quotes) = self.long {
                let Some((_, behind)) = rest.split_once(quotes) else { return };
                (self.long, rest) = (None, behind);
                continue;
            }
            if let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(|it| rest.starts_with(*it)) {
                self.long = Some(quotes);
                rest = rest.get(quotes.len()..).unwrap_or_default();
                continue;
            }
            let mut letters = rest.chars();
            match letters.next() {
                Some('#') => return,
                Some('[' | '{') => self.depth += 1,
                Some(']' | '}') => self.depth = self.depth.saturating_sub(1),
                Some(quote @ ('"' | '\'')) => {
                    // A string without an end ends with its line.
                    let mut escaped = false;
                    letters.by_ref().find(|&letter| {
                        let ends = letter == quote && !escaped;
                        escaped = letter == '\\' && quote == '"' && !escaped;
                        ends
                    });
                }
                _ => {}
            }
            rest = letters.as_str();
        }
    }
}

/// The cure when no better one is known.
const OTHER_CURE: &str = "write key = value, with strings in double quotes";

/// Beginnings of messages of the parser, and their cures.
const CURES: &[(&str, &str)] = &[
    ("duplicate key", "leave one of them out"),
    ("cannot extend value", "leave one of them out: the key has a value already"),
    ("key with no value", "write key = value"),
    ("unclosed table", "close it with ]"),
    ("unclosed array", "close it with ]"),
    ("unclosed inline table", "close it with }"),
    ("missing comma", "write a comma between the two"),
    ("invalid inline table element", "write a comma between the two, or close the table with }"),
    ("extra comma", "leave the comma out"),
    ("missing key", "write a key in front of ="),
    ("missing escaped value", "write \\\\ for a backslash"),
    ("invalid escape", "write \\\\ for a backslash, or put the string in single quotes"),
];

/// How to mend a statement: the first small change that makes it TOML.
fn cure(statement: &str, is_header: bool, message: &str) -> String {
    let statement = statement.trim_end();
    let is_sound = |text: &str| DeTable::parse(text).is_ok();
    let known = || CURES.iter().find(|(begins, _)| message.starts_with(begins));
    if let Some((_, cure)) = known().filter(|_| statement.contains('\n')) {
        return (*cure).to_owned();
    }
    if let Some(control) = statement.chars().find(|it| it.is_control() && !"\n\r\t".contains(*it)) {
        return format!("take the character {} out", control.escape_unicode());
    }
    if statement.contains(['“', '”', '„', '‘', '’']) {
        return "write straight quotes: \"\"".to_owned();
    }
    if let Some(shorter) = statement.strip_suffix([';', ',']).filter(|it| is_sound(it)) {
        let end = statement.get(shorter.len()..).unwrap_or_default();
        return format!("leave the {end} at the end out");
    }
    for end in ["]", "]]", "}", "\"", "'", "\"]", "\" }", "] }"] {
        if is_sound(&format!("{statement}{end}")) {
            return format!("close it with {end}");
        }
    }
    if is_header {
        return known()
            .map_or("write a header as [name] or [name.name]", |(_, cure)| cure)
            .to_owned();
    }
    let Some((key, value)) = statement.split_once('=') else {
        let sign = [':', ' '].into_iter().find_map(|sign| statement.split_once(sign));
        return match sign.map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if is_sound(&format!("{key} = {value}")) => {
                format!("write {key} = {value}")
            }
            Some((key, value)) if is_sound(&format!("{key} = \"{value}\"")) => {
                format!("write {key} = \"{value}\"")
            }
            _ => "write key = value".to_owned(),
        };
    };
    let value = value.trim();
    if value.is_empty() {
        return "write a value behind the =".to_owned();
    }
    let lower = value.to_ascii_lowercase();
    if matches!(&*lower, "true" | "false") {
        return format!("write {lower}");
    }
    let plain = !value.contains(['"', '\'', '\\', '[', ']', '{', '}']);
    if plain && is_sound(&format!("{key}= \"{value}\"")) {
        return format!("write it in double quotes: \"{value}\"");
    }
    known().map_or(OTHER_CURE, |(_, cure)| cure).to_owned()
}

/// The language that a text seems to be written in, if it has no line of TOML, and the line that
/// shows it.
fn other_language(text: &str) -> Option<(&'static str, Range<usize>)> {
    let mut at = 0;
    let mut found = None;
    for line in text.split_inclusive('\n') {
        let start = at + line.len() - line.trim_start().len();
        at += line.len();
        let line = line.trim();
        if is_blank(line) || line.starts_with("//") || line.starts_with("---") {
            continue;
        }
        let range = start..start + line.len();
        if is_key(line) || line.starts_with('[') {
            return None;
        }
        let first = line.split([' ', '\t']).next().unwrap_or_default();
        let language = if line.starts_with('{') {
            Some("JSON")
        } else if line.starts_with('<') {
            Some("XML")
        } else if line.ends_with(';') || line.ends_with('{') {
            Some("the syntax of nginx")
        } else if matches!(line, "global" | "defaults") || matches!(first, "frontend" | "backend") {
            Some("the syntax of HAProxy")
        } else if line.contains(": ") || line.ends_with(':') {
            Some("YAML")
        } else {
            None
        };
        found = found.or_else(|| language.map(|language| (language, range)));
    }
    found
}

fn owned_entry(entry: ItemEntry<'_>) -> ItemEntry<'static> {
    let ItemEntry { key, key_span, value } = entry;
    ItemEntry { key: key.into_owned().into(), key_span, value: owned(value) }
}

fn owned(item: Item<'_>) -> Item<'static> {
    let kind = match item.kind {
        ItemKind::Text(ItemText { value, secret }) => {
            ItemKind::Text(ItemText { value: value.into_owned().into(), secret })
        }
        ItemKind::List(items) => ItemKind::List(items.into_iter().map(owned).collect()),
        ItemKind::Table(entries) => ItemKind::Table(entries.into_iter().map(owned_entry).collect()),
        ItemKind::Integer(number) => ItemKind::Integer(number),
        ItemKind::Fraction(number) => ItemKind::Fraction(number),
        ItemKind::Boolean(value) => ItemKind::Boolean(value),
        ItemKind::Date => ItemKind::Date,
        ItemKind::Broken => ItemKind::Broken,
    };
    Item { span: item.span, kind }
}
