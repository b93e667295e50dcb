//! A source file taken apart for the rules: code without comments, strings and unit tests, and the comments.
//!
//! This is a lexer, not a parser. It knows only enough Rust to tell code from text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One `.rs` file of the project.
pub(crate) struct Source {
    /// The path from the root of the project.
    pub(crate) name: String,
    /// The text as it is in the file.
    pub(crate) text: String,
    /// The text with blanks in place of comments and strings. Lines keep their numbers.
    pub(crate) code: String,
    /// The code with blanks in place of `#[cfg(test)]` items too.
    pub(crate) shipped: String,
    /// The comments: one entry per line, with the marker (`//`, `///` or `//!`).
    pub(crate) comments: Vec<Comment>,
    /// The texts in double quotes, where each begins, without those of `#[cfg(test)]` items.
    pub(crate) strings: Vec<String>,
    /// The whole file is test code.
    pub(crate) is_test: bool,
}

/// The comment on one line.
pub(crate) struct Comment {
    pub(crate) line: usize,
    pub(crate) marker: &'static str,
    pub(crate) text: String,
}

impl Source {
    fn new(name: String, text: String) -> Self {
        let (code, comments, strings) = split(&text);
        let shipped = without_tests(&code);
        // The quote that opens a string is left in the code. It is blank where the string belongs to a test.
        let strings = strings
            .into_iter()
            .filter(|(at, _)| shipped.as_bytes()[*at] == b'"')
            .map(|(_, text)| text)
            .collect();
        let is_test = !name.starts_with("src/") && !name.starts_with("bench/")
            || name.ends_with("/tests.rs")
            || name.contains("/tests/");
        Self { name, text, code, shipped, comments, strings, is_test }
    }

    /// The crate of the file, as its folder: `src/worker`. The root package is `src/cli`.
    pub(crate) fn area(&self) -> &'static str {
        for area in ["src/proto", "src/engine", "src/worker", "src/control", "bench", "tests"] {
            if self.name.starts_with(area) {
                return area;
            }
        }
        "src/cli"
    }
}

/// The root of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources in the order of their names.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let mut found: Vec<Source> = files(&["src", "bench", "tests"], "rs")
            .into_iter()
            .map(|name| {
                let text = fs::read_to_string(root().join(&name)).unwrap();
                Source::new(name, text)
            })
            .collect();
        assert!(found.len() > 40, "the sources were not found");
        // `#[cfg(test)] mod vectors;` makes a test of a file with any name.
        let tests: BTreeSet<String> = found.iter().flat_map(test_modules).collect();
        for source in &mut found {
            source.is_test |= tests.contains(&source.name);
        }
        found
    })
}

/// The files with this extension in these folders, without build output.
pub(crate) fn files(folders: &[&str], extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The folder that holds the submodules of a file: `a/mod.rs` and `a/lib.rs` give `a`, `a/b.rs` gives `a/b`.
pub(crate) fn folder_of(name: &str) -> &str {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder,
        _ => name.trim_end_matches(".rs"),
    }
}

/// The files that this file declares as test modules.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = folder_of(&source.name);
    let mut lines = source.text.lines().map(str::trim).peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let declared = lines.peek().and_then(|next| next.strip_suffix(';'));
        if let Some((_, name)) = declared.and_then(|next| next.rsplit_once("mod ")) {
            found.push(format!("{folder}/{name}.rs"));
            found.push(format!("{folder}/{name}/mod.rs"));
        }
    }
    found
}

/// Takes a text apart into code, with blanks where comments and strings are, comments, and strings with their places.
fn split(text: &str) -> (String, Vec<Comment>, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut comments = Vec::new();
    let mut strings: Vec<(usize, String)> = Vec::new();
    let mut at = 0;
    let mut line = 1;
    let blank = |code: &mut Vec<u8>, from: usize, to: usize| {
        for byte in &mut code[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    while at < bytes.len() {
        let rest = &bytes[at..];
        let starts_word = at == 0 || !is_word(bytes[at - 1]);
        let end = if rest.starts_with(b"//") {
            let end = at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let marker = match rest.get(2) {
                Some(b'!') => "//!",
                Some(b'/') if rest.get(3) != Some(&b'/') => "///",
                _ => "//",
            };
            let text = text[at..end].trim_start_matches(['/', '!']).trim_end().to_owned();
            comments.push(Comment { line, marker, text });
            end
        } else if rest.starts_with(b"/*") {
            at + 2 + find(&rest[2..], b"*/").map_or(rest.len() - 2, |length| length + 2)
        } else if let Some(hashes) = starts_word.then(|| raw_string(rest)).flatten() {
            let mut close = vec![b'"'];
            close.resize(hashes + 1, b'#');
            let open = find(rest, b"\"").unwrap() + 1;
            at + open
                + find(&rest[open..], &close)
                    .map_or(rest.len() - open, |length| length + close.len())
        } else if rest[0] == b'"' {
            at + quoted(rest, b'"')
        } else if rest[0] == b'\'' && is_char(rest) {
            at + quoted(rest, b'\'')
        } else {
            line += usize::from(rest[0] == b'\n');
            at += 1;
            continue;
        };
        line += bytes[at..end].iter().filter(|byte| **byte == b'\n').count();
        blank(&mut code, at, end);
        if let Some(quote) =
            text[at..end].find('"').filter(|_| bytes[at] != b'/' && bytes[at] != b'\'')
        {
            strings.push((at + quote, text[at + quote..end].trim_matches(['"', '#']).to_owned()));
            code[at + quote] = b'"';
        }
        at = end;
    }
    (String::from_utf8(code).unwrap(), comments, strings)
}

/// The number of hashes of a raw string that begins here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let rest = rest.strip_prefix(b"b").unwrap_or(rest).strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// A quote begins a character, not a lifetime.
fn is_char(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(byte) if byte.is_ascii() => rest.get(2) == Some(&b'\''),
        _ => true,
    }
}

/// The length of a quoted text with its quotes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Blanks each item that stands below `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut left = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(at);
        let mut depth = 0_usize;
        let end = item
            .bytes()
            .position(|byte| {
                match byte {
                    b'{' => depth += 1,
                    b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0 && matches!(byte, b'}' | b';')
            })
            .map_or(item.len(), |last| last + 1);
        left.push_str(before);
        left.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    left.push_str(rest);
    left
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// A byte that can be part of a Rust name.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The names and numbers of a piece of code, with their places.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !is_word(bytes[at]) {
            at += 1;
        }
        let start = at;
        while at < bytes.len() && is_word(bytes[at]) {
            at += 1;
        }
        (start < at).then(|| (start, &code[start..at]))
    })
}

#[test]
fn code_and_text_are_told_apart() {
    let (code, comments, strings) =
        split("let a = \"// b\"; // c\n/// d 'e\nlet f: &'g str = r#\"h\"i\"#; 'j'");
    let left: Vec<&str> = words(&code).map(|(_, word)| word).collect();
    assert_eq!(left, ["let", "a", "let", "f", "g", "str"]);
    let found: Vec<(usize, &str, &str)> = comments
        .iter()
        .map(|comment| (comment.line, comment.marker, comment.text.as_str()))
        .collect();
    assert_eq!(found, [(1, "//", " c"), (2, "///", " d 'e")]);
    let texts: Vec<&str> = strings.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["// b", "h\"i"]);
    assert_eq!(
        without_tests("a #[cfg(test)]\nmod b { {} } c").split_whitespace().collect::<Vec<_>>(),
        ["a", "c"]
    );
}
