//! The PROXY protocol, versions 1 and 2: the header in which a load balancer names the client, at the
//! beginning of a connection.
//!
//! [`parse`] looks at all bytes that have come so far; call it again when more have come. A header is
//! at most [`HEADER_BYTES_MAX`] long, so that costs little. Bytes that cannot become a header any more
//! are refused at once. The caller decides whether to expect a header, and from which peers.
//!
//! Invariant: a header is accepted exactly if the specification lets a sender write it; the answer
//! does not depend on how the bytes arrive. "The PROXY protocol", versions 1 and 2, sections 2.1 and
//! 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of either version. Version 2 could have 64 KiB; the headers that balancers
/// write (with names of endpoints, of TLS clients) are far shorter, and nginx takes no more either.
pub const HEADER_BYTES_MAX: usize = 4096;

/// The longest line of version 1, with its CRLF (section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// The first bytes of version 1.
const LINE_START: &[u8] = b"PROXY ";

/// The first bytes of version 2 (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const PREAMBLE_BYTES: usize = 16;

/// The client that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxiedClient {
    /// None: the balancer speaks for itself, or does not know (`LOCAL`, `UNKNOWN`, `UNSPEC`). The
    /// connection's own addresses stand.
    Unknown,
    /// The client connected from `source` to `destination`.
    Ip {
        /// Where the client is.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// The client connected by a Unix socket.
    Unix,
}

/// Whether a connection begins with a header, judged by the bytes that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// They may become a header.
    Incomplete,
    /// They are no header and begin none.
    Absent,
    /// They begin with a header.
    Complete {
        /// Bytes of it. The client's own bytes follow.
        len: usize,
        /// The client that it names.
        client: ProxiedClient,
    },
}

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident $token:literal,)*) => {
        /// The fault of bytes that begin as a header does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[$doc])* $variant,)*
        }

        impl Fault {
            /// A word for it.
            #[must_use]
            pub const fn token(self) -> &'static str {
                match self { $(Self::$variant => $token,)* }
            }
        }
    };
}

faults! {
    /// Version 1: not the words of the grammar, one space between them, CRLF at the end.
    Line "line",
    /// Version 1: no CRLF within 107 bytes.
    LineTooLong "line_too_long",
    /// An address that is not of the family, or not in its textual form.
    Address "address",
    /// A port that is not 0 to 65535 in plain digits.
    Port "port",
    /// Version 2: another version, or a command that is neither LOCAL nor PROXY.
    Command "command",
    /// Version 2: a family and transport that no stream has.
    Family "family",
    /// Version 2: shorter than the addresses of its family.
    Short "short",
    /// Version 2: longer than [`HEADER_BYTES_MAX`].
    TooLong "too_long",
    /// Version 2: a vector of type, length and value that does not end where the header does.
    Vector "vector",
    /// Version 2: the checksum is not that of the header.
    Checksum "checksum",
}

/// Judges `bytes`, the first of a connection.
///
/// # Errors
/// They begin as a header does, and cannot become one.
pub fn parse(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    if begins(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins(bytes, LINE_START) {
        return version_1(bytes);
    }
    Ok(ProxyHeader::Absent)
}

/// Whether `bytes` begin with `start`, as far as they go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// Reads a line of version 1, section 2.1: `PROXY TCP4 192.0.2.1 192.0.2.2 4660 443 CRLF`.
fn version_1(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    // Look for the end first: a line that is too long is refused before all of it is here.
    let within = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() < LINE_BYTES_MAX {
            Ok(ProxyHeader::Incomplete)
        } else {
            Err(Fault::LineTooLong)
        };
    };
    match bytes.get(end..end + 2) {
        // The CR may be within the bound and its LF beyond.
        Some(b"\r\n") if end + 2 <= LINE_BYTES_MAX => {}
        Some(b"\r\n") => return Err(Fault::LineTooLong),
        None if bytes.get(end) == Some(&b'\r') => return Ok(ProxyHeader::Incomplete),
        _ => return Err(Fault::Line),
    }
    let line = bytes.get(LINE_START.len()..end).ok_or(Fault::Line)?;
    Ok(ProxyHeader::Complete { len: end + 2, client: client_of_line(line)? })
}

/// Reads the words behind `PROXY `, without the line end.
fn client_of_line(line: &[u8]) -> Result<ProxiedClient, Fault> {
    let line = str::from_utf8(line).map_err(|_| Fault::Line)?;
    // The rest of such a line is to be ignored.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(ProxiedClient::Unknown);
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(Fault::Line);
    let (family, source, destination) = (word()?, word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(Fault::Line);
    }
    let ip = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| Fault::Address),
        "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| Fault::Address),
        _ => Err(Fault::Line),
    };
    let (source, destination) = (ip(source)?, ip(destination)?);
    Ok(ProxiedClient::Ip {
        source: SocketAddr::new(source, port(source_port)?),
        destination: SocketAddr::new(destination, port(destination_port)?),
    })
}

