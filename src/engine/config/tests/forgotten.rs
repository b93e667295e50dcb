//! A key that is read and then forgotten: it changes nothing in the snapshot.

use std::collections::BTreeSet;

use super::*;
use crate::keys::{KeyShape, Section, SectionValue, Shape, Written};

/// Values of keys for which the definition does not show another one than the default.
const OTHERS: &[(&str, &str)] = &[
    ("listeners.a.address", "\"127.0.0.1:7777\""),
    ("listeners.a.trusted_proxies", "[\"10.0.0.0/8\"]"),
    ("listeners.a.tls.certificates", "[\"other\"]"),
    ("upstreams.a.tls.client_certificate", "\"other\""),
    ("upstreams.a.endpoints", "[{ address = \"127.0.0.1:7777\", weight = 2 }]"),
    ("upstreams.a.retry.tries_max", "3"),
    ("upstreams.a.retry.on", "[\"reset\", \"502\"]"),
    ("upstreams.a.balance", "{ hash = \"path\" }"),
    ("consumers.a.api_keys", "[\"0123456789abcdef\"]"),
    ("routes.a.upstream", "\"b\""),
    ("routes.a.upgrades", "[\"tcp\"]"),
    ("routes.a.match.listeners", "[\"a\"]"),
    ("routes.b.match.listeners", "[\"a\"]"),
    ("routes.c.match.listeners", "[\"a\"]"),
    ("routes.b.redirect.to", "\"/elsewhere\""),
    ("routes.c.reply.body", "\"other\""),
    ("routes.c.reply.headers", "{ x = \"y\" }"),
];

/// Keys that only the control thread reads: they do not come to the snapshot.
const OF_CONTROL: &[&str] = &["upstreams.health."];

/// Sections with every key that a section must have. Route `a` goes to an upstream, `b` redirects,
/// `c` replies.
const BASE: &str = r#"
version = 1
[listeners.a]
address = "127.0.0.1:8080"
tls = { certificates = ["one"], client_auth = "required", client_ca = "ca.pem" }
[certificates.one]
cert = "one.pem"
key = "one.key"
[certificates.other]
cert = "other.pem"
key = "other.key"
[upstreams.a]
endpoints = ["127.0.0.1:9000"]
in_flight.requests_max = 7
[consumers.a]
[upstreams.b]
endpoints = ["127.0.0.1:9001"]
[routes.a]
match.path = "/a"
upstream = "a"
in_flight.requests_max = 7
[routes.b]
match.path = "/b"
redirect = { to = "/x" }
[routes.c]
match.path = "/c"
reply = { status = 404 }
"#;

/// The objects whose keys are changed, by section.
const OBJECTS: &[(&str, &[&str])] = &[
    ("listeners", &["a"]),
    ("upstreams", &["a"]),
    ("consumers", &["a"]),
    ("routes", &["a", "b", "c"]),
];

