//! Stage 1, accept: connections into a core.
//!
//! Who cannot be let in waits in the kernel's queue. Where descriptors or places have run out, idle
//! connections are closed for those that wait (`pressure`), and accepting goes on as soon as there
//! is room.
//!
//! Invariant: a listener that is open accepts. No error of accept(2) ends it, and no panic either.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use engine::address::{ClientAddress, Network};
use engine::snapshot::{Limits, ListenerId, ListenerSettings, ListenerTimeouts, ProxyProtocol};
use proto::path;

use crate::conn;
use crate::deadline::Deadline;
use crate::net::{Listener, Net};
use crate::pressure::{Exhausted, IdleList, exhausted};
use crate::state::{Core, Place};

/// How long accepting pauses when descriptors or memory have run out, in microseconds, unless a
/// connection ends before that. Trying at once would spin; connections wait in the kernel's queue
/// meanwhile.
const PAUSE_MICROS: u64 = 50_000;

/// Connections taken in one turn, beside the one that was waited for. Turns are short as long as
/// nobody else has work; where clients come as fast as they are let in, a request that runs waits
/// for so many in each of its turns, of which it needs five or so on io_uring. With 16, a storm of
/// connections made the 99th percentile of an innocent client 4 times what it was beside a sink.
const BURST_MAX: usize = 4;

/// Idle connections closed at once when the kernel says that there is no descriptor left: somebody
/// else of the process may have taken what was counted on.
const SHED_MAX: usize = 16;

/// A listener as one core sees it, for as long as it is bound or has connections. Its settings
/// change under the connections that it has.
#[derive(Debug)]
pub struct ListenerSlot {
    /// Which one.
    pub id: ListenerId,
    /// What becomes of the paths of requests.
    pub paths: Cell<path::Rules>,
    /// What a request may ask of memory.
    pub limits: Cell<Limits>,
    /// How long a client may keep us waiting.
    pub timeouts: Cell<ListenerTimeouts>,
    /// Whether connections begin with a PROXY protocol header. Holds for new ones.
    pub proxy_protocol: Cell<ProxyProtocol>,
    /// The port that clients connect to; none behind a Unix socket.
    pub port: Option<u16>,
    /// Whose word on who the client is is taken.
    trusted_proxies: RefCell<Box<[Network]>>,
    /// It takes no new connection, and those that it has end with the request that they serve.
    pub closing: Cell<bool>,
    /// Those of its connections that are idle.
    pub idle: IdleList,
    connections: Cell<usize>,
    /// Those of them that have become tunnels.
    tunnels: Cell<usize>,
    /// This core's share of the most connections that it may have.
    connections_max: Cell<usize>,
    /// Connections by client, of those that were counted when they came.
    by_client: RefCell<BTreeMap<ClientKey, usize>>,
    /// Accepting waits for a connection to end.
    waits_for_room: RefCell<Option<Waker>>,
}

impl ListenerSlot {
    pub(crate) fn new(settings: &ListenerSettings, port: Option<u16>, place: Place) -> Self {
        Self {
            id: settings.id,
            paths: Cell::new(settings.paths),
            limits: Cell::new(settings.limits),
            timeouts: Cell::new(settings.timeouts),
            proxy_protocol: Cell::new(settings.proxy_protocol),
            port,
            trusted_proxies: RefCell::new(settings.trusted_proxies.clone()),
            closing: Cell::new(false),
            idle: IdleList::default(),
            connections: Cell::new(0),
            tunnels: Cell::new(0),
            connections_max: Cell::new(place.share(settings.limits.connections_max)),
            by_client: RefCell::default(),
            waits_for_room: RefCell::default(),
        }
    }

    /// Takes over changed settings.
    pub(crate) fn set(&self, settings: &ListenerSettings, place: Place) {
        self.paths.set(settings.paths);
        self.limits.set(settings.limits);
        self.timeouts.set(settings.timeouts);
        self.proxy_protocol.set(settings.proxy_protocol);
        if *self.trusted_proxies.borrow() != settings.trusted_proxies {
            self.trusted_proxies.replace(settings.trusted_proxies.clone());
        }
        self.connections_max.set(place.share(settings.limits.connections_max));
        self.look_around();
    }

