//! Header names that the gateway knows, as one byte each, and sets of them.
//!
//! A name is recognised by a perfect hash over its length and three of its bytes, then compared
//! once, eight bytes at a time. The numbers come from a search over multipliers; that they fit the
//! list is checked when the crate is compiled.
//!
//! A set is one `u64`, because the walks over a head test every field against one. The bit of an id is
//! its number modulo 64, which costs nothing to find. So the first and the last ids of the list share
//! their bits, and those in the middle have one of their own. A set can hold only the latter, and the
//! compiler checks that.

macro_rules! header_ids {
    ($($before:ident $name_before:literal,)* ; $($variant:ident $name:literal,)*) => {
        /// A header name that the gateway knows, or [`HeaderId::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderId {
            /// A name that is not on the list: the name is only in the message.
            Other,
            $(#[doc = concat!("`", $name_before, "`")] $before,)*
            /// Not a name: the tombstone of a removed field.
            Removed,
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        const NAMES: &[&str] = &["", $($name_before,)* "", $($name,)*];
        const IDS: &[HeaderId] =
            &[HeaderId::Other, $(HeaderId::$before,)* HeaderId::Removed, $(HeaderId::$variant,)*];
    };
}

header_ids! {
    // Names that no set holds.
    ContentLanguage "content-language",
    ContentDisposition "content-disposition",
    Accept "accept",
    AcceptLanguage "accept-language",
    Pragma "pragma",
    Referer "referer",
    UserAgent "user-agent",
    IfMatch "if-match",
    IfModifiedSince "if-modified-since",
    IfNoneMatch "if-none-match",
    IfUnmodifiedSince "if-unmodified-since",
    AcceptRanges "accept-ranges",
    Age "age",
    Allow "allow",
    Expires "expires",
    LastModified "last-modified",
    Location "location",
    RetryAfter "retry-after",
    ;
    // Names that sets hold.
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
    // Fields that gateways write and read.
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
    CdnLoop "cdn-loop",
    Date "date",
    Server "server",
    // Content.
    ContentType "content-type",
    ContentEncoding "content-encoding",
    ContentRange "content-range",
    // Requests.
    AcceptEncoding "accept-encoding",
    Authorization "authorization",
    CacheControl "cache-control",
    Cookie "cookie",
    Origin "origin",
    Range "range",
    IfRange "if-range",
    // Responses.
    Etag "etag",
    SetCookie "set-cookie",
    Vary "vary",
    WwwAuthenticate "www-authenticate",
    // Names that no set holds. New ones come here.
    StrictTransportSecurity "strict-transport-security",
    AccessControlRequestMethod "access-control-request-method",
    AccessControlRequestHeaders "access-control-request-headers",
    AccessControlAllowOrigin "access-control-allow-origin",
    AccessControlAllowMethods "access-control-allow-methods",
    AccessControlAllowHeaders "access-control-allow-headers",
    AccessControlAllowCredentials "access-control-allow-credentials",
    AccessControlExposeHeaders "access-control-expose-headers",
    AccessControlMaxAge "access-control-max-age",
}

/// Slots of the hash table: a power of two, large enough that a multiplier is found at once.
const SLOTS: usize = 256;
/// Found by trying random odd numbers until no two names met; `TABLE` proves it at compile time.
const MULTIPLIER: u32 = 0xda6f_51dd;

/// The id and the name of each slot, so that one load leads to both; `Other` in an empty slot.
#[expect(clippy::indexing_slicing, reason = "evaluated when the crate is compiled")]
static TABLE: [(HeaderId, &str); SLOTS] = {
    assert!(NAMES.len() == IDS.len() && NAMES.len() <= 256, "an id is one byte");
    let mut table = [(HeaderId::Other, ""); SLOTS];
    let mut number = 0;
    while number < NAMES.len() {
        let name = NAMES[number].as_bytes();
        if name.is_empty() {
            number += 1;
            continue;
        }
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
        IDS.iter().copied().filter(|id| !id.name().is_empty())
    }

    /// The bit of this id in a set; perhaps the bit of another id too, see [`HeaderId::is_own`].
    #[inline]
    const fn bit(self) -> u64 {
        // The number modulo 64.
        1_u64.wrapping_shl(self as u32)
    }

    /// Whether no other id has the same bit.
    #[inline]
    pub(crate) const fn is_own(self) -> bool {
        let number = self as usize;
        number < 64 && number + 64 >= IDS.len()
    }
}

/// A set of header names.
///
/// A set that [`IdSet::of`] made is exact. One that [`IdSet::insert`] made may seem to hold a name
/// that nobody inserted: it proves absence only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdSet(u64);

impl IdSet {
    /// No name.
    pub(crate) const EMPTY: Self = Self(0);

    /// Exactly these names. Each has a bit of its own: another one does not compile in a constant,
    /// and is a bug elsewhere.
    #[inline]
    pub(crate) const fn of<const N: usize>(ids: [HeaderId; N]) -> Self {
        let (mut set, mut rest) = (0, ids.as_slice());
        while let [id, behind @ ..] = rest {
            assert!(
                id.is_own(),
                "this name shares its bit: move it to the middle of the list of names"
            );
            set |= id.bit();
            rest = behind;
        }
        Self(set)
    }

    /// Adds a name, whether or not it has a bit of its own.
    #[inline]
    pub(crate) const fn insert(&mut self, id: HeaderId) {
        self.0 |= id.bit();
    }

    /// Takes the names of an exact set away.
    #[inline]
    pub(crate) const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Whether the name is here.
    #[inline]
    pub(crate) const fn has(self, id: HeaderId) -> bool {
        self.0 & id.bit() != 0
    }

    /// Whether any of these names is here.
    #[inline]
    pub(crate) const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The names of both.
    #[inline]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of this that the other does not have.
    #[inline]
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
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

    #[test]
    fn a_set_has_the_names_it_is_made_of_and_no_other() {
        let set = IdSet::of([HeaderId::Host, HeaderId::Vary]);
        for id in HeaderId::all() {
            assert_eq!(set.has(id), matches!(id, HeaderId::Host | HeaderId::Vary), "{id:?}");
        }
        let mut seen = IdSet::EMPTY;
        let [accept, credentials] =
            [HeaderId::Accept, HeaderId::AccessControlAllowCredentials].map(HeaderId::bit);
        assert_eq!(accept, credentials, "names that share a bit are tested too, and in the table");
        seen.insert(HeaderId::AccessControlMaxAge);
        assert!(seen.has(HeaderId::AccessControlMaxAge) && !seen.has(HeaderId::Host));
    }

    #[test]
    #[should_panic(expected = "shares its bit")]
    fn a_name_that_shares_its_bit_is_in_no_set() {
        let _ = IdSet::of([HeaderId::AccessControlMaxAge]);
    }

    proptest! {
        #[test]
        fn any_bytes_agree_with_a_linear_search(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let known = HeaderId::all().find(|id| name.eq_ignore_ascii_case(id.name().as_bytes()));
            prop_assert_eq!(HeaderId::of(&name), known.unwrap_or(HeaderId::Other));
        }
    }
}
