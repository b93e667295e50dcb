//! Header names that the gateway knows, as one byte each.
//!
//! A name is recognised by a perfect hash over its length and three of its bytes, then compared
//! once, eight bytes at a time. The numbers come from a search over multipliers; that they fit the
//! list is checked when the crate is compiled.

macro_rules! header_ids {
    ($($variant:ident $name:literal,)*) => {
        /// A header name that the gateway knows, or [`HeaderId::Other`].
        ///
        /// There are 64, so that a set of them is one `u64`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderId {
            /// A name that is not on the list: the name is only in the message.
            Other,
            /// Not a name: the tombstone of a removed field.
            Removed,
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        const NAMES: &[&str] = &["", "", $($name,)*];
        const IDS: &[HeaderId] = &[HeaderId::Other, HeaderId::Removed, $(HeaderId::$variant,)*];
    };
}

header_ids! {
    // Framing, connection and message control (RFC 9110 7.6, RFC 9112).
    Host "host",
    Connection "connection",
    KeepAlive "keep-alive",
    ProxyConnection "proxy-connection",
    ProxyAuthenticate "proxy-authenticate",
    ProxyAuthorization "proxy-authorization",
    ContentLength "content-length",
    TransferEncoding "transfer-encoding",
    Te "te",
    Trailer "trailer",
    Upgrade "upgrade",
    Expect "expect",
    MaxForwards "max-forwards",
    Http2Settings "http2-settings",
    // What gateways write and read.
    XForwardedFor "x-forwarded-for",
    XForwardedProto "x-forwarded-proto",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    Forwarded "forwarded",
    XRealIp "x-real-ip",
    XRequestId "x-request-id",
    Traceparent "traceparent",
    Tracestate "tracestate",
    Via "via",
    Date "date",
    Server "server",
    // Content.
    ContentType "content-type",
    ContentEncoding "content-encoding",
    ContentLanguage "content-language",
    ContentRange "content-range",
    ContentDisposition "content-disposition",
    // Requests.
    Accept "accept",
    AcceptEncoding "accept-encoding",
    AcceptLanguage "accept-language",
    Authorization "authorization",
    CacheControl "cache-control",
    Cookie "cookie",
    Origin "origin",
    Pragma "pragma",
    Range "range",
    Referer "referer",
    UserAgent "user-agent",
    IfMatch "if-match",
    IfModifiedSince "if-modified-since",
    IfNoneMatch "if-none-match",
    IfRange "if-range",
    IfUnmodifiedSince "if-unmodified-since",
    // Responses.
    AcceptRanges "accept-ranges",
    Age "age",
    Allow "allow",
    Etag "etag",
    Expires "expires",
    LastModified "last-modified",
    Location "location",
    RetryAfter "retry-after",
    SetCookie "set-cookie",
    Vary "vary",
    WwwAuthenticate "www-authenticate",
    AccessControlRequestMethod "access-control-request-method",
    AccessControlRequestHeaders "access-control-request-headers",
    AccessControlAllowOrigin "access-control-allow-origin",
    StrictTransportSecurity "strict-transport-security",
}

/// Slots of the hash table: the smallest power of two for which a multiplier was found.
const SLOTS: usize = 128;
/// Found by trying random odd numbers until no two names met; `TABLE` proves it at compile time.
const MULTIPLIER: u32 = 0x25e5_c547;

/// What is known of each slot, so that one load leads to all of it; `Other` where no name falls.
#[expect(clippy::indexing_slicing, reason = "evaluated when the crate is compiled")]
static TABLE: [(HeaderId, &str); SLOTS] = {
    assert!(NAMES.len() == IDS.len() && NAMES.len() <= 64, "a set of ids must fit a u64");
    let mut table = [(HeaderId::Other, ""); SLOTS];
    let mut number = 2;
    while number < NAMES.len() {
        let name = NAMES[number].as_bytes();
        let slot = slot(name.len(), name[0], name[name.len() - 2], name[name.len() - 1]);
        assert!(table[slot].1.is_empty(), "two names in one slot: search for another multiplier");
        table[slot] = (IDS[number], NAMES[number]);
        number += 1;
    }
    table
};

