//! Tunnels: after an upgrade, bytes both ways as they are, until both sides have ended.
//!
//! Two pumps polled together in one task, as in [`forward`](super::forward). A pump holds one buffer
//! at most, reads no more than it can pass on, and passes on the end of its direction while the other
//! goes on. A reset of either side resets the other; a side that has closed behind its end stops one
//! direction, and the bytes that it had sent still arrive. When nothing has come for [`LINGER_MICROS`],
//! a pump gives its buffer back and waits for readiness: an idle tunnel holds no buffer, no head,
//! no version of the configuration, and not the exchange that it began as.
//!
//! Beside its two sides, `timeouts.tunnel_idle` of its listener ends a tunnel, and the drain deadline
//! when the gateway stops. It outlives its route, its upstream and its listener.
//!
//! Invariant: an operation that was started is awaited, on every path out; and a tunnel is
//! counted and recorded once, at its end.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use engine::reason::Reason;
use engine::time::Instant;

use super::finish::Account;
use crate::core::Core;
use crate::deadline::Deadline;
use crate::failure::Side;
use crate::listener::ListenerSlot;
use crate::net::buffer::{Buf, Size};
use crate::net::{Net, Stream, StreamState};
use crate::side::{CHUNKS_PER_TURN, EndpointSide};
use crate::state::CoreState;
use crate::telemetry::Counter;
use crate::upstream::Lease;

/// How long a pump keeps a read armed with a buffer, in microseconds: a conversation that goes on
/// faster than this costs one operation a read, not two.
const LINGER_MICROS: u64 = 500_000;
/// Buffers lent on a core above which pumps wait by readiness alone: thousands of tunnels would
/// hold 8 KiB each.
const LINGER_BUFFERS_MAX: usize = 1024;
/// How often, in microseconds, a tunnel looks at a side from which no operation would report a reset:
/// nobody reads from it, because the other side takes nothing or because it has ended its own
/// direction. A reset must be noticed within a second.
const LOOK_MICROS: u64 = 400_000;
/// How long, in microseconds, it takes a shorter `timeouts.tunnel_idle` to reach a tunnel that is
/// idle already.
const WATCH_MICROS_MAX: u64 = 30_000_000;

/// A tunnel that is to begin: the endpoint's side, and the account of it.
pub struct Tunnel<N: Net> {
    pub(super) lease: Lease<N>,
    pub(super) account: Account,
    /// The bytes that came from the client right behind its request: the first for the endpoint.
    pub client_ahead: Option<Buf>,
}

/// How a tunnel leaves the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Nothing is to be done but to close it.
    Done,
    /// The client has been sent its end and sends on, to nobody: it should come to read all that it
    /// was sent before a reset destroys it.
    ClientUnread,
}

impl<N: Net> Tunnel<N> {
    /// Runs the tunnel to its end, between the endpoint and `client`. `watch` and `linger` are
    /// deadlines that nobody else uses meanwhile.
    pub async fn run<C: Stream>(
        mut self: Box<Self>,
        state: &CoreState<N>,
        listener: &ListenerSlot,
        client: &C,
        watch: &Deadline,
        linger: &Deadline,
    ) -> TunnelEnd {
        let core = &state.core;
        let _open = listener.open_tunnel();
        core.counters.tunnels.add(1);
        let client_ahead = self.client_ahead.take();
        let Some((endpoint, endpoint_ahead)) = self.lease.raw() else {
            // Its head would have been refused: no tunnel begins where no bytes are behind it.
            return TunnelEnd::Done;
        };
        let tunnel = Splice {
            core,
            listener,
            over: Cell::new(None),
            moved: Cell::new(core.net.now()),
            up: Direction::new(&core.counters.tunnel_bytes_in),
            down: Direction::new(&core.counters.tunnel_bytes_out),
        };
        let other_linger = core.wheel.deadline();
        let left = tunnel
            .both_ways(
                client,
                endpoint,
                [client_ahead, endpoint_ahead],
                watch,
                [linger, &other_linger],
            )
            .await;
        let bytes = [tunnel.up.bytes.get(), tunnel.down.bytes.get()];
        self.account.close(state, bytes, tunnel.reason());
        left
    }
}

/// Why both directions of a tunnel end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// This side has reset, or takes no more.
    Reset(Side),
    /// No byte has moved for as long as that may be.
    Idle,
    /// The gateway stops, and its drain deadline has come.
    Cut,
}

impl Cause {
    /// The reason in the record. A gateway that stops is recorded elsewhere.
    const fn reason(self) -> Option<Reason> {
        match self {
            Self::Reset(Side::Client) => Some(Reason::ClientGone),
            Self::Reset(Side::Endpoint) => Some(Reason::EndpointReset),
            Self::Idle => Some(Reason::TunnelIdle),
            Self::Cut => None,
        }
    }
}

