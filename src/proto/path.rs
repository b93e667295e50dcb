//! Paths: the one form in which every part of the gateway sees them. RFC 3986 2.1, 5.2.4 and 6.2.2.
//!
//! The same resource can be written in many ways. Where a gateway matches one of them and an
//! endpoint reads another, a route that guards `/admin` is passed by `/x/../admin`, `//admin` or
//! `/%61dmin`. So a path is brought into its *normal form* before anything looks at it, and that
//! form is the one that routes match, redirects repeat, logs show and endpoints get:
//!
//! - Percent-encoded unreserved bytes (letters, digits, `-._~`) are decoded, once; the others
//!   stay encoded, with upper-case digits (RFC 3986 6.2.2.1, 6.2.2.2).
//! - Slashes that follow each other become one. RFC 3986 tells them apart; file systems and most
//!   frameworks do not.
//! - `.` and `..` segments are resolved (RFC 3986 5.2.4), after both of the above. A path that
//!   climbs above the root is refused, as nginx does, rather than clamped: nobody means it well.
//!
//! Parameters of a segment (`/a;b=c`) and the query are left alone. [`Form::Keep`] leaves the path
//! as it came, byte for byte.
//!
//! A raw byte that browsers encode (`"`, `<`, `>`, and all beyond ASCII) has no normal form that
//! everybody agrees on: it is refused, unless the path is kept.
//!
//! Two things are refused in either form, since no path means them: `%` without two hex digits, and `%00`, at which
//! programs written in C end a path. For `%2F` and `%5C` see [`EncodedSlash`].
//!
//! Invariant: the normal form of a path in normal form is that path. It holds no `//` and no `.` or
//! `..` segment, encoded or not.

use std::ops::Range;

use crate::uri::is_raw;
use crate::violation::Violation;

/// In which form a listener's paths are matched and sent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// In the normal form.
    #[default]
    Normalise,
    /// As they came.
    Keep,
}

/// The treatment of a path with an encoded slash: `%2F`, or `%5C`, the backslash that some endpoints
/// take for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EncodedSlash {
    /// It is data of its segment and stays encoded, as RFC 3986 2.2 has it: package registries and
    /// file APIs name things so (`/@scope%2Fname`). But in the normal form a path is refused in
    /// which it stands beside a dot segment (`/a/..%2Fb`): an endpoint that decodes before it
    /// resolves would see another path than the gateway, and nobody else writes that.
    #[default]
    Keep,
    /// It is refused.
    Reject,
}

/// How a listener treats paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The form in which they are matched and sent on.
    pub form: Form,
    /// The treatment of encoded slashes.
    pub encoded_slash: EncodedSlash,
}

/// The path in the form that `rules` ask for. `path` starts with a slash and has no query.
///
/// # Errors
/// [`Violation::PathEncoding`], [`Violation::EncodedSlash`], [`Violation::PathAboveRoot`],
/// [`Violation::Target`] for a raw byte.
pub fn settled(path: &[u8], rules: Rules) -> Result<Vec<u8>, Violation> {
    let mut bytes = path.to_vec();
    settle(&mut bytes, 0..path.len(), rules)?;
    if bytes.len() > path.len() {
        bytes.drain(..path.len());
    }
    Ok(bytes)
}

/// Appends the path that stands at `path` of `bytes` to them, in the form that `rules` ask for; if
/// that is how it is already, appends nothing.
pub(crate) fn settle(
    bytes: &mut Vec<u8>,
    path: Range<usize>,
    rules: Rules,
) -> Result<(), Violation> {
    check_encoding(bytes.get(path.clone()).unwrap_or_default(), rules.encoded_slash)?;
    if rules.form == Form::Keep {
        return Ok(());
    }
    if bytes.get(path.clone()).unwrap_or_default().iter().any(|byte| is_raw(*byte)) {
        return Err(Violation::Target);
    }
    let start = bytes.len();
    append_normal(bytes, path.clone())?;
    if bytes.get(path) == bytes.get(start..) {
        bytes.truncate(start);
    }
    Ok(())
}