impl HeaderId {
    /// The id of a name, in any case; [`HeaderId::Other`] if it is not on the list.
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let (Some(&first), Some(&[before, last])) = (name.first(), name.last_chunk()) else {
            return Self::Other;
        };
        match TABLE.get(slot(name.len(), first, before, last)) {
            Some((id, known)) if same_name(name, known.as_bytes()) => *id,
            _ => Self::Other,
        }
    }

    /// The name in lower case; empty for `Other` and `Removed`.
    #[inline]
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or("")
    }

    /// All known names, without `Other` and `Removed`.
    pub fn all() -> impl Iterator<Item = Self> {
        IDS.iter().skip(2).copied()
    }

    /// The id as a one-element set, for tests against several ids at once.
    #[inline]
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// The slot of a name with this length, first byte and last two bytes, in any case.
const fn slot(len: usize, first: u8, before: u8, last: u8) -> usize {
    // Setting 0x20 folds letters to lower case. It also folds a few other bytes together, which
    // only sends names that are on no list to the comparison.
    let [len, ..] = len.to_le_bytes();
    let key = u32::from_be_bytes([len, first | 0x20, before | 0x20, last | 0x20]);
    (key.wrapping_mul(MULTIPLIER) >> (u32::BITS - SLOTS.trailing_zeros())) as usize
}

/// Whether `name`, in any case, is `lower`, which consists of `a-z`, digits and `-`.
#[inline]
fn same_name(name: &[u8], lower: &[u8]) -> bool {
    if name.len() != lower.len() {
        return false;
    }
    // Whole words from the front, and one from the back that overlaps them.
    if let (Some(tail), Some(lower_tail)) = (name.last_chunk(), lower.last_chunk()) {
        let words = name.as_chunks().0.iter().zip(lower.as_chunks().0);
        return same_word(u64::from_ne_bytes(*tail), u64::from_ne_bytes(*lower_tail))
            && words.into_iter().all(|(word, lower)| {
                same_word(u64::from_ne_bytes(*word), u64::from_ne_bytes(*lower))
            });
    }
    match (halves(name), halves(lower)) {
        (Some(word), Some(lower)) => same_word(word, lower),
        _ => name.eq_ignore_ascii_case(lower),
    }
}

/// The first four bytes and the last four, which may overlap, in one word.
#[inline]
fn halves(name: &[u8]) -> Option<u64> {
    let (first, last) = (name.first_chunk()?, name.last_chunk()?);
    Some(u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last)))
}

/// Whether eight bytes, in any case, are `lower`. Exact for any input: only where `lower` has a
/// letter (bit 0x40 is set in letters, not in digits and `-`) is bit 0x20 ignored.
#[inline]
const fn same_word(word: u64, lower: u64) -> bool {
    let case = (lower & 0x4040_4040_4040_4040) >> 1;
    word | case == lower
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for id in HeaderId::all() {
            let name = id.name();
            assert_eq!(HeaderId::of(name.as_bytes()), id, "{name}");
            assert_eq!(HeaderId::of(name.to_ascii_uppercase().as_bytes()), id, "{name}");
        }
        assert_eq!(HeaderId::all().count(), NAMES.len() - 2);
    }

    #[test]
    fn a_byte_more_less_or_different_is_another_name() {
        for id in HeaderId::all() {
            let name = id.name().as_bytes();
            assert_eq!(HeaderId::of(&name[1..]), HeaderId::Other);
            assert_eq!(HeaderId::of(&[name, b"s"].concat()), HeaderId::Other);
            for at in 0..name.len() {
                for byte in 0..=255u8 {
                    let mut changed = name.to_vec();
                    changed[at] = byte;
                    let same = changed.eq_ignore_ascii_case(name);
                    assert_eq!(HeaderId::of(&changed) == id, same, "{changed:?}");
                }
            }
        }
    }

    #[test]
    fn ids_are_numbered_as_their_tables() {
        for (number, id) in IDS.iter().enumerate() {
            assert_eq!(*id as usize, number);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_agree_with_a_linear_search(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let known = HeaderId::all().find(|id| name.eq_ignore_ascii_case(id.name().as_bytes()));
            prop_assert_eq!(HeaderId::of(&name), known.unwrap_or(HeaderId::Other));
        }
    }
}