/// One direction of a tunnel.
struct Direction<'a> {
    /// Bytes that it has passed on.
    bytes: Cell<u64>,
    counter: &'a Counter,
    /// It waits for its receiver to take something.
    writing: Cell<bool>,
    /// Its sender has ended it and its receiver was told so, or its receiver has refused it.
    ended: Cell<bool>,
    /// Its receiver has closed, behind an end of its own, and takes no more.
    refused: Cell<bool>,
}

/// Why a pump fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// This side has reset.
    Reset(Side),
    /// The receiver takes no more. Its own direction is whole.
    Refused,
}

impl<'a> Direction<'a> {
    const fn new(counter: &'a Counter) -> Self {
        let [writing, ended, refused] = [const { Cell::new(false) }; 3];
        Self { bytes: Cell::new(0), counter, writing, ended, refused }
    }

    fn passed(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.counter.add(bytes as u64);
    }
}

/// The state that both pumps of a tunnel share.
struct Splice<'a, N: Net> {
    core: &'a Core<N>,
    listener: &'a ListenerSlot,
    /// Both pumps come to their ends.
    over: Cell<Option<Cause>>,
    /// When a byte last moved.
    moved: Cell<Instant>,
    /// From the client to the endpoint.
    up: Direction<'a>,
    /// From the endpoint to the client.
    down: Direction<'a>,
}