    /// Whether `client` may say who a request comes from.
    #[must_use]
    pub fn trusts(&self, client: ClientAddress) -> bool {
        self.trusted_proxies.borrow().iter().any(|network| network.contains(client))
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

    /// A connection becomes a tunnel: counts it for as long as what is returned lives.
    pub(crate) fn open_tunnel(&self) -> OpenTunnel<'_> {
        self.tunnels.set(self.tunnels.get() + 1);
        OpenTunnel(self)
    }

    /// Makes a wait for room look again.
    pub(crate) fn look_around(&self) {
        if let Some(waker) = self.waits_for_room.take() {
            waker.wake();
        }
    }

    fn room(&self) -> usize {
        self.connections_max.get().saturating_sub(self.connections.get())
    }

    /// Counts a connection.
    fn seat(self: &Rc<Self>) -> Seat {
        self.connections.set(self.connections.get() + 1);
        Seat { listener: Rc::clone(self), counted: Cell::new(None) }
    }
}

/// Who a client is where its connections are counted: an IPv4 address, or the first 64 bits of an
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
    listener: Rc<ListenerSlot>,
    counted: Cell<Option<ClientKey>>,
}

impl Seat {
    /// Counts the connection among those of `client`, once it is known who that is; `false` when it
    /// has as many as it may have. Who comes by a Unix socket is not counted: it is everybody.
    pub(crate) fn count_client(&self, client: ClientAddress) -> bool {
        let max = self.listener.limits.get().connections_per_client_max;
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
        listener.look_around();
    }
}

/// A connection that counts as open for as long as this lives.
pub(crate) struct Open<N: Net> {
    pub(crate) core: Rc<Core<N>>,
    pub(crate) seat: Seat,
}

impl<N: Net> Open<N> {
    pub(crate) fn count(core: Rc<Core<N>>, seat: Seat) -> Self {
        core.connections.set(core.connections.get() + 1);
        core.counters.client_connections.add(1);
        Self { core, seat }
    }

    pub(crate) fn listener(&self) -> &ListenerSlot {
        &self.seat.listener
    }
}

impl<N: Net> Drop for Open<N> {
    fn drop(&mut self) {
        self.core.connections.set(self.core.connections.get() - 1);
        // A descriptor is free, for whatever listener.
        self.core.look_around();
    }
}

/// A tunnel that counts as open for as long as this lives.
pub(crate) struct OpenTunnel<'a>(&'a ListenerSlot);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get() - 1);
    }
}

