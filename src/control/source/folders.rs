//! Where a change makes a configuration read differently: folders, and names in them.
//!
//! A file is watched through the folder that it is in, because a watch on the file itself would
//! stay with the old file after a rename. A link counts twice: where the link is, and where it leads.
//! Where a path leads nowhere, the last folder on the way that exists is watched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// Links that are followed on one way. The kernel follows 40.
const LINKS_MAX: usize = 40;

/// Folders, and the names in them that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders(BTreeMap<PathBuf, Names>);

/// The names in a folder that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    exact: BTreeSet<OsString>,
    /// The folder was listed, to find names like these.
    patterns: BTreeSet<Pattern>,
}

impl Names {
    fn contains(&self, name: &OsStr) -> bool {
        self.exact.contains(name) || self.patterns.iter().any(|it| matches(it, name))
    }
}

impl Folders {
    /// The folders, as absolute paths without links.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether a change of `path` matters: an absolute path without links before its last name.
    #[must_use]
    pub fn concerns(&self, path: &Path) -> bool {
        if self.0.contains_key(path) {
            return true;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.0.get(folder).is_some_and(|names| names.contains(name))
    }

    /// Adds all that decides which file `path` is, and its content.
    pub(super) fn file(&mut self, path: &Path) {
        self.follow(path, None);
    }

    /// Adds all that decides which names like `wanted` are in the folder `path`.
    pub(super) fn listing(&mut self, path: &Path, wanted: &Pattern) {
        self.follow(path, Some(wanted));
    }

    /// Goes along `path` as the kernel does, a name at a time.
    fn follow(&mut self, path: &Path, listed: Option<&Pattern>) {
        // Without a current folder nothing relative can be found either.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let Ok(path) = std::path::absolute(path) else { return };
        let mut at = PathBuf::new();
        let mut rest = steps(&path);
        let mut links = 0;
        while let Some(step) = rest.pop_front() {
            match step {
                Step::Root => at = PathBuf::from("/"),
                Step::Up => {
                    at.pop();
                }
                Step::Name(name) => {
                    let next = at.join(&name);
                    if let Ok(target) = next.read_link() {
                        self.name(&at, &name);
                        links += 1;
                        if links > LINKS_MAX {
                            return;
                        }
                        rest = steps(&target).into_iter().chain(rest).collect();
                    } else if next.is_dir() {
                        at = next;
                    } else {
                        return self.name(&at, &name);
                    }
                }
            }
        }
        // It leads to a folder.
        if let Some(wanted) = listed {
            self.0.entry(at).or_default().patterns.insert(wanted.clone());
        } else if let (Some(parent), Some(name)) = (at.parent(), at.file_name()) {
            self.name(parent, name);
        }
    }

    fn name(&mut self, folder: &Path, name: &OsStr) {
        self.0.entry(folder.to_owned()).or_default().exact.insert(name.to_owned());
    }
}

/// Stars stand for parts of a name. As in a shell, none stands for a dot at the front of one.
const STARS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether `name` in a folder is one that `wanted`, a part of a path, means.
pub(super) fn matches(wanted: &Pattern, name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| wanted.matches_with(name, STARS))
}

/// A part of a path.
enum Step {
    Root,
    Up,
    Name(OsString),
}

fn steps(path: &Path) -> VecDeque<Step> {
    let step = |component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn of(path: &Path) -> Folders {
        let mut folders = Folders::default();
        folders.file(path);
        folders
    }

    /// The folders and names, relative to `root`.
    fn shown(folders: &Folders, root: &Path) -> Vec<String> {
        let show = |(folder, names): (&PathBuf, &Names)| {
            let folder = folder.strip_prefix(root).unwrap().display().to_string();
            let exact = names.exact.iter().map(|it| it.to_str().unwrap());
            let names: Vec<_> = exact.chain(names.patterns.iter().map(Pattern::as_str)).collect();
            format!("{folder}: {}", names.join(" "))
        };
        folders.0.iter().map(show).collect()
    }

    #[test]
    fn a_file_is_watched_in_its_folder_and_along_every_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/v1")).unwrap();
        fs::write(root.join("a/v1/file"), "").unwrap();
        symlink("v1", root.join("a/data")).unwrap();
        symlink("data/file", root.join("a/link")).unwrap();
        symlink(root.join("a/link"), root.join("far")).unwrap();
        assert_eq!(shown(&of(&root.join("a/v1/file")), &root), ["a/v1: file"]);
        assert_eq!(shown(&of(&root.join("a/link")), &root), ["a: data link", "a/v1: file"]);
        let far = of(&root.join("a/../far"));
        assert_eq!(shown(&far, &root), [": far", "a: data link", "a/v1: file"]);
        assert!(far.concerns(&root.join("a/data")) && !far.concerns(&root.join("a/other")));
        assert!(far.concerns(&root.join("a/v1")), "the folder itself");
    }

    #[test]
    fn of_what_is_not_there_the_last_folder_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(shown(&of(&root.join("a/b/file")), &root), [": a"]);
        symlink("nowhere/file", root.join("link")).unwrap();
        assert_eq!(shown(&of(&root.join("link")), &root), [": link nowhere"]);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(shown(&of(&root.join("loop")), &root), [": loop"]);
    }

    #[test]
    fn in_a_folder_that_is_listed_the_names_count_that_were_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut folders = of(&root.join("file"));
        folders.listing(&root, &Pattern::new("*.toml").unwrap());
        assert_eq!(shown(&folders, &root), [": file *.toml"]);
        for name in ["file", "a.toml"] {
            assert!(folders.concerns(&root.join(name)), "{name}");
        }
        for name in ["other", ".a.toml.swp", ".a.toml", "a.toml~"] {
            assert!(!folders.concerns(&root.join(name)), "{name}");
        }
    }
}
