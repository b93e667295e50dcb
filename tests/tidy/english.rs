//! The English of comments, messages and documentation, by two numbers that can only fall.
//!
//! Sentences with a free relative ("what comes", "who asks") are hard to read for people whose first language is not
//! English. So this counts the words what, who and whose per 100 sentences, and the sentences that begin with one of
//! them. Questions may begin so.

use std::collections::BTreeMap;
use std::fs;

use super::ledger::Ledger;
use super::report;
use super::source::{Source, files, root, sources};

/// An area may have this many such words per 100 sentences without a line in `english.txt`.
const WORDS_PER_100_MAX: f64 = 3.0;

/// A line must be lowered when the number is below this share of it. The slack lets people work side by side.
const SLACK: f64 = 0.8;

/// The counts of one area.
#[derive(Default)]
struct Count {
    sentences: u32,
    words: u32,
    beginnings: u32,
}

impl Count {
    fn add(&mut self, text: &str) {
        for sentence in sentences(text) {
            let words: Vec<String> = sentence
                .split(|c: char| !c.is_alphabetic())
                .filter(|word| !word.is_empty())
                .map(str::to_lowercase)
                .collect();
            let Some(first) = words.first() else { continue };
            let is_relative = |word: &String| matches!(word.as_str(), "what" | "who" | "whose");
            self.sentences += 1;
            self.words += words.iter().map(|word| u32::from(is_relative(word))).sum::<u32>();
            self.beginnings += u32::from(is_relative(first) && !sentence.ends_with('?'));
        }
    }

    fn per_100(&self) -> f64 {
        // One decimal is as exact as the table.
        (f64::from(self.words) * 1000.0 / f64::from(self.sentences.max(1))).round() / 10.0
    }
}

#[test]
fn the_english_only_gets_plainer() {
    let counts = count_all();
    let found = counts
        .iter()
        .flat_map(|(area, count)| {
            let words = (format!("{area} words"), count.per_100());
            [words, (format!("{area} beginnings"), f64::from(count.beginnings))]
        })
        .filter(|(name, number)| !name.ends_with("words") || *number >= WORDS_PER_100_MAX)
        .collect();
    report(&Ledger::open("english.txt").check(
        &found,
        |allowed, number| number < allowed * SLACK,
        "write \"the peer that\", \"whether\", \"the bytes that\" in place of what, who and whose",
    ));
}

fn count_all() -> BTreeMap<&'static str, Count> {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for source in sources().iter().filter(|source| !source.name.starts_with("tests/tidy")) {
        let count = counts.entry(source.area()).or_default();
        for paragraph in paragraphs(source) {
            count.add(&paragraph);
        }
    }
    // A text with a space in it is for people.
    let count = counts.entry("messages").or_default();
    for source in sources().iter().filter(|source| !source.is_test) {
        for text in source.strings.iter().filter(|text| text.trim().contains(' ')) {
            count.add(&text.replace("\\n", " "));
        }
    }
    let count = counts.entry("docs").or_default();
    let pages = files(&["docs"], "md");
    for page in
        pages.iter().map(String::as_str).chain(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
    {
        let text = fs::read_to_string(root().join(page)).unwrap_or_default();
        for paragraph in markdown(text.lines()) {
            count.add(&paragraph);
        }
    }
    counts
}

/// The comments of a file, joined as far as they belong together.
fn paragraphs(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    let mut last = (0, "");
    for comment in &source.comments {
        if last != (comment.line - 1, comment.marker) {
            found.extend(markdown(block.drain(..)));
        }
        block.push(&comment.text);
        last = (comment.line, comment.marker);
    }
    found.extend(markdown(block.into_iter()));
    found
}

/// The paragraphs, headings, list items and table cells of a text, without code.
fn markdown<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut is_code = false;
    for line in lines.map(str::trim) {
        if line.starts_with("```") {
            is_code = !is_code;
            found.push(String::new());
        } else if is_code {
        } else if line.is_empty() || line.starts_with('#') {
            found.extend([line.to_owned(), String::new()]);
        } else if line.starts_with('|') {
            found.extend(line.split('|').map(str::to_owned));
            found.push(String::new());
        } else {
            if line.starts_with("- ") || line.starts_with("* ") {
                found.push(String::new());
            }
            let paragraph = found.last_mut().unwrap();
            paragraph.push_str(line);
            paragraph.push(' ');
        }
    }
    found
}

/// The sentences of a paragraph. Code in backquotes counts as one word without a meaning.
fn sentences(paragraph: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for (index, part) in paragraph.split('`').enumerate() {
        if index % 2 == 1 {
            found.last_mut().unwrap().push_str("code");
            continue;
        }
        let mut rest = part;
        // A stop, a question mark or an exclamation mark ends a sentence only before a space.
        while let Some(end) = [". ", "? ", "! "].iter().filter_map(|end| rest.find(end)).min() {
            found.last_mut().unwrap().push_str(&rest[..=end]);
            found.push(String::new());
            rest = &rest[end + 2..];
        }
        found.last_mut().unwrap().push_str(rest);
    }
    found.iter().map(|sentence| sentence.trim().to_owned()).collect()
}

#[test]
fn words_and_beginnings_are_counted() {
    let mut count = Count::default();
    for paragraph in markdown(
        ["What is `who`? Who asks", "gets it. A peer that", "", "| whose | it |"].into_iter(),
    ) {
        count.add(&paragraph);
    }
    assert_eq!((count.sentences, count.words, count.beginnings), (5, 3, 2));
}