/// Accepts from one listener until it is told to stop; then takes what already waits in the
/// queue, because closing the socket would reset it, and ends. After a panic it begins anew: a
/// listener that nobody accepts from would look well and be deaf.
pub(crate) async fn run<N: Net>(
    core: Rc<Core<N>>,
    socket: Rc<N::Listener>,
    slot: Rc<ListenerSlot>,
) {
    loop {
        let mut accepting = Box::pin(accept(&core, &socket, &slot));
        let mut poll = |cx: &mut Context<'_>| {
            catch_unwind(AssertUnwindSafe(|| accepting.as_mut().poll(cx)))
                .map_or(Poll::Ready(false), |ended| ended.map(|()| true))
        };
        if poll_fn(&mut poll).await {
            return;
        }
        core.counters.panics.add(1);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(accepting)));
        core.counters.panics.add(u64::from(dropped.is_err()));
        let pause = core.wheel.deadline();
        pause.arm(core.net.now(), PAUSE_MICROS);
        poll_fn(|cx| if pause.poll_fired(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

async fn accept<N: Net>(core: &Rc<Core<N>>, socket: &N::Listener, slot: &Rc<ListenerSlot>) {
    let pause = core.wheel.deadline();
    let stops = || core.draining.get() || slot.closing.get();
    while !stops() {
        if slot.room() == 0 {
            let _paused = Paused::count(&core.paused_for_room);
            wait(
                core,
                slot,
                &pause,
                || slot.room() > 0,
                || slot.idle.shed(&core.wheel, core.net.now()),
            )
            .await;
            continue;
        }
        if !core.has_descriptors_for_a_client() {
            core.counters.accept_pauses.add(1);
            let _paused = Paused::count(&core.paused_for_resources);
            let room = || core.has_descriptors_for_a_client();
            wait(core, slot, &pause, room, || core.shed(false)).await;
            continue;
        }
        match socket.accept().await {
            Ok((stream, client)) => {
                admit(core, slot, stream, client);
                let room = slot.room().min(BURST_MAX);
                let taken =
                    take_waiting(core, socket, slot, room, || core.has_descriptors_for_a_client());
                if taken == BURST_MAX {
                    // More may wait, and on epoll an accept that need not wait does not yield.
                    core.net.yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let counters = &core.counters;
                counters.accept_errors.add(1);
                let Some(what) = exhausted(&error) else { continue };
                match what {
                    Exhausted::Descriptors => counters.accept_errors_descriptors.add(1),
                    Exhausted::Memory => counters.accept_errors_memory.add(1),
                }
                counters.accept_pauses.add(1);
                let _paused = Paused::count(&core.paused_for_resources);
                for _ in 0..SHED_MAX {
                    if !core.shed(true) {
                        break;
                    }
                }
                // Whether it helped is learned by trying.
                wait(core, slot, &pause, || false, || false).await;
            }
        }
    }
    take_waiting(core, socket, slot, usize::MAX, || true);
}

/// Waits for `room`, which `shed` may make, or a little while; ends when accepting does.
async fn wait<N: Net>(
    core: &Core<N>,
    slot: &ListenerSlot,
    pause: &Deadline,
    room: impl Fn() -> bool,
    shed: impl FnOnce() -> bool,
) {
    core.pressed.set(true);
    shed();
    pause.arm(core.net.now(), PAUSE_MICROS);
    poll_fn(|cx| {
        let stops = core.draining.get() || slot.closing.get();
        if pause.poll_fired(cx) || stops || room() {
            return Poll::Ready(());
        }
        slot.waits_for_room.replace(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
    pause.clear();
}

/// Counts a listener that does not accept now.
struct Paused<'a>(&'a Cell<u64>);

impl<'a> Paused<'a> {
    fn count(paused: &'a Cell<u64>) -> Self {
        paused.set(paused.get() + 1);
        Self(paused)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Begins to serve a connection, or closes it where its client has too many. Behind a PROXY header
/// that is found out when the header is here.
fn admit<N: Net>(
    core: &Rc<Core<N>>,
    slot: &Rc<ListenerSlot>,
    stream: N::Stream,
    client: ClientAddress,
) {
    let seat = slot.seat();
    if slot.proxy_protocol.get() != ProxyProtocol::Off || seat.count_client(client) {
        core.net.spawn(conn::h1::serve(Rc::clone(core), stream, client, seat));
    } else {
        core.counters.client_refused.add(1);
    }
}

/// Takes up to `max` connections that already wait, while there is `room`. One accept in flight
/// brings one connection in a turn of the core, and a turn is long when the core is busy: a burst
/// would wait in the queue. Says how many it took.
fn take_waiting<N: Net>(
    core: &Rc<Core<N>>,
    socket: &N::Listener,
    slot: &Rc<ListenerSlot>,
    max: usize,
    room: impl Fn() -> bool,
) -> usize {
    for taken in 0..max {
        if !room() {
            return taken;
        }
        match socket.try_accept() {
            Ok(Some((stream, client))) => admit(core, slot, stream, client),
            // What is wrong will be said by the accept that waits.
            Ok(None) | Err(_) => return taken,
        }
    }
    max
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
