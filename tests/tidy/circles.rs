//! Import circles between the files of a crate.
//!
//! An arrow goes from a file to the file whose items it names through `crate::`, `super::` or `self::`. A name that a
//! module only passes on (`pub use child::Name`) leads to the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::report;
use super::source::{Source, folder_of, sources, words};

/// The circles that exist, with the reason. A circle may lose files from its entry; no file may join one.
const CIRCLES: &[(&str, &[&str])] = &[
    (
        "A connection starts the protocol that its client speaks, and the protocol uses the \
         connection.",
        &[
            "src/worker/conn/h1/mod.rs",
            "src/worker/conn/h1/side.rs",
            "src/worker/conn/h2/link.rs",
            "src/worker/conn/h2/mod.rs",
            "src/worker/conn/h2/side.rs",
            "src/worker/conn/mod.rs",
            // The test protocol has the place of h1.
            "src/worker/conn/mux.rs",
        ],
    ),
    (
        "The stages of an exchange that answer and finish are methods of the exchange.",
        &[
            "src/worker/exchange/finish.rs",
            "src/worker/exchange/mod.rs",
            "src/worker/exchange/reply.rs",
        ],
    ),
    (
        "A pool lends connections, a lease goes back to its pool, and each try ends in an \
         outcome of its endpoint, which owns the pool.",
        &[
            "src/worker/upstream/endpoint.rs",
            "src/worker/upstream/h1.rs",
            "src/worker/upstream/lease.rs",
            // As above.
            "src/worker/upstream/mux.rs",
            "src/worker/upstream/outcome.rs",
            "src/worker/upstream/pool.rs",
        ],
    ),
    (
        "One simulated network: its parts wake each other.",
        &[
            "src/worker/net/sim/connection.rs",
            "src/worker/net/sim/executor.rs",
            "src/worker/net/sim/listener.rs",
            "src/worker/net/sim/mod.rs",
            "src/worker/net/sim/stream.rs",
            "src/worker/net/sim/trace.rs",
            "src/worker/net/sim/world.rs",
        ],
    ),
    (
        "One endpoint: its module holds the settings that its connections read.",
        &["bench/endpoint.rs", "bench/endpoint/answer.rs", "bench/endpoint/conn.rs"],
    ),
];

/// Each file with the files that it names.
pub(crate) type Arrows<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

#[test]
fn files_import_in_one_direction() {
    let mut problems = Vec::new();
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, (_, files)) in CIRCLES.iter().enumerate() {
        listed.extend(files.iter().map(|file| (*file, index)));
    }
    for root in ["src/proto", "src/engine", "src/worker", "src/control", "src/cli", "bench"] {
        for circle in circles(&arrows(root)) {
            let entries: BTreeSet<Option<usize>> =
                circle.iter().map(|file| listed.remove(*file)).collect();
            if entries.len() > 1 || entries.contains(&None) {
                problems.push(format!("these files import each other: {}", circle.join(", ")));
            }
        }
    }
    problems.extend(
        listed.keys().map(|file| format!("{file}: in no circle any more; take it off the list")),
    );
    report(&problems);
}

/// The arrows between the files of the crate in this folder, without tests.
pub(crate) fn arrows(root: &str) -> Arrows<'static> {
    Tree::new(root).arrows()
}

/// All modules of a crate by their path: `["exchange", "forward"]`.
struct Tree {
    modules: BTreeMap<Vec<&'static str>, Module>,
}

/// A file with the names that its `use` lines bring in.
struct Module {
    source: &'static Source,
    /// The code without its `use` lines.
    code: String,
    imports: Vec<Import>,
}

/// One name that a `use` line brings in.
struct Import {
    /// The line is a `pub use`.
    is_public: bool,
    path: Vec<String>,
    /// The last part of the path, or the name after `as`.
    name: String,
}

impl Tree {
    fn new(root: &str) -> Self {
        let path = |name: &'static str| -> Option<Vec<&'static str>> {
            let rest = folder_of(name).strip_prefix(root)?;
            (rest.is_empty() || rest.starts_with('/'))
                .then(|| rest.split('/').filter(|part| !part.is_empty()).collect())
        };
        let modules = sources()
            .iter()
            .filter(|source| !source.is_test)
            .filter_map(|source| {
                let (code, imports) = imports(&source.shipped);
                Some((path(&source.name)?, Module { source, code, imports }))
            })
            .collect();
        Self { modules }
    }

    /// The path from the root of the crate of a path that `module` writes. `None` for other crates and locals.
    fn absolute(&self, module: &[&str], path: &[String]) -> Option<Vec<String>> {
        let mut full: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        let (first, mut rest) = path.split_first()?;
        match first.as_str() {
            "crate" => full.clear(),
            "self" => {}
            "super" => {
                full.pop();
                while let Some((_, after)) = rest.split_first().filter(|(part, _)| *part == "super")
                {
                    full.pop();
                    rest = after;
                }
            }
            _ => {
                full.push(first.clone());
                if !self.modules.contains_key(parts(&full).as_slice()) {
                    let import = self.modules[module]
                        .imports
                        .iter()
                        .find(|import| import.name == *first && import.path[0] != *first)?;
                    full = self.absolute(module, &import.path)?;
                }
            }
        }
        full.extend(rest.iter().cloned());
        Some(full)
    }

