//! The rules of the house that no compiler checks: module edges, file headers, where `unsafe` is.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what broke by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The only files that may contain `unsafe`: they talk to the kernel.
const UNSAFE: &[&str] = &["src/worker/net/monoio.rs", "bench/floor.rs"];

/// Who may name what: a word, and the paths that may contain it.
const EDGES: &[(&str, &[&str])] = &[
    ("monoio::", &["src/worker/net/monoio.rs"]),
    ("io_uring::", &["src/worker/net/monoio.rs", "bench/floor.rs"]),
    ("httparse::", &["bench/", "tests/fuzz/second.rs"]),
    ("tokio::", &["src/control/"]),
    ("hyper::", &["src/control/admin/"]),
];

/// Lines of a source file before it must be split; STYLE: near 800 look for the seam.
const LINES_MAX: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "bench", "tests"].iter().map(|f| root().join(f)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 40, "the sources were not found");
    found
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let headless: Vec<_> = sources()
        .into_iter()
        .filter(|(name, text)| {
            !name.contains("fuzz_targets")
                && !text.trim_start_matches("#![no_main]\n").starts_with("//!")
        })
        .map(|(name, _)| format!("{name}: does not begin with a `//!` header"))
        .collect();
    report(&headless);
}

#[test]
fn unsafe_is_where_it_may_be() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let unsafe_lines =
            code.filter(|line| line.contains("unsafe {") || line.contains("unsafe impl")).count();
        if unsafe_lines > 0 && !UNSAFE.contains(&name.as_str()) && name != "tests/tidy.rs" {
            problems.push(format!("{name}: {unsafe_lines} uses of unsafe"));
        }
    }
    report(&problems);
}

#[test]
fn modules_name_only_what_they_may() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        if name == "tests/tidy.rs" {
            continue;
        }
        for (word, allowed) in EDGES {
            if allowed.iter().any(|path| name.starts_with(path)) {
                continue;
            }
            for (index, line) in text.lines().enumerate() {
                // Our own module has the same name as the crate.
                let code = line.split("//").next().unwrap_or("").replace("net::monoio::", "");
                if code.contains(word) {
                    problems.push(format!("{name}:{}: names `{word}`", index + 1));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn filters_and_crates_depend_in_one_direction() {
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
        .into_iter()
        .filter(|(name, text)| !name.ends_with("/tests.rs") && text.lines().count() > LINES_MAX)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    report(&long);
}