/// Checks the bytes that are percent-encoded.
fn check_encoding(path: &[u8], encoded_slash: EncodedSlash) -> Result<(), Violation> {
    for at in memchr::memchr_iter(b'%', path) {
        match octet(path, at) {
            None | Some(0) => return Err(Violation::PathEncoding),
            Some(b'/' | b'\\') if encoded_slash == EncodedSlash::Reject => {
                return Err(Violation::EncodedSlash);
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Appends the normal form of a path. Its encoding is sound.
fn append_normal(bytes: &mut Vec<u8>, path: Range<usize>) -> Result<(), Violation> {
    // Once: the normal form is never longer.
    bytes.reserve(path.len());
    let root = bytes.len();
    bytes.push(b'/');
    let mut segment = bytes.len();
    // Behind the slash at its front.
    let mut at = path.start + 1;
    while at < path.end {
        let Some(&byte) = bytes.get(at) else { break };
        match octet(bytes, at).filter(|_| byte == b'%') {
            Some(octet) if is_unreserved(octet) => bytes.push(octet),
            Some(octet) => bytes.extend([b'%', hex(octet >> 4), hex(octet & 0x0f)]),
            None if byte == b'/' => segment = end_segment(bytes, root, segment, true)?,
            None => bytes.push(byte),
        }
        at += if byte == b'%' { 3 } else { 1 };
    }
    end_segment(bytes, root, segment, false)?;
    Ok(())
}

/// Ends the segment that starts at `segment` and goes to the end of `bytes`, with a slash if one
/// follows; says where the next one starts. There is always a slash in front of a segment, and the
/// path's first one is at `root`.
fn end_segment(
    bytes: &mut Vec<u8>,
    root: usize,
    segment: usize,
    slash: bool,
) -> Result<usize, Violation> {
    match bytes.get(segment..).unwrap_or_default() {
        // A slash behind a slash.
        b"" => return Ok(segment),
        b"." => bytes.truncate(segment),
        b".." => {
            // Up to the slash in front of the parent.
            let above = bytes.get(root..segment - 1).unwrap_or_default();
            let parent = memchr::memrchr(b'/', above).ok_or(Violation::PathAboveRoot)?;
            bytes.truncate(root + parent + 1);
        }
        text if hides_a_dot_segment(text) => return Err(Violation::EncodedSlash),
        _ if slash => bytes.push(b'/'),
        _ => {}
    }
    Ok(bytes.len())
}

/// Whether a segment in normal form has a dot segment between encoded slashes.
fn hides_a_dot_segment(mut segment: &[u8]) -> bool {
    let mut found = false;
    let is_dots = |part: &[u8]| matches!(part, b"." | b"..");
    while let Some(at) = memchr::memchr_iter(b'%', segment)
        .find(|at| matches!(segment.get(at + 1..at + 3), Some(b"2F" | b"5C")))
    {
        found |= is_dots(segment.get(..at).unwrap_or_default());
        segment = segment.get(at + 3..).unwrap_or_default();
    }
    // Without an encoded slash this is the whole segment, which is none.
    found || is_dots(segment)
}

/// The byte that `%XX` at `at` stands for.
fn octet(bytes: &[u8], at: usize) -> Option<u8> {
    match bytes.get(at + 1..at + 3) {
        Some([high, low]) => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

/// RFC 3986 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REJECT: Rules = Rules { form: Form::Normalise, encoded_slash: EncodedSlash::Reject };
    const KEEP: Rules = Rules { form: Form::Keep, encoded_slash: EncodedSlash::Keep };

    fn normal(path: &str) -> Result<String, Violation> {
        settled(path.as_bytes(), Rules::default()).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn paths_come_to_their_normal_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("//", "/"),
            ("///a//b///", "/a/b/"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/../../c", "/c"),
            ("/a//../b", "/b"),
            ("/a/.//../b", "/b"),
            ("/...", "/..."),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("/%41%7a%30%2D%2e%5f%7E", "/Az0-._~"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/%c3%a9", "/%C3%A9"),
            ("/%20%3f%23", "/%20%3F%23"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/a/..;/b", "/a/..;/b"),
            ("/a;x=/../b", "/b"),
            ("/%01%7f%ff", "/%01%7F%FF"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
            assert_eq!(normal(expected).as_deref(), Ok(expected), "{expected}");
        }
    }

    #[test]
    fn what_no_path_means_is_refused() {
        for (path, violation) in [
            ("/..", Violation::PathAboveRoot),
            ("/../", Violation::PathAboveRoot),
            ("//..", Violation::PathAboveRoot),
            ("/./..", Violation::PathAboveRoot),
            ("/a/../..", Violation::PathAboveRoot),
            ("/%2e%2e/a", Violation::PathAboveRoot),
            ("/%", Violation::PathEncoding),
            ("/%4", Violation::PathEncoding),
            ("/%zz", Violation::PathEncoding),
            ("/%4g", Violation::PathEncoding),
            ("/%%41", Violation::PathEncoding),
            ("/%+1", Violation::PathEncoding),
            ("/%u0041", Violation::PathEncoding),
            ("/a%00", Violation::PathEncoding),
            ("/a/..%2fb", Violation::EncodedSlash),
            ("/a/..%5Cb", Violation::EncodedSlash),
            ("/a%2f%2e%2e%2fb", Violation::EncodedSlash),
            ("/a%2F..", Violation::EncodedSlash),
            ("/a/.%2F", Violation::EncodedSlash),
        ] {
            assert_eq!(normal(path), Err(violation), "{path}");
        }
        assert_eq!(settled(b"/a%2fb", REJECT), Err(Violation::EncodedSlash));
        assert_eq!(settled(b"/a%5Cb", REJECT), Err(Violation::EncodedSlash));
        assert_eq!(settled(b"/a%20b", REJECT).as_deref(), Ok(&b"/a%20b"[..]));
    }

    #[test]
    fn a_kept_path_is_kept_byte_for_byte() {
        for path in ["/", "//a/./../%41%2f..", "/../..", "/%c3%a9", "/a/..%2Fb"] {
            assert_eq!(settled(path.as_bytes(), KEEP).as_deref(), Ok(path.as_bytes()));
        }
        assert_eq!(settled(b"/%0", KEEP), Err(Violation::PathEncoding));
        assert_eq!(settled(b"/%00", KEEP), Err(Violation::PathEncoding));
        let reject = Rules { encoded_slash: EncodedSlash::Reject, ..KEEP };
        assert_eq!(settled(b"/%2f", reject), Err(Violation::EncodedSlash));
    }

    /// The same by other means: one step after the other, each over the whole path.
    fn reference(path: &str) -> Option<String> {
        let mut decoded = String::new();
        let mut rest = path;
        while let Some((before, encoded)) = rest.split_once('%') {
            let digits =
                encoded.get(..2).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
            let value = u8::from_str_radix(digits, 16).ok().filter(|value| *value != 0)?;
            decoded += before;
            let plain = value.is_ascii_alphanumeric() || b"-._~".contains(&value);
            decoded += &if plain { char::from(value).to_string() } else { format!("%{value:02X}") };
            rest = &encoded[2..];
        }
        decoded += rest;
        let whole: Vec<&str> = decoded.split('/').skip(1).collect();
        let dots = |segment: &str| segment == "." || segment == "..";
        let mut kept: Vec<&str> = Vec::new();
        for segment in &whole {
            match *segment {
                "" | "." => {}
                ".." => drop(kept.pop()?),
                other => {
                    let parts = other.replace("%5C", "%2F");
                    if parts.split("%2F").any(dots) {
                        return None;
                    }
                    kept.push(other);
                }
            }
        }
        let last = whole.last().copied().unwrap_or_default();
        let open = !kept.is_empty() && (last.is_empty() || dots(last));
        Some(format!("/{}{}", kept.join("/"), if open { "/" } else { "" }))
    }

    proptest! {
        #[test]
        fn the_normal_form_is_that_of_the_reference(
            pieces in prop::collection::vec(
                prop::sample::select(&[
                    "/", "/", "/", ".", "..", "a", "b;c", "%2e", "%2F", "%5c", "%41", "%c3", "%",
                    "%0", "%00", "%25", "~", "*",
                ][..]),
                0..12,
            ),
        ) {
            let path = format!("/{}", pieces.concat());
            let ours = normal(&path);
            prop_assert_eq!(ours.clone().ok(), reference(&path), "{}", path);
            if let Ok(ours) = ours {
                prop_assert_eq!(normal(&ours), Ok(ours.clone()), "{}", path);
                prop_assert!(!ours.contains("//") && ours.len() <= path.len());
                prop_assert!(ours.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
