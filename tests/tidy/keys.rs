//! Keys of the configuration that nothing uses.
//!
//! A unit test of `engine` shows that each key of an object reaches the snapshot. This shows that the code behind the
//! snapshot reads it.

use std::collections::BTreeSet;

use super::report;
use super::source::{Source, sources, words};

/// Files that read keys only to check them.
const CHECKS: &[&str] = &["src/engine/config/check.rs", "src/engine/config/warnings.rs"];

#[test]
fn every_key_is_used() {
    let used: BTreeSet<&str> = sources()
        .iter()
        .filter(|source| source.name.starts_with("src/") && !source.is_test)
        .filter(|source| !CHECKS.contains(&source.name.as_str()))
        .flat_map(fields)
        .collect();
    let mut problems = Vec::new();
    let mut count = 0;
    for source in sources().iter().filter(|it| it.name.starts_with("src/engine/config/")) {
        for name in keys(source) {
            count += 1;
            if !used.contains(name) {
                problems.push(format!("{}: nothing reads the key `{name}`", source.name));
            }
        }
    }
    assert!(count > 50, "the definitions of keys were not found");
    report(&problems);
}

/// The names behind a dot: fields that code reads. Paths of modules have colons.
fn fields(source: &'static Source) -> impl Iterator<Item = &'static str> {
    words(&source.shipped)
        .filter(|(at, _)| source.shipped[..*at].ends_with('.'))
        .map(|(_, word)| word)
}

/// The fields that a section defines: `name: Type => KeyRule`.
fn keys(source: &'static Source) -> impl Iterator<Item = &'static str> {
    let lines = source.shipped.lines().map(str::trim);
    lines.filter_map(|line| {
        let (name, rest) = line.split_once([':', '='])?;
        let is_key = rest.contains("=> KeyRule") || rest.trim_end().ends_with("=>");
        let name = name.trim();
        (is_key && words(name).count() == 1 && name.starts_with(|it: char| it.is_lowercase()))
            .then_some(name)
    })
}
