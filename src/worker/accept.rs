//! Stage 1, accept: connections into a core.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use engine::address::{ClientAddress, Network};
use engine::snapshot::{Limits, ListenerId, ListenerSettings, ListenerTimeouts, ProxyProtocol};
use proto::path;

use crate::conn;
use crate::net::{Listener, Net};
use crate::state::{Core, Place};

/// How long accepting pauses when descriptors or memory have run out, in microseconds. Trying at
/// once would spin; connections wait in the kernel's queue meanwhile.
const PAUSE_MICROS: u64 = 50_000;

/// Connections taken in one turn: enough to empty a queue of 4,096 in 64 turns, few enough for what
/// runs not to notice.
const BURST_MAX: usize = 64;

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
    connections: Cell<usize>,
    /// Those of them that have become tunnels.
    tunnels: Cell<usize>,
    /// This core's share of the most connections that it may have.
    connections_max: Cell<usize>,
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
            connections: Cell::new(0),
            tunnels: Cell::new(0),
            connections_max: Cell::new(place.share(settings.limits.connections_max)),
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
}

/// A connection that counts as open for as long as this lives.
pub(crate) struct Open<N: Net> {
    pub(crate) core: Rc<Core<N>>,
    pub(crate) listener: Rc<ListenerSlot>,
}

impl<N: Net> Open<N> {
    pub(crate) fn count(core: Rc<Core<N>>, listener: Rc<ListenerSlot>) -> Self {
        core.connections.set(core.connections.get() + 1);
        core.counters.client_connections.add(1);
        listener.connections.set(listener.connections.get() + 1);
        Self { core, listener }
    }
}

impl<N: Net> Drop for Open<N> {
    fn drop(&mut self) {
        self.core.connections.set(self.core.connections.get() - 1);
        self.listener.connections.set(self.listener.connections.get() - 1);
        self.listener.look_around();
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
/// queue, because closing the socket would reset it, and ends.
pub(crate) async fn run<N: Net>(
    core: Rc<Core<N>>,
    socket: Rc<N::Listener>,
    slot: Rc<ListenerSlot>,
) {
    let pause = core.wheel.deadline();
    let stops = || core.draining.get() || slot.closing.get();
    while !stops() {
        if slot.room() == 0 {
            // Further clients wait in the kernel's queue.
            poll_fn(|cx| {
                if slot.room() > 0 || stops() {
                    return Poll::Ready(());
                }
                slot.waits_for_room.replace(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
            continue;
        }
        match socket.accept().await {
            Ok((stream, client)) => {
                core.net.spawn(conn::h1::serve(Rc::clone(&core), stream, client, Rc::clone(&slot)));
                take_waiting::<N>(&core, &socket, &slot, BURST_MAX.min(slot.room()));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                core.counters.accept_errors.add(1);
                if is_exhaustion(&error) {
                    pause.arm(core.net.now(), PAUSE_MICROS);
                    let over = Cell::new(false);
                    poll_fn(|cx| {
                        over.set(pause.poll_fired(cx) || stops());
                        if over.get() { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                }
            }
        }
    }
    take_waiting::<N>(&core, &socket, &slot, usize::MAX);
}

/// Takes up to `max` connections that already wait. One accept in flight brings one connection in
/// a turn of the core, and a turn is long when the core is busy: a burst would wait in the queue.
fn take_waiting<N: Net>(
    core: &Rc<Core<N>>,
    socket: &N::Listener,
    slot: &Rc<ListenerSlot>,
    max: usize,
) {
    for _ in 0..max {
        match socket.try_accept() {
            Ok(Some((stream, client))) => {
                core.net.spawn(conn::h1::serve(Rc::clone(core), stream, client, Rc::clone(slot)));
            }
            // What is wrong will be said by the accept that waits.
            Ok(None) | Err(_) => return,
        }
    }
}

/// Whether trying again at once would fail the same way. Anything else (`ECONNABORTED`, and the
/// network errors that accept(2) passes on) belongs to the one connection that is gone.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
