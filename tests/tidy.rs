//! The rules of the house that no compiler checks: module edges and import circles, file headers, the places of
//! `unsafe`, unused public items, names with two meanings, and the English.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what broke by panicking"
)]

use std::fs;

use tidy::circles::arrows;
use tidy::ledger::Ledger;
use tidy::source::{Source, root, sources, words};

mod tidy {
    use super::report;

    pub(crate) mod circles;
    mod english;
    mod keys;
    pub(crate) mod ledger;
    mod links;
    mod names;
    pub(crate) mod source;
}

/// The only files that may contain `unsafe`: they talk to the kernel.
const UNSAFE: &[&str] = &["src/worker/net/monoio.rs", "bench/floor.rs"];

/// A word, and the only paths that may contain it.
const EDGES: &[(&str, &[&str])] = &[
    ("monoio::", &["src/worker/net/monoio.rs"]),
    ("io_uring::", &["src/worker/net/monoio.rs", "bench/floor.rs"]),
    ("httparse::", &["bench/", "tests/fuzz/second.rs"]),
    (
        "rustls::",
        &[
            "src/worker/tls/",
            "src/worker/conn/tls.rs",
            "src/worker/upstream/tls.rs",
            "tests/harness/",
        ],
    ),
    ("tokio::", &["src/control/"]),
    ("hyper::", &["src/control/admin/", "src/control/prober/check"]),
];

/// Code that must not know the version of the protocol: it names no `h1` and no `h2`, and none of
/// [`FIELDS_OF_H1`].
const VERSIONLESS: &[&str] =
    &["src/worker/exchange/", "src/worker/upstream/call", "src/worker/upstream/select"];

/// Fields that only HTTP/1.1 has: the sides and encoding write them, from facts of the head.
const FIELDS_OF_H1: &[&str] = &["Connection", "KeepAlive", "TransferEncoding", "Te", "Upgrade"];

/// Lines of a source file before it must be split; STYLE: near 800 look for the seam.
const LINES_MAX: usize = 800;

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let headless: Vec<_> = sources()
        .iter()
        .filter(|source| {
            !source.name.contains("fuzz_targets")
                && !source.text.trim_start_matches("#![no_main]\n").starts_with("//!")
        })
        .map(|source| format!("{}: does not begin with a `//!` header", source.name))
        .collect();
    report(&headless);
}

#[test]
fn unsafe_is_where_it_may_be() {
    let mut problems = Vec::new();
    for source in sources() {
        let name = &source.name;
        let unsafe_lines = source
            .code
            .lines()
            .filter(|line| line.contains("unsafe {") || line.contains("unsafe impl"))
            .count();
        if unsafe_lines > 0 && !UNSAFE.contains(&name.as_str()) {
            problems.push(format!("{name}: {unsafe_lines} uses of unsafe"));
        }
    }
    report(&problems);
}

#[test]
fn modules_name_only_what_they_may() {
    let mut problems = Vec::new();
    for Source { name, code, .. } in sources() {
        for (word, allowed) in EDGES {
            if allowed.iter().any(|path| name.starts_with(path)) {
                continue;
            }
            for (index, line) in code.lines().enumerate() {
                // Our own module has the same name as the crate.
                if line.replace("net::monoio::", "").contains(word) {
                    problems.push(format!("{name}:{}: names `{word}`", index + 1));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn an_exchange_knows_no_protocol_version() {
    // A type of `h1.rs` is one also when its name comes through the module above.
    let is_version = |file: &&&str| file.contains("/h1") || file.contains("/h2");
    let found = arrows("src/worker")
        .into_iter()
        .filter(|(name, _)| VERSIONLESS.iter().any(|path| name.starts_with(path)))
        .map(|(name, named)| {
            let source = sources().iter().find(|source| source.name == name).unwrap();
            let all: Vec<&str> = words(&source.shipped).map(|(_, word)| word).collect();
            let versions = all.iter().filter(|word| matches!(**word, "h1" | "h2")).count();
            let is_field =
                |pair: &&[&str]| pair[0] == "HeaderId" && FIELDS_OF_H1.contains(&pair[1]);
            let fields = all.windows(2).filter(is_field).count();
            let named = named.iter().filter(is_version).count();
            (name.to_owned(), (versions + fields + named) as f64)
        })
        .collect();
    report(&Ledger::open("versions.txt").check(
        &found,
        |_, _| true,
        "speak to the side or the lease, which knows its protocol",
    ));
}

#[test]
fn crates_depend_in_one_direction() {
    let order = ["proto", "engine", "worker", "control"];
    let mut problems = Vec::new();
    for (position, krate) in order.iter().enumerate() {
        let manifest =
            fs::read_to_string(root().join("src").join(krate).join("Cargo.toml")).unwrap();
        for later in &order[position + 1..] {
            if manifest.lines().any(|line| line.starts_with(&format!("{later}."))) {
                problems.push(format!("src/{krate}/Cargo.toml: depends on `{later}`"));
            }
        }
    }
    report(&problems);
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = sources()
        .iter()
        .map(|source| (&source.name, source.text.lines().count()))
        .filter(|(name, lines)| !name.ends_with("/tests.rs") && *lines > LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    report(&long);
}
