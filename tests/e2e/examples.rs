//! Configurations that people copy: `config/examples`, and those in the documentation, pass `ringway check`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Process, config_file, ringway};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    found.sort();
    found
}

fn is_sound(path: &Path, name: &str) {
    let (code, process) = Process::run(ringway().arg("check").arg(path));
    let said = process.stderr.text();
    assert_eq!((code, said.as_str()), (0, ""), "{name}: without mistakes and warnings");
}

#[test]
fn every_example_passes_check() {
    let examples = files("config/examples", "toml");
    assert!(examples.len() > 3);
    for example in examples {
        is_sound(&example, &example.display().to_string());
    }
}

#[test]
fn every_whole_configuration_in_the_documentation_passes_check() {
    let mut pages = files("docs", "md");
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|page| root().join(page)));
    let mut checked = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // A block without the version is a part of a file.
            if block.starts_with("version = 1\n") {
                is_sound(config_file(block).path(), &format!("{}: {block}", page.display()));
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}