    /// The file that defines the item at `path`. A path that ends at a module names nothing in it.
    fn file(&self, path: &[String]) -> Option<&'static str> {
        let path = parts(path);
        let known =
            (0..path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        if self.modules.contains_key(path.as_slice()) {
            return None;
        }
        let module = &self.modules[&path[..known]];
        // The module may only pass the item on.
        let passed_on = module
            .imports
            .iter()
            .find(|import| import.is_public && import.name == path[known])
            .and_then(|import| self.absolute(&path[..known], &import.path))
            .filter(|target| parts(target) != path);
        match passed_on {
            Some(target) => self.file(&target),
            None => Some(&module.source.name),
        }
    }

    fn arrows(&self) -> Arrows<'static> {
        let mut found = Arrows::new();
        for (path, module) in &self.modules {
            let used =
                module.imports.iter().filter(|import| !import.is_public).map(|import| &import.path);
            let written = written(&module.code);
            let mut targets: BTreeSet<&str> = used
                .chain(&written)
                .filter_map(|named| self.file(&self.absolute(path, named)?))
                .collect();
            targets.remove(module.source.name.as_str());
            found.insert(&module.source.name, targets);
        }
        found
    }
}

fn parts(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// The paths of two or more parts that the code writes.
fn written(code: &str) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut end = 0;
    for (at, word) in words(code) {
        match found.last_mut() {
            Some(path) if &code[end..at] == "::" => path.push(word.to_owned()),
            _ => found.push(vec![word.to_owned()]),
        }
        end = at + word.len();
    }
    found.retain(|path| path.len() > 1);
    found
}

/// The code without its `use` lines, and the names that these import.
fn imports(code: &str) -> (String, Vec<Import>) {
    let mut left = String::new();
    let mut found = Vec::new();
    let mut done = 0;
    for (at, word) in words(code) {
        let before = code[..at].rsplit('\n').next().unwrap().trim();
        if word != "use" || at < done || !(before.is_empty() || before.starts_with("pub")) {
            continue;
        }
        let end = at + code[at..].find(';').unwrap();
        let text = code[at + word.len()..end].split_whitespace().collect::<Vec<_>>().join(" ");
        let mut paths = Vec::new();
        expand(&text, &mut Vec::new(), &mut paths);
        for mut path in paths {
            let last = path.pop().unwrap();
            let (item, name) = last.split_once(" as ").unwrap_or((&last, &last));
            if item != "self" {
                path.push(item.to_owned());
            }
            let name = if name == "self" { path.last().unwrap().clone() } else { name.to_owned() };
            found.push(Import { is_public: before.starts_with("pub"), path, name });
        }
        left.push_str(&code[done..at]);
        done = end;
    }
    left.push_str(&code[done..]);
    (left, found)
}

/// Expands `a::{b, c::d}` to `a::b` and `a::c::d`.
fn expand(text: &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let depth = prefix.len();
    let text = text.trim();
    let (path, group) = match text.split_once('{') {
        Some((path, group)) => (path, group.strip_suffix('}')),
        None => (text, None),
    };
    prefix.extend(
        path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()),
    );
    match group {
        None => found.push(prefix.clone()),
        Some(group) => {
            let mut nesting = 0_i32;
            let parts = group.split(|c| {
                nesting += match c {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                c == ',' && nesting == 0
            });
            for part in parts.filter(|part| !part.trim().is_empty()) {
                expand(part, prefix, found);
            }
        }
    }
    prefix.truncate(depth);
}

/// The sets of files that reach each other.
fn circles<'a>(arrows: &Arrows<'a>) -> Vec<Vec<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|file| (*file, reach(arrows, file))).collect();
    let mut left: BTreeSet<&str> =
        arrows.keys().copied().filter(|file| reached[file].contains(file)).collect();
    let mut found = Vec::new();
    while let Some(first) = left.first().copied() {
        let circle: Vec<&str> = left
            .iter()
            .copied()
            .filter(|file| reached[first].contains(file) && reached[file].contains(first))
            .collect();
        left.retain(|file| !circle.contains(file));
        found.push(circle);
    }
    found
}

fn reach<'a>(arrows: &Arrows<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = arrows[from].iter().copied().collect();
    while let Some(file) = open.pop() {
        if found.insert(file) {
            open.extend(arrows[file].iter().copied());
        }
    }
    found
}

#[test]
fn groups_are_expanded_and_circles_found() {
    let (code, found) = imports("pub use a::{b, c::{self, d as e}};\nuse super::f; g::h(i)");
    let names: Vec<String> = found
        .iter()
        .map(|import| format!("{} {} {}", import.is_public, import.path.join("::"), import.name))
        .collect();
    assert_eq!(names, ["true a::b b", "true a::c c", "true a::c::d e", "false super::f f"]);
    assert_eq!(written(&code), [["g", "h"]]);
    let arrows = [("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["b"]), ("d", vec![])];
    let arrows: Arrows =
        arrows.into_iter().map(|(from, to)| (from, to.into_iter().collect())).collect();
    assert_eq!(circles(&arrows), [["b", "c"]]);
}
