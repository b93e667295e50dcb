//! Request targets and authorities: RFC 9112 3.2, RFC 9110 4.2, RFC 3986.
//!
//! This decides whether bytes are a target, and finds its parts. The meaning of a path (dot segments,
//! slashes, percent-encoding) is in [`path`](crate::path).

use std::net::Ipv6Addr;

use crate::violation::Violation;

/// Checks a target in origin form (RFC 9112 3.2.1) as a configuration may write it, and says how many
/// bytes of it are the path.
///
/// Bytes that a browser encodes are refused: those beyond ASCII, `"`, `#`, `<`, `>`, and `\` in a
/// path, which some endpoints read as `/`. The others that RFC 3986 does not list (such as `|` and
/// `{`) are on the web and are read by everybody in the same way.
///
/// # Errors
/// [`Violation::Target`].
#[inline]
pub fn check_path_and_query(target: &[u8]) -> Result<usize, Violation> {
    let parts = scan_path_and_query(target)?;
    if target.iter().any(|byte| is_raw(*byte)) {
        Err(Violation::Target)
    } else {
        Ok(parts.path_len)
    }
}

/// The facts from one look at a target in origin form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathAndQuery {
    /// Bytes that are the path.
    pub(crate) path_len: usize,
    /// The path may not be in normal form: it has a `%`, a raw byte (see [`is_raw`]), or a slash with
    /// a slash or a dot behind.
    pub(crate) suspect: bool,
}

/// Checks a target in origin form as a client may send it.
///
/// Raw bytes are taken: scripts and old programs send UTF-8 in queries, and every server reads it.
/// In a path they are taken for now, and settling the path refuses them unless it is kept as it came.
#[inline]
pub(crate) fn scan_path_and_query(target: &[u8]) -> Result<PathAndQuery, Violation> {
    if target.first() != Some(&b'/') {
        return Err(Violation::Target);
    }
    let path_len = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at_checked(path_len).unwrap_or((target, &[]));
    // Without a branch per byte: legal targets are read to their end anyway.
    let (mut found, mut pairs, mut before) = (0, 0, 0);
    for byte in path {
        let kind = kind(*byte);
        found |= kind;
        // SLASH of the byte before moves to where AT_SLASH of this one is.
        pairs |= (before << 1) & kind;
        before = kind;
    }
    let in_query = query.iter().fold(0, |found, byte| found | kind(*byte));
    if (found & (ILLEGAL | BACKSLASH)) | (in_query & ILLEGAL) != 0 {
        return Err(Violation::Target);
    }
    Ok(PathAndQuery { path_len, suspect: (found & (PERCENT | RAW)) | (pairs & AT_SLASH) != 0 })
}

/// Kinds of bytes in a target or a host; as bits, so that they add up.
const PLAIN: u8 = 0;
const ILLEGAL: u8 = 1;
const BACKSLASH: u8 = 1 << 1;
const PERCENT: u8 = 1 << 2;
const SLASH: u8 = 1 << 3;
/// Bytes that make a path suspect behind a slash. One bit above it.
const AT_SLASH: u8 = SLASH << 1;
/// Bytes that the name of a host may have.
const HOST: u8 = 1 << 5;
/// Bytes that a browser encodes, and other clients may not.
const RAW: u8 = 1 << 6;

#[expect(clippy::indexing_slicing, reason = "evaluated when the crate is compiled")]
const KINDS: [u8; 256] = {
    let mut kinds = [ILLEGAL; 256];
    let mut byte = b'!';
    while byte < 0x7f {
        kinds[byte as usize] = match byte {
            b'#' => ILLEGAL,
            b'"' | b'<' | b'>' => RAW,
            b'\\' => BACKSLASH,
            b'%' => PERCENT,
            b'/' => SLASH | AT_SLASH,
            b'.' => AT_SLASH | HOST,
            b'-' | b'_' | b'~' => HOST,
            _ if byte.is_ascii_alphanumeric() => HOST,
            _ => PLAIN,
        };
        byte += 1;
    }
    let mut beyond_ascii = 0x80;
    while beyond_ascii < kinds.len() {
        kinds[beyond_ascii] = RAW;
        beyond_ascii += 1;
    }
    kinds
};

