//! Lists that can only shrink: the exceptions of a rule, in a text file beside it.
//!
//! A line is a name, then its number. Lines that begin with `#` are kept. `UPDATE=1` lowers numbers and removes lines;
//! it never raises or adds one.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::source::root;

/// The allowed number per name.
pub(crate) struct Ledger {
    path: PathBuf,
    text: String,
    rows: BTreeMap<String, f64>,
}

impl Ledger {
    /// Reads `tests/tidy/NAME`.
    pub(crate) fn open(name: &str) -> Self {
        let path = root().join("tests/tidy").join(name);
        let text = fs::read_to_string(&path).unwrap();
        let mut rows = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, number) = line.rsplit_once(' ').unwrap();
            assert!(
                rows.insert(name.trim().to_owned(), number.parse().unwrap()).is_none(),
                "{}: `{}` stands twice",
                path.display(),
                name.trim()
            );
        }
        Self { path, text, rows }
    }

    /// Compares the list with the numbers of today. A name without a line may have none.
    ///
    /// A number above its line is a problem. A number below it is a problem too when `is_stale(allowed, found)` says
    /// so: then the line must follow.
    pub(crate) fn check(
        &self,
        found: &BTreeMap<String, f64>,
        is_stale: impl Fn(f64, f64) -> bool,
        advice: &str,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, number) in found {
            let allowed = self.rows.get(name).copied().unwrap_or(0.0);
            if *number > allowed {
                problems.push(format!("{name}: {number}, allowed are {allowed}; {advice}"));
            }
        }
        let stale: Vec<(&str, f64)> = self
            .rows
            .iter()
            .map(|(name, allowed)| {
                (name.as_str(), *allowed, found.get(name).copied().unwrap_or(0.0))
            })
            .filter(|(_, allowed, number)| number < allowed && is_stale(*allowed, *number))
            .map(|(name, _, number)| (name, number))
            .collect();
        if std::env::var_os("UPDATE").is_some() {
            self.lower(&stale);
        } else {
            problems.extend(stale.iter().map(|(name, number)| {
                format!(
                    "{name}: {number}, better than {} says; `UPDATE=1 cargo test --test tidy` lowers it",
                    self.path.strip_prefix(root()).unwrap().display()
                )
            }));
        }
        problems
    }

    fn lower(&self, stale: &[(&str, f64)]) {
        if stale.is_empty() {
            return;
        }
        let mut text = String::new();
        for line in self.text.lines() {
            let name = line.rsplit_once(' ').map(|(name, _)| name.trim());
            match stale.iter().find(|(stale, _)| Some(*stale) == name && !line.starts_with('#')) {
                Some((_, number)) if *number == 0.0 => {}
                Some((name, number)) => text.push_str(&format!("{name} {number}\n")),
                None => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        fs::write(&self.path, text).unwrap();
    }
}