/// Reads a port: plain digits, and no leading zeros.
/// Reads a port: plain digits, and no leading zeros.
fn port(text: &str) -> Result<u16, Fault> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| plain && !padded).ok_or(Fault::Port)
}

/// Reads a header of version 2, section 2.2: signature, version and command, family, length, then
/// addresses and vectors.
fn version_2(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    // Each byte is judged as soon as it is here, so that a bad one is refused without the rest.
    let [command, family] = match bytes.get(SIGNATURE.len()..) {
        None | Some([]) => return Ok(ProxyHeader::Incomplete),
        Some([command]) => return is_command(*command).map(|_| ProxyHeader::Incomplete),
        Some([command, family, ..]) => [*command, *family],
    };
    let local = is_command(command)?;
    // LOCAL: the family is ignored, and all that follows it is skipped.
    let addresses_len = if local { 0 } else { addresses_len(family)? };
    let Some(&[_, _, high, low]) = bytes.get(SIGNATURE.len()..PREAMBLE_BYTES) else {
        return Ok(ProxyHeader::Incomplete);
    };
    // The length counts everything behind itself.
    // The length counts everything behind itself.
    let len = PREAMBLE_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len < PREAMBLE_BYTES + addresses_len {
        return Err(Fault::Short);
    }
    if len > HEADER_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    let Some(header) = bytes.get(..len) else { return Ok(ProxyHeader::Incomplete) };
    let (addresses, vectors) = header
        .get(PREAMBLE_BYTES..)
        .and_then(|rest| rest.split_at_checked(addresses_len))
        .ok_or(Fault::Short)?;
    let client = match addresses {
        [] => ProxiedClient::Unknown,
        _ => client_of_addresses(addresses),
    };
    // Without a family nobody knows where the addresses end and the vectors begin.
    if addresses_len > 0 {
        check_vectors(header, vectors)?;
    }
    Ok(ProxyHeader::Complete { len, client })
}

/// Whether the command is LOCAL; else it is PROXY.
fn is_command(byte: u8) -> Result<bool, Fault> {
    match byte {
        0x20 => Ok(true),
        0x21 => Ok(false),
        _ => Err(Fault::Command),
    }
}

/// How long the addresses of a family are. Datagrams do not come by a stream.
fn addresses_len(family: u8) -> Result<usize, Fault> {
    match family {
        0x00 => Ok(0),
        0x11 => Ok(2 * (4 + 2)),
        0x21 => Ok(2 * (16 + 2)),
        0x31 => Ok(2 * 108),
        _ => Err(Fault::Family),
    }
}

/// Addresses of one of the three lengths.
fn client_of_addresses(addresses: &[u8]) -> ProxiedClient {
    let address = |ip: IpAddr, port: [u8; 2]| SocketAddr::new(ip, u16::from_be_bytes(port));
    if let Some((&[a, b, c, d, e, f, g, h, i, j, k, l], [])) = addresses.split_first_chunk::<12>() {
        return ProxiedClient::Ip {
            source: address(Ipv4Addr::new(a, b, c, d).into(), [i, j]),
            destination: address(Ipv4Addr::new(e, f, g, h).into(), [k, l]),
        };
    }
    let ip = |from: usize| -> Option<IpAddr> {
        let bytes = addresses.get(from..)?.first_chunk::<16>()?;
        Some(Ipv6Addr::from(*bytes).into())
    };
    let port = |from: usize| addresses.get(from..)?.first_chunk::<2>().copied();
    match (addresses.len(), ip(0), ip(16), port(32), port(34)) {
        (36, Some(source), Some(destination), Some(source_port), Some(destination_port)) => {
            ProxiedClient::Ip {
                source: address(source, source_port),
                destination: address(destination, destination_port),
            }
        }
        _ => ProxiedClient::Unix,
    }
}

/// The type of the vector with the checksum of the header (section 2.2.3).
const CRC32C: u8 = 0x03;