/// Whether a browser encodes this byte in a path or a query: `"`, `<`, `>` and those beyond ASCII.
#[inline]
pub(crate) fn is_raw(byte: u8) -> bool {
    kind(byte) & RAW != 0
}

#[inline]
fn kind(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or(ILLEGAL)
}

/// Checks `host [":" port]` (RFC 9110 4.2, 7.2) and says how many bytes of it are the host.
///
/// A host is an IPv6 address in brackets, or of letters, digits and `-._~`. The grammar of a
/// reg-name has more (percent-encoding, `,`, `;`, `=` and the like); no name in DNS has, and
/// programs do not agree on their meaning, so they are refused. So are an empty host (RFC 9110
/// 4.2.1), userinfo (RFC 9110 4.2.4) and a port beyond 65535. An empty port is legal, and means that
/// of the scheme (RFC 3986 3.2.3).
///
/// # Errors
/// [`Violation::HostInvalid`].
#[inline]
pub fn check_authority(authority: &[u8]) -> Result<usize, Violation> {
    let host_len = if authority.first() == Some(&b'[') {
        bracketed_len(authority)?
    } else {
        authority.iter().position(|byte| kind(*byte) & HOST == 0).unwrap_or(authority.len())
    };
    match authority.get(host_len..) {
        Some([]) if host_len > 0 => Ok(host_len),
        Some([b':', port @ ..]) if host_len > 0 && is_port(port) => Ok(host_len),
        _ => Err(Violation::HostInvalid),
    }
}

/// The parts of a target in absolute form, RFC 9112 3.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absolute<'a> {
    /// `http` or `https`, in the case it came in.
    pub scheme: &'a [u8],
    /// Host and port; checked.
    pub authority: &'a [u8],
    /// Bytes of the authority that are the host.
    pub host_len: usize,
    /// The bytes behind the authority: none, or they start with `/` or `?`. Not checked.
    pub rest: &'a [u8],
}

/// Takes a target in absolute form apart.
///
/// # Errors
/// [`Violation::Target`] if it has no scheme, or one that is not ours; [`Violation::HostInvalid`].
pub fn split_absolute(target: &[u8]) -> Result<Absolute<'_>, Violation> {
    let scheme_len = memchr::memchr(b':', target).unwrap_or(0);
    let (scheme, after) = target.split_at_checked(scheme_len).ok_or(Violation::Target)?;
    let after = after.strip_prefix(b"://").ok_or(Violation::Target)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Violation::Target);
    }
    let authority_len =
        after.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(after.len());
    let (authority, rest) = after.split_at_checked(authority_len).ok_or(Violation::Target)?;
    let host_len = check_authority(authority)?;
    Ok(Absolute { scheme, authority, host_len, rest })
}

/// Bytes up to and including `]` of an address such as `[::1]`.
fn bracketed_len(authority: &[u8]) -> Result<usize, Violation> {
    let close = memchr::memchr(b']', authority).ok_or(Violation::HostInvalid)?;
    let inner = authority.get(1..close).unwrap_or_default();
    let address = str::from_utf8(inner).map_err(|_| Violation::HostInvalid)?;
    // Zones ("%25eth0") mean nothing to another host, and no version after 6 exists.
    address.parse::<Ipv6Addr>().map_err(|_| Violation::HostInvalid)?;
    Ok(close + 1)
}

