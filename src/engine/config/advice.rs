//! Keys that other gateways have: the key that does the same here, or a way to do without.

/// Why `key` is not known in the table at `path`, and the cure, if more can be said than the keys that
/// there are.
pub(super) fn of_key(path: &str, key: &str) -> Option<(&'static str, String)> {
    let _ = (path, key);
    None
}
