//! PROXY protocol headers: any bytes, in any pieces, get the same verdict, and a header is as long as
//! it says.
//!
//! "The PROXY protocol", versions 1 and 2; see `proto::proxy_protocol`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::proxy_protocol::{HEADER_BYTES_MAX, ProxiedClient, ProxyHeader, parse};

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    // Once something else than "more" is said, it stays so.
    let mut verdict = None;
    for len in 0..=input.len() {
        let step = parse(&input[..len]);
        match verdict {
            None if step == Ok(ProxyHeader::Incomplete) => {
                assert!(len < HEADER_BYTES_MAX, "a header without end");
            }
            None => verdict = Some(step),
            Some(verdict) => {
                assert_eq!(step, verdict, "the verdict changes with byte {len}");
                break;
            }
        }
    }
    assert_eq!(verdict.unwrap_or(Ok(ProxyHeader::Incomplete)), whole, "the verdict depends on the pieces");
    let Ok(ProxyHeader::Complete { len, client }) = whole else { return };
    assert!((8..=HEADER_BYTES_MAX).contains(&len) && len <= input.len());
    if let (ProxiedClient::Ip { source, destination }, true) = (client, input.starts_with(b"PROXY ")) {
        // Written again it says the same.
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        let line =
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
        assert_eq!(parse(line.as_bytes()), Ok(ProxyHeader::Complete { len: line.len(), client }));
    }
});
