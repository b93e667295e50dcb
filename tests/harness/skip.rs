//! Parts of tests that cannot run on this machine: said, and counted by `scripts/ci.sh`.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

/// Says that something is not tested here, and why. `RINGWAY_SKIPPED` names a file that gets the same line, because the
/// test runner hides the words of a test that passes.
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
    if let Some(path) = env::var_os("RINGWAY_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write, so that tests which run at the same time do not mix their lines.
        file.write_all(format!("{why}\n").as_bytes()).unwrap();
    }
}
