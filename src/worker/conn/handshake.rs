//! Stage 2, handshake: reads the PROXY protocol header at the beginning of a connection, which names
//! its client.
//!
//! The meaning of the header is `proto`'s. This waits for it, for as long as a request head may take,
//! and reports the outcome. The listener's settings at the moment of the first bytes decide whether
//! a header is expected.
//!
//! Invariant: not a byte behind the header is lost, and none before it is taken for a request.

use engine::address::ClientAddress;
use engine::reason::Reason;
use engine::snapshot::ProxyProtocol;
use engine::stage::Stage;
use engine::time::Instant;
use proto::proxy_protocol::{ProxiedClient, ProxyHeader, parse};

use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::{Buf, HEADROOM, Size};
use crate::side::empty;
use crate::wire::Wire;

/// The outcome of a handshake.
pub(super) enum Handshake {
    /// The connection stands for itself. The buffer holds the first bytes of its first request.
    Unchanged(Buf),
    /// The client is at the address, and connected to that port if one is known. The buffer holds
    /// the first bytes of its first request.
    Client(ClientAddress, Option<u16>, Buf),
    /// No byte came for a while.
    Nothing,
    /// The client ended, or broke off.
    Ended,
    /// The connection is to be closed. Its first byte came then.
    Refused(Reason, Instant),
}

/// Reads the header. `wire.read_micros` is how long the first byte may take, `head_micros` how long
/// all of them.
pub(super) async fn run<N: Net>(
    mut wire: Wire<'_, N>,
    mode: ProxyProtocol,
    head_micros: u64,
) -> Handshake {
    let mut buf = empty(wire.buffers, Size::Small);
    let mut began = None;
    loop {
        if !buf.is_empty() {
            let now = wire.net.now();
            let began = *began.get_or_insert(now);
            match parse(buf.filled()) {
                Ok(ProxyHeader::Incomplete) => {}
                Ok(ProxyHeader::Complete { len, client }) => {
                    buf.consume(len);
                    return match client {
                        ProxiedClient::Unknown => Handshake::Unchanged(buf),
                        ProxiedClient::Unix => Handshake::Client(ClientAddress::Unix, None, buf),
                        ProxiedClient::Ip { source, destination } => {
                            Handshake::Client(source.into(), Some(destination.port()), buf)
                        }
                    };
                }
                Ok(ProxyHeader::Absent) if mode != ProxyProtocol::Required => {
                    return Handshake::Unchanged(buf);
                }
                Ok(ProxyHeader::Absent) => {
                    return Handshake::Refused(Reason::ProxyHeaderMissing, began);
                }
                Err(_) => return Handshake::Refused(Reason::ProxyHeaderMalformed, began),
            }
            wire.read_micros = began.plus_micros(head_micros).micros_since(now).max(1);
        }
        if buf.room() == 0 {
            let bytes = (buf.len() + HEADROOM) * 2;
            buf = buf.grown(bytes);
        }
        let read;
        (read, buf) = wire.read(Stage::Handshake, buf).await;
        match (read, began) {
            (Ok(n), _) if n > 0 => {}
            (Err(Failure { kind: Kind::Timeout, .. }), None) => return Handshake::Nothing,
            (Err(Failure { kind: Kind::Timeout, .. }), Some(began)) => {
                return Handshake::Refused(Reason::ProxyHeaderTimeout, began);
            }
            // A connection that ends before it has said anything is how a port is probed.
            _ => return Handshake::Ended,
        }
    }
}
