//! The path of a value: the keys that lead to it.

use std::fmt::Write as _;

/// A step from a value to one inside it.
#[derive(Clone, Copy, Debug)]
pub enum PathStep<'n> {
    /// To the value of this key.
    Key(&'n str),
    /// To this item of a list.
    Index(usize),
}

/// Steps as one word.
pub(super) fn path(steps: &[PathStep<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            PathStep::Key(key) if path.is_empty() => path.push_str(key),
            PathStep::Key(key) => {
                path.push('.');
                path.push_str(key);
            }
            PathStep::Index(index) => {
                // A string takes whatever is written to it.
                let _ = write!(path, "[{index}]");
            }
        }
    }
    path
}
