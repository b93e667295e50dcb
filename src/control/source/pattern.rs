//! The files that a path with stars in it stands for.
//!
//! Stars stand for parts of a name, never for a slash. As in a shell, none stands for a dot at the
//! front of a name, so files that editors and Kubernetes put beside a file are not included.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use glob::Pattern;

use super::disk::Disk;
use super::folders::matches;

/// The files that `pattern` means, sorted. A path without stars means itself, if it is there.
pub(super) fn expand(pattern: &Path, disk: &mut Disk) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    let mut rest = pattern.components().peekable();
    while let Some(component) = rest.next() {
        let text = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !text.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        if text.contains("**") {
            return Err(io::Error::other("** is not known here, name the folders one by one"));
        }
        let wanted = Pattern::new(&text).map_err(|error| io::Error::other(error.to_string()))?;
        let is_last = rest.peek().is_none();
        let mut matching = Vec::new();
        for folder in found {
            let names = match disk.list(&folder, &wanted) {
                // Nothing is in a folder that is not there.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                names => names?,
            };
            let names = names.into_iter().filter(|name| matches(&wanted, name));
            matching.extend(names.map(|name| folder.join(name)));
        }
        // A file is no folder to look into; and a folder is no file.
        matching.retain(|path| path.is_dir() != is_last);
        found = matching;
    }
    // A file that cannot be opened is reported when it is read.
    found.retain(|path| {
        disk.folders.file(path);
        path.symlink_metadata().is_ok()
    });
    Ok(found)
}