/// Checks that vectors of type, length and value fill their room, and a checksum if there is one.
fn check_vectors(header: &[u8], mut vectors: &[u8]) -> Result<(), Fault> {
    let mut sum = None;
    while let Some((&[kind, high, low], rest)) = vectors.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(len).ok_or(Fault::Vector)?;
        if kind == CRC32C {
            let value = <[u8; 4]>::try_from(value).map_err(|_| Fault::Vector)?;
            // Its place: counted from the end, since `rest` is all that follows it.
            let at = header.len() - rest.len() - value.len();
            if sum.replace((at, u32::from_be_bytes(value))).is_some() {
                return Err(Fault::Vector);
            }
        }
        vectors = rest;
    }
    if !vectors.is_empty() {
        return Err(Fault::Vector);
    }
    let Some((at, expected)) = sum else { return Ok(()) };
    // It is made over the header with zeros in its place.
    let counted = header.iter().enumerate();
    let zeroed = counted.map(|(index, byte)| if (at..at + 4).contains(&index) { 0 } else { *byte });
    if crc32c(zeroed) == expected { Ok(()) } else { Err(Fault::Checksum) }
}

/// CRC-32C (Castagnoli), RFC 3720 appendix B.4. Bit by bit: once per connection at most.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(sum & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::h1::vectors::{Facts, facts, rows, run, splits};

    const VECTORS: &str = include_str!("../../tests/vectors/proxy_protocol.txt");

    /// The verdict of a row: the first that is not "more", however the bytes come.
    fn verdict(bytes: &[u8]) -> Result<Facts, String> {
        let whole = parse(bytes);
        let first = (0..=bytes.len())
            .map(|len| parse(&bytes[..len]))
            .find(|step| *step != Ok(ProxyHeader::Incomplete))
            .unwrap_or(Ok(ProxyHeader::Incomplete));
        assert_eq!(first, whole, "byte by byte");
        for at in splits(bytes.len()) {
            let early = parse(&bytes[..at]);
            assert!(early == Ok(ProxyHeader::Incomplete) || early == whole, "split at {at}");
        }
        match whole {
            Ok(ProxyHeader::Incomplete) => Err("incomplete".to_owned()),
            Ok(ProxyHeader::Absent) => Err("no_header".to_owned()),
            Err(fault) => Err(fault.token().to_owned()),
            Ok(ProxyHeader::Complete { len, client }) => {
                let (source, destination) = match client {
                    ProxiedClient::Ip { source, destination } => {
                        (source.to_string(), destination.to_string())
                    }
                    ProxiedClient::Unix => ("unix".to_owned(), "unix".to_owned()),
                    ProxiedClient::Unknown => ("-".to_owned(), "-".to_owned()),
                };
                Ok(facts([
                    ("source", source.into_bytes()),
                    ("destination", destination.into_bytes()),
                    ("rest", (bytes.len() - len).to_string().into_bytes()),
                ]))
            }
        }
    }

    #[test]
    fn headers_are_as_written() {
        run(VECTORS, |row| verdict(&row.bytes));
        let legal = rows(VECTORS).filter(|row| row.verdict == "ok").count();
        let all = rows(VECTORS).count();
        assert!(all >= 100 && legal * 5 >= all, "{legal} of {all}");
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
        assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    }

    /// A header of version 2 over IPv4 with these vectors, and a checksum behind them.
    fn summed(vectors: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut header = [SIGNATURE, &[0x21, 0x11, 0, 0]].concat();
        header.extend([192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0, 80]);
        for (kind, value) in vectors {
            header.push(*kind);
            header.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            header.extend(value);
        }
        header.extend([CRC32C, 0, 4, 0, 0, 0, 0]);
        let len = u16::try_from(header.len() - PREAMBLE_BYTES).unwrap().to_be_bytes();
        header[14..16].copy_from_slice(&len);
        let sum = crc32c(header.iter().copied()).to_be_bytes();
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum);
        header
    }

    proptest! {
        #[test]
        fn a_checksum_vouches_for_the_addresses(
            vectors in prop::collection::vec((4u8..=255, prop::collection::vec(any::<u8>(), 0..40)), 0..5),
            at in 0usize..16,
            bit in 0u8..8,
        ) {
            let mut header = summed(&vectors);
            let client = ProxiedClient::Ip {
                source: "192.0.2.1:4660".parse().unwrap(),
                destination: "192.0.2.2:80".parse().unwrap(),
            };
            prop_assert_eq!(parse(&header), Ok(ProxyHeader::Complete { len: header.len(), client }));
            // In the addresses, or in the checksum itself.
            let last = header.len() - 4;
            header[if at < 12 { PREAMBLE_BYTES + at } else { last + at - 12 }] ^= 1 << bit;
            prop_assert_eq!(parse(&header), Err(Fault::Checksum));
        }

        #[test]
        fn any_bytes_are_judged_alike_in_any_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            start in prop::sample::select(vec![&b""[..], LINE_START, SIGNATURE, b"PROXY TCP4 1.2.3.4 "]),
        ) {
            let _ = verdict(&[start, &bytes].concat());
        }
    }
}
