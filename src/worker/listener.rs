//! A listener as one core sees it: its settings, and the count of its connections.
//!
//! The accept loop ([`accept`](crate::accept)) lets connections in; a connection holds a [`Seat`]
//! for as long as it lives.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;

use engine::address::ClientAddress;
use engine::snapshot::{ListenerId, ListenerSettings};

use crate::core::CoreShare;
use crate::pressure::IdleList;
use crate::telemetry::tls::TlsTally;

/// A listener as one core sees it, for as long as it is bound or has connections. Its settings
/// change under the connections that it has.
#[derive(Debug)]
pub struct ListenerSlot {
    /// Which one.
    pub id: ListenerId,
    settings: RefCell<Rc<ListenerSettings>>,
    /// The port that clients connect to; none behind a Unix socket.
    pub port: Option<u16>,
    /// It takes no new connection, and those that it has end with the request that they serve.
    pub closing: Cell<bool>,
    /// Those of its connections that are idle.
    pub idle: IdleList,
    /// Its TLS handshakes.
    pub tls: TlsTally,
    connections: Cell<usize>,
    /// Those of them that have become tunnels.
    tunnels: Cell<usize>,
    /// This core's share of the most connections that it may have.
    connections_max: Cell<usize>,
    share: CoreShare,
    /// Connections by client, of those that were counted when they came.
    by_client: RefCell<BTreeMap<ClientKey, usize>>,
    /// Accepting waits for a connection to end.
    pub(crate) waits_for_room: RefCell<Option<Waker>>,
}

impl ListenerSlot {
    pub(crate) fn new(settings: &ListenerSettings, port: Option<u16>, share: CoreShare) -> Self {
        Self {
            id: settings.id,
            settings: RefCell::new(Rc::new(settings.clone())),
            port,
            share,
            closing: Cell::new(false),
            idle: IdleList::default(),
            tls: TlsTally::default(),
            connections: Cell::new(0),
            tunnels: Cell::new(0),
            connections_max: Cell::new(share.of(settings.limits.connections_max.count())),
            by_client: RefCell::default(),
            waits_for_room: RefCell::default(),
        }
    }

    /// Takes over changed settings. They hold for the next request of each connection.
    pub(crate) fn follow(&self, settings: &ListenerSettings) {
        if **self.settings.borrow() == *settings {
            return;
        }
        self.settings.replace(Rc::new(settings.clone()));
        self.connections_max.set(self.share.of(settings.limits.connections_max.count()));
        self.wake_accept();
    }

    /// Its settings in the present version.
    #[must_use]
    pub fn settings(&self) -> Rc<ListenerSettings> {
        Rc::clone(&self.settings.borrow())
    }

    /// Whether the gateway believes `client` about the origin of a request.
    #[must_use]
    pub fn trusts(&self, client: ClientAddress) -> bool {
        let settings = self.settings.borrow();
        settings.trusted_proxies.iter().any(|network| network.contains(client))
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Tunnels open now.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.tunnels.get()
    }

    /// A connection becomes a tunnel: counts it for as long as the returned guard lives.
    pub(crate) fn open_tunnel(&self) -> OpenTunnel<'_> {
        self.tunnels.set(self.tunnels.get() + 1);
        OpenTunnel(self)
    }

    /// Makes a wait for room look again.
    pub(crate) fn wake_accept(&self) {
        if let Some(waker) = self.waits_for_room.take() {
            waker.wake();
        }
    }

    /// How many more connections it may have.
    pub(crate) fn room(&self) -> usize {
        self.connections_max.get().saturating_sub(self.connections.get())
    }

    /// Counts a connection.
    pub(crate) fn seat(self: &Rc<Self>) -> Seat {
        self.connections.set(self.connections.get() + 1);
        Seat { listener: Rc::clone(self), counted: Cell::new(None) }
    }
}

/// The key under which a client's connections are counted: an IPv4 address, or the first 64 bits of an
/// IPv6 address, since whoever has one of these has them all. An IPv4 address stands behind
/// `0000:0001`, in a part of the IPv6 space that belongs to nobody (RFC 4291 section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ClientKey(u64);

impl ClientKey {
    fn of(client: ClientAddress) -> Option<Self> {
        Some(match client.ip()? {
            IpAddr::V4(address) => Self(1 << 32 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(u64::try_from(address.to_bits() >> 64).unwrap_or(0)),
        })
    }
}

/// A place among the connections of a listener, for as long as this lives.
#[derive(Debug)]
pub struct Seat {
    pub(crate) listener: Rc<ListenerSlot>,
    counted: Cell<Option<ClientKey>>,
}

impl Seat {
    /// Counts the connection among those of `client`, once its address is known; `false` when it
    /// has as many as it may have. Clients of a Unix socket are not counted: they have no addresses.
    pub(crate) fn count_client(&self, client: ClientAddress) -> bool {
        let max = self.listener.settings().limits.connections_per_client_max.count();
        let Some(key) = ClientKey::of(client).filter(|_| max != usize::MAX) else { return true };
        let mut by_client = self.listener.by_client.borrow_mut();
        let count = by_client.entry(key).or_insert(0);
        if *count >= max {
            return false;
        }
        *count += 1;
        self.counted.set(Some(key));
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let listener = &self.listener;
        listener.connections.set(listener.connections.get() - 1);
        if let Some(key) = self.counted.get() {
            let mut by_client = listener.by_client.borrow_mut();
            if let Some(count) = by_client.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    by_client.remove(&key);
                }
            }
        }
        listener.wake_accept();
    }
}

/// A tunnel that counts as open for as long as this lives.
pub(crate) struct OpenTunnel<'a>(&'a ListenerSlot);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let key = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            ClientKey::of(std::net::SocketAddr::new(address, 80).into()).unwrap()
        };
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("0.0.0.0"), key("::"));
        assert_eq!(ClientKey::of(ClientAddress::Unix), None);
    }
}