fn snapshot_of(text: &str) -> String {
    let model = parse(&sources(text)).unwrap_or_else(|it| panic!("{}\n{text}", render(&it)));
    let shown = format!("{:?}", compile(&model, 1, &mut Identities::default()));
    // Places differ between any two texts.
    let mut parts = shown.split("Span {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| shown + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// Each key below `path` that is no section, with its definition.
fn leaves(path: &str, section: &Section, found: &mut Vec<(String, KeyShape)>) {
    for key in &section.keys {
        let path = format!("{path}.{}", key.name);
        // A section that may also be "off" has leaves too.
        let shape = match &key.shape {
            Shape::Either(word, section) if matches!(**word, Shape::Words(_)) => section,
            shape => shape,
        };
        match shape {
            Shape::Section(inner) => leaves(&path, inner, found),
            _ => found.push((path, key.clone())),
        }
    }
}

/// Another value of a key than its default.
fn other(path: &str, key: &KeyShape) -> Option<String> {
    if let Some((_, value)) = OTHERS.iter().find(|(other, _)| *other == path) {
        return Some((*value).to_owned());
    }
    let default = key.default.as_ref();
    let bounds = key.range.iter().flat_map(|(min, max)| [min, max]);
    if let Some(bound) = bounds.into_iter().find(|bound| default != Some(*bound)) {
        return Some(bound.to_string());
    }
    match &key.shape {
        Shape::Words(words) => {
            let words = words.iter().map(|word| Written::text(*word));
            words.into_iter().find(|word| default != Some(word)).map(|word| word.to_string())
        }
        Shape::Integers(numbers) => {
            let numbers = numbers.iter().map(|number| Written::Integer(i64::from(*number)));
            numbers.into_iter().find(|it| default != Some(it)).map(|it| it.to_string())
        }
        Shape::Boolean => Some((default != Some(&Written::Boolean(true))).to_string()),
        _ => key.example.map(str::to_owned),
    }
}

/// The text with the key at `path` set. A key that excludes another one goes in its place.
fn with(path: &str, value: &str, choices: &[&[&str]]) -> String {
    let mut root: toml::Table = BASE.parse().unwrap();
    let mut steps: Vec<&str> = path.split('.').collect();
    let last = steps.pop().unwrap();
    let mut table = &mut root;
    for step in steps {
        let empty = || toml::Value::Table(toml::Table::new());
        table = table.entry(step).or_insert_with(empty).as_table_mut().unwrap();
    }
    for other in choices.iter().filter(|keys| keys.contains(&last)).flat_map(|keys| keys.iter()) {
        table.remove(*other);
    }
    let value: toml::Table = format!("x = {value}").parse().unwrap();
    table.insert(last.to_owned(), value["x"].clone());
    root.to_string()
}

#[test]
fn every_key_of_an_object_changes_the_snapshot() {
    let before = snapshot_of(&BASE.parse::<toml::Table>().unwrap().to_string());
    let document = Document::section();
    let mut seen = BTreeSet::new();
    for (name, objects) in OBJECTS {
        let key = document.keys.iter().find(|key| key.name == *name).unwrap();
        let Shape::Named(inner) = &key.shape else { panic!("{name}") };
        let Shape::Section(section) = &**inner else { panic!("{name}") };
        for object in *objects {
            let mut found = Vec::new();
            leaves(&format!("{name}.{object}"), section, &mut found);
            for (path, key) in found {
                // A destination of one route is not that of another.
                let belongs = |key: &str, route: &str| !path.contains(key) || *object == route;
                let of_upstream = ["upstream", "upgrades", "timeouts", "in_flight"];
                let fits = *name != "routes"
                    || belongs(".redirect.", "b")
                        && belongs(".reply.", "c")
                        && of_upstream.iter().all(|it| belongs(&format!("{object}.{it}"), "a"));
                let of_control =
                    |it: &&str| path.replace(&format!(".{object}."), ".").starts_with(*it);
                if !fits || OF_CONTROL.iter().any(of_control) {
                    continue;
                }
                let value = other(&path, &key)
                    .unwrap_or_else(|| panic!("`OTHERS` needs a value of {path}"));
                let after =
                    snapshot_of(&with(&path, &value, &[&["path", "path_prefix", "path_regex"]]));
                assert!(before != after, "{path} = {value} changes nothing");
                seen.insert(path.replace(&format!("{name}.{object}"), name));
            }
        }
    }
    let mut all = Vec::new();
    // The content of certificates goes beside the snapshot.
    for key in document.keys.iter().filter(|key| key.name != "certificates") {
        if let Shape::Named(inner) = &key.shape
            && let Shape::Section(section) = &**inner
        {
            leaves(key.name, section, &mut all);
        }
    }
    let missed: Vec<_> = all
        .iter()
        .map(|(path, _)| path)
        .filter(|it| !seen.contains(*it) && !OF_CONTROL.iter().any(|of| it.starts_with(of)))
        .collect();
    assert!(missed.is_empty(), "no object has been tried with {missed:?}");
    assert!(seen.len() >= 35, "{seen:?}");
}