impl<N: Net> Splice<'_, N> {
    async fn both_ways<C: Stream, E: Stream>(
        &self,
        client: &C,
        endpoint: &E,
        [client_ahead, endpoint_ahead]: [Option<Buf>; 2],
        watch: &Deadline,
        [linger_up, linger_down]: [&Deadline; 2],
    ) -> TunnelEnd {
        let mut up = pin!(self.pump(
            (client, Side::Client),
            (endpoint, Side::Endpoint),
            [&self.up, &self.down],
            client_ahead,
            linger_up,
        ));
        let mut down = pin!(self.pump(
            (endpoint, Side::Endpoint),
            (client, Side::Client),
            [&self.down, &self.up],
            endpoint_ahead,
            linger_down,
        ));
        let give_up = |over: Cause| {
            if self.over.get().is_none() {
                self.over.set(Some(over));
                client.abort();
                endpoint.abort();
            }
        };
        let failed = |way: &Direction<'_>, failed: Failed| match failed {
            Failed::Reset(side) => give_up(Cause::Reset(side)),
            Failed::Refused => {
                way.refused.set(true);
                way.ended.set(true);
            }
        };
        let (mut up_done, mut down_done) = (false, false);
        // The watch is armed for a look, which comes soon, and not for the idle timeout alone.
        let mut looks = false;
        watch.arm(self.core.net.now(), self.watch_micros(false));
        poll_fn(|cx| {
            loop {
                let was_over = self.over.get().is_some();
                if !up_done && let Poll::Ready(done) = up.as_mut().poll(cx) {
                    up_done = true;
                    done.unwrap_or_else(|why| failed(&self.up, why));
                }
                if !down_done && let Poll::Ready(done) = down.as_mut().poll(cx) {
                    down_done = true;
                    done.unwrap_or_else(|why| failed(&self.down, why));
                }
                if up_done && down_done {
                    return Poll::Ready(());
                }
                if self.core.cut.get() {
                    give_up(Cause::Cut);
                }
                if watch.poll_fired(cx) {
                    watch.clear();
                    if let Some(over) = self.look(client, endpoint) {
                        give_up(over);
                    }
                    looks = self.needs_looking();
                    watch.arm(self.core.net.now(), self.watch_micros(looks));
                } else if !looks && self.needs_looking() {
                    looks = true;
                    watch.arm(self.core.net.now(), self.watch_micros(true));
                }
                // Nothing wakes a pump that waits for readiness: so poll it now.
                if was_over || self.over.get().is_none() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        watch.clear();
        if self.up.refused.get() && self.over.get().is_none() {
            TunnelEnd::ClientUnread
        } else {
            TunnelEnd::Done
        }
    }

    /// The reason of the end, for the record.
    fn reason(&self) -> Option<Reason> {
        match self.over.get() {
            Some(over) => over.reason(),
            None => self.down.refused.get().then_some(Reason::ClientGone),
        }
    }

    /// How long until the watch looks again, in microseconds.
    fn watch_micros(&self, looks: bool) -> u64 {
        let idle = self.core.net.now().micros_since(self.moved.get());
        let left = self.listener.settings().timeouts.tunnel_idle.value().0.saturating_sub(idle);
        left.min(if looks { LOOK_MICROS } else { WATCH_MICROS_MAX }).max(1)
    }

    /// Whether a side may be gone without any operation that would tell.
    fn needs_looking(&self) -> bool {
        let ways = [&self.up, &self.down];
        ways.iter().any(|way| way.writing.get() || way.ended.get())
    }

    /// Why the tunnel is over, if it is.
    fn look<C: Stream, E: Stream>(&self, client: &C, endpoint: &E) -> Option<Cause> {
        let idle = self.core.net.now().micros_since(self.moved.get());
        if idle >= self.listener.settings().timeouts.tunnel_idle.value().0 {
            return Some(Cause::Idle);
        }
        if is_missed(client, &self.up, &self.down) {
            return Some(Cause::Reset(Side::Client));
        }
        is_missed(endpoint, &self.down, &self.up).then_some(Cause::Reset(Side::Endpoint))
    }

    /// Moves bytes from one side to the other until the first has ended, and ends the other's
    /// direction then.
    async fn pump<F: Stream, T: Stream>(
        &self,
        (from, from_side): (&F, Side),
        (to, to_side): (&T, Side),
        [way, back]: [&Direction<'_>; 2],
        ahead: Option<Buf>,
        linger: &Deadline,
    ) -> Result<(), Failed> {
        let mut next = ahead.filter(|buf| !buf.is_empty());
        let mut size = Size::Small;
        let mut chunks = 0u32;
        loop {
            let mut buf = match next.take() {
                Some(buf) => buf,
                None => match self.read(from, size, linger).await {
                    Ok(Some(buf)) => buf,
                    Ok(None) => break,
                    Err(_) => return Err(Failed::Reset(from_side)),
                },
            };
            size = if buf.room() == 0 { Size::Large } else { Size::Small };
            while !buf.is_empty() {
                if self.over.get().is_some() {
                    return Err(Failed::Reset(to_side));
                }
                way.writing.set(true);
                let written;
                (written, buf) = to.write(buf).await;
                way.writing.set(false);
                match written {
                    Ok(bytes) => way.passed(bytes),
                    // The error of a reset that came behind an end, whose bytes are still there to
                    // be read: the kernel tells the two apart.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        return Err(Failed::Refused);
                    }
                    Err(_) => return Err(Failed::Reset(to_side)),
                }
                self.moved.set(self.core.net.now());
            }
            drop(buf);
            chunks += 1;
            if chunks.is_multiple_of(CHUNKS_PER_TURN) {
                self.core.net.yield_now().await;
            }
        }
        // The kernel reports a reset once: after a write that failed by it, reads see a clean end.
        // Such a write has come to its end too; it goes first.
        if back.writing.get() {
            self.core.net.yield_now().await;
            if self.over.get().is_some() {
                return Err(Failed::Reset(from_side));
            }
        }
        to.shutdown_write().await;
        way.ended.set(true);
        Ok(())
    }

    /// Waits for bytes and reads them; none at the end. Holds a buffer for as long as more may come
    /// soon, and then none.
    async fn read<S: Stream>(
        &self,
        from: &S,
        size: Size,
        linger: &Deadline,
    ) -> io::Result<Option<Buf>> {
        let core = self.core;
        let mut lingers = core.buffers.lent() < LINGER_BUFFERS_MAX;
        loop {
            if !lingers {
                // The buffer that a cancelable read keeps goes first.
                from.cancel_read();
                let mut readable = pin!(from.readable());
                poll_fn(|cx| match self.over.get() {
                    Some(_) => Poll::Ready(()),
                    None => readable.as_mut().poll(cx).map(drop),
                })
                .await;
            }
            // Readiness may be without cause, and then a read would keep its buffer.
            lingers = false;
            if self.over.get().is_some() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            linger.arm(core.net.now(), LINGER_MICROS);
            let read = pin!(from.read_cancelable(core.buffers.take(size)));
            let (read, buf) = linger.guard(read, || from.cancel_read()).await;
            linger.clear();
            match read {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(buf)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a side has reset that nobody reads from at the moment. `way` is its direction, `back`
/// the other's.
fn is_missed<S: Stream>(side: &S, way: &Direction<'_>, back: &Direction<'_>) -> bool {
    // Where both directions have ended, so has the connection: that is no reset.
    if back.ended.get() || side.state() != StreamState::Gone {
        return false;
    }
    if way.ended.get() {
        // All that it had to say has been passed on, and it can be told nothing.
        return true;
    }
    // A write that is under way will tell by itself.
    if !way.writing.get() || back.writing.get() {
        return false;
    }
    // A reset behind its end, or without one? In the first case its bytes are still here.
    match side.try_write(&[]) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            back.ended.set(true);
            false
        }
        told => told.is_err(),
    }
}