fn is_port(port: &[u8]) -> bool {
    // Five digits at most: the sum cannot overflow.
    matches!(port.len(), 0..=5)
        && port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit & 0x0f)) <= 65_535
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_at_the_first_question_mark() {
        assert_eq!(check_path_and_query(b"/"), Ok(1));
        assert_eq!(check_path_and_query(b"/a/b?c?d"), Ok(4));
        assert_eq!(check_path_and_query(b"/?"), Ok(1));
        assert_eq!(check_path_and_query(b"//a//?/\\"), Ok(5));
        assert_eq!(check_path_and_query(b"/{a}|[b]^`'%zz?x={|}\\"), Ok(14));
    }

    #[test]
    fn a_path_is_suspect_when_it_may_not_be_in_normal_form() {
        let suspect = |target: &str| scan_path_and_query(target.as_bytes()).unwrap().suspect;
        for target in ["/", "/a", "/a/b/", "/a.b/c..", "/a?//b/../%41", "/a-~_!$&'()*+,;=:@"] {
            assert!(!suspect(target), "{target}");
        }
        for target in ["/\u{e9}", "/\"", "/<a>"] {
            assert!(suspect(target), "{target}");
        }
        assert!(!suspect("/a?\u{e9}\"<>"), "a query is not looked at");
        for target in ["//", "/a//b", "/.", "/a/..", "/a/.b", "/%41", "/a%", "/a//?b", "/a/.?b"] {
            assert!(suspect(target), "{target}");
        }
    }

    #[test]
    fn bytes_that_no_target_has_are_refused() {
        for target in
            ["", "a", "*", "?a", "/a#b", "/a?b#c", "/\\a", "/\"", "/<", "/>", "/a b", "/é"]
        {
            assert_eq!(check_path_and_query(target.as_bytes()), Err(Violation::Target), "{target}");
        }
        for byte in (0..=b' ').chain(0x7f..=0xff) {
            assert!(check_path_and_query(&[b'/', byte]).is_err());
            assert!(check_path_and_query(&[b'/', b'?', byte]).is_err());
        }
        for byte in (0..=b' ').chain([b'#', 0x7f]) {
            assert!(scan_path_and_query(&[b'/', byte]).is_err());
            assert!(scan_path_and_query(&[b'/', b'?', byte]).is_err());
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port_or_none() {
        let legal = [
            ("a", 1),
            ("example.com", 11),
            ("example.com:80", 11),
            ("127.0.0.1:65535", 9),
            ("[::1]", 5),
            ("[2001:db8::1]:8443", 13),
            ("a:", 1),
            ("[::1]:", 5),
            ("under_score.x~y-z", 17),
        ];
        for (authority, host_len) in legal {
            assert_eq!(check_authority(authority.as_bytes()), Ok(host_len), "{authority}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let illegal = [
            "",
            ":",
            ":80",
            "a:b",
            "a:65536",
            "a:000080",
            "a:+1",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "a%2e",
            "[::1",
            "[::1]a",
            "[]",
            "[1.2.3.4]",
            "[::1%25eth0]",
            "[v1.x]",
            "::1",
            "a:1:2",
            "a\\b",
            "é",
            "a;b",
        ];
        for authority in illegal {
            assert_eq!(
                check_authority(authority.as_bytes()),
                Err(Violation::HostInvalid),
                "{authority}"
            );
        }
    }

    #[test]
    fn absolute_targets_are_taken_apart() {
        let parts = split_absolute(b"HTTP://a.b:8080/c?d").unwrap();
        assert_eq!(parts.scheme, b"HTTP");
        assert_eq!(parts.authority, b"a.b:8080");
        assert_eq!(parts.host_len, 3);
        assert_eq!(parts.rest, b"/c?d");
        assert_eq!(split_absolute(b"https://a").unwrap().rest, b"");
        assert_eq!(split_absolute(b"http://a?b").unwrap().rest, b"?b");
        for target in ["a", "a:80", "http:/a", "ftp://a/", "http//a", "://a/", "mailto:a@b"] {
            assert_eq!(split_absolute(target.as_bytes()), Err(Violation::Target), "{target}");
        }
        for target in ["http://", "http:///a", "http://u@a/", "http://a:b/", "https://?a"] {
            assert_eq!(split_absolute(target.as_bytes()), Err(Violation::HostInvalid), "{target}");
        }
    }

    #[test]
    fn a_long_port_does_not_overflow() {
        // Found by fuzzing: the sum was made before the length was looked at.
        assert_eq!(check_authority(b"a:9999999999999999"), Err(Violation::HostInvalid));
        assert_eq!(check_authority(b"a: Connection"), Err(Violation::HostInvalid));
    }
}
