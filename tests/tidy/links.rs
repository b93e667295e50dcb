//! The documentation as a whole: links lead to a file and a heading, and the code map has every module.

use std::fs;
use std::path::Path;

use super::report;
use super::source::{files, root};

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let mut problems = Vec::new();
    let mut pages = files(&["docs", "tests/vectors"], "md");
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned));
    for page in pages {
        let path = root().join(&page);
        let Ok(text) = fs::read_to_string(&path) else {
            problems.push(format!("{page}: is missing"));
            continue;
        };
        for target in targets(&text) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if !file.exists() {
                problems.push(format!("{page}: `{target}` leads to no file"));
            } else if !heading.is_empty() && !anchors(&file).iter().any(|anchor| anchor == heading)
            {
                problems.push(format!("{page}: `{target}` leads to no heading"));
            }
        }
    }
    report(&problems);
}

#[test]
fn the_code_map_names_every_module() {
    let map = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let words: Vec<&str> = map.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut problems = Vec::new();
    for krate in ["src/proto", "src/engine", "src/worker", "src/control"] {
        for entry in fs::read_dir(root().join(krate)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_module = path.is_dir() || path.extension().is_some_and(|it| it == "rs");
            if is_module && !["lib", "tests"].contains(&name) && !words.contains(&name) {
                problems.push(format!("docs/architecture.md: does not name {krate}/{name}"));
            }
        }
    }
    report(&problems);
}

/// The targets of links to other files, outside of code blocks.
fn targets(text: &str) -> Vec<&str> {
    text.split("\n```")
        .step_by(2)
        .flat_map(|prose| prose.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://"))
        .collect()
}

/// The anchors of the headings of a page, as GitHub makes them.
fn anchors(page: &Path) -> Vec<String> {
    fs::read_to_string(page)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}
