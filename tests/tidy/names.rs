//! Names: one type per name, and no public item that nothing uses.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Ledger;
use super::report;
use super::source::{Source, sources, words};

/// Public items that nothing names yet, and the reason to keep them.
const MEANT: &[(&str, &str)] = &[
    ("matches_any", "a form of values for whatever may be there several times"),
    ("remote_addr", "may go: not even a test uses it"),
];

#[test]
fn a_type_name_has_one_meaning() {
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for source in
        sources().iter().filter(|source| source.name.starts_with("src/") && !source.is_test)
    {
        for (keyword, name) in definitions(source) {
            if matches!(keyword, "struct" | "enum" | "trait" | "type" | "union") {
                *found.entry(name.to_owned()).or_default() += 1.0;
            }
        }
    }
    found.retain(|_, times| *times > 1.0);
    report(&Ledger::open("names.txt").check(
        &found,
        |_, _| true,
        "give one of the types another name, or make them one type",
    ));
}

#[test]
fn every_public_item_is_used() {
    let mut used: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    // A unit test alone is no reason for an item to be there, unless the item is a tool of tests.
    let is_unit_test = |source: &&Source| {
        source.is_test && source.name.starts_with("src/") && !source.name.contains("/sim/")
    };
    for source in sources().iter().filter(|source| !is_unit_test(source)) {
        for (_, word) in words(&source.shipped) {
            *used.entry(word).or_default().entry(&source.name).or_default() += 1;
        }
    }
    let mut problems = Vec::new();
    let mut meant: BTreeSet<&str> = MEANT.iter().map(|(name, _)| *name).collect();
    for source in
        sources().iter().filter(|source| !source.is_test && !source.name.ends_with("main.rs"))
    {
        for (name, line) in public(source) {
            let places = &used[name];
            // A definition is one occurrence of its own name.
            if places.len() == 1 && places[source.name.as_str()] == 1 && !meant.remove(name) {
                problems.push(format!("{}:{line}: nothing uses `{name}`", source.name));
            }
        }
    }
    problems.extend(
        meant.iter().map(|name| format!("`{name}` is used, or gone; take it off the list")),
    );
    report(&problems);
}

const KEYWORDS: &[&str] = &["fn", "struct", "enum", "trait", "type", "union", "const", "static"];

/// The keyword and name of each definition outside of functions' signatures.
fn definitions(source: &Source) -> impl Iterator<Item = (&str, &str)> {
    let all: Vec<(usize, &str)> = words(&source.shipped).collect();
    (1..all.len()).filter_map(move |index| {
        let ((place, keyword), (at, name)) = (all[index - 1], all[index]);
        // Types that belong to a trait are indented and have one name in each implementation.
        let line = &source.shipped[..place].rsplit('\n').next().unwrap();
        let is_inner = keyword == "type" && line.starts_with(' ');
        // A macro fills in the name.
        let is_filled_in = source.shipped[..at].ends_with('$');
        (KEYWORDS.contains(&keyword) && !is_inner && !is_filled_in).then_some((keyword, name))
    })
}

/// The names of `pub` items, with their lines.
fn public(source: &Source) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (index, line) in source.shipped.lines().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
        let mut parts =
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty());
        while let Some(part) = parts.next() {
            if !KEYWORDS.contains(&part) && !matches!(part, "async" | "unsafe") {
                break;
            }
            let mut rest = parts.clone();
            if let Some(name) = rest.next()
                && KEYWORDS.contains(&part)
                && !KEYWORDS.contains(&name)
            {
                found.push((name, index + 1));
                break;
            }
        }
    }
    found
}
