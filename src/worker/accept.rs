//! Stage 1, accept: connections into a core.
//!
//! Connections that cannot be let in wait in the kernel's queue. Where descriptors or places have run out, idle
//! connections are closed for those that wait (`pressure`), and accepting goes on as soon as there
//! is room.
//!
//! Invariant: a listener that is open accepts. No error of accept(2) ends it, and no panic either.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use engine::address::ClientAddress;
use engine::snapshot::ProxyProtocol;

use crate::conn;
use crate::deadline::Deadline;
use crate::listener::ListenerSlot;
use crate::net::{Listener, Net};
use crate::pressure::{Exhausted, exhausted};
use crate::state::CoreState;

/// How long accepting pauses when descriptors or memory have run out, in microseconds, unless a
/// connection ends before that. Trying at once would spin; connections wait in the kernel's queue
/// meanwhile.
const PAUSE_MICROS: u64 = 50_000;

/// Connections taken in one turn, beside the one that was waited for. Turns are short as long as
/// nobody else has work; where clients come as fast as they are let in, a request that runs waits
/// for so many in each of its turns, of which it needs five or so on io_uring. With 16, a storm of
/// connections made the 99th percentile of an innocent client 4 times as high as beside a sink.
const BURST_MAX: usize = 4;

/// Idle connections closed at once when the kernel says that there is no descriptor left: somebody
/// else of the process may have taken descriptors that the core counted on.
const SHED_MAX: usize = 16;

/// Accepts from one listener until it has to stop; then takes the connections that already wait in the
/// queue, because closing the socket would reset it, and ends. After a panic it begins anew: a
/// listener that nobody accepts from would look well and be deaf.
pub(crate) async fn run<N: Net>(
    state: Rc<CoreState<N>>,
    socket: Rc<N::Listener>,
    slot: Rc<ListenerSlot>,
) {
    let core = &state.core;
    loop {
        let mut accepting = Box::pin(accept(&state, &socket, &slot));
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
        pause.passed().await;
    }
}

async fn accept<N: Net>(state: &Rc<CoreState<N>>, socket: &N::Listener, slot: &Rc<ListenerSlot>) {
    let core = &state.core;
    let pause = core.wheel.deadline();
    let stops = || core.draining.get() || slot.closing.get();
    while !stops() {
        if slot.room() == 0 {
            let _paused = Paused::count(&core.paused_for_room);
            wait(
                state,
                slot,
                &pause,
                || slot.room() > 0,
                || slot.idle.shed(&core.wheel, core.net.now()),
            )
            .await;
            continue;
        }
        if !state.has_descriptors_for_a_client() {
            core.counters.accept_pauses.add(1);
            let _paused = Paused::count(&core.paused_for_resources);
            let room = || state.has_descriptors_for_a_client();
            wait(state, slot, &pause, room, || state.shed(false)).await;
            continue;
        }
        match socket.accept().await {
            Ok((stream, client)) => {
                admit(state, slot, stream, client);
                let room = slot.room().min(BURST_MAX);
                let taken = take_waiting(state, socket, slot, room, || {
                    state.has_descriptors_for_a_client()
                });
                if taken == BURST_MAX {
                    // More may wait, and on epoll an accept that need not wait does not yield.
                    core.net.yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let counters = &core.counters;
                match exhausted(&error) {
                    Some(Exhausted::Descriptors) => counters.accept_errors_descriptors.add(1),
                    Some(Exhausted::Memory) => counters.accept_errors_memory.add(1),
                    None => {
                        counters.accept_errors_other.add(1);
                        continue;
                    }
                }
                counters.accept_pauses.add(1);
                let _paused = Paused::count(&core.paused_for_resources);
                for _ in 0..SHED_MAX {
                    if !state.shed(true) {
                        break;
                    }
                }
                // Whether it helped is learned by trying.
                wait(state, slot, &pause, || false, || false).await;
            }
        }
    }
    take_waiting(state, socket, slot, usize::MAX, || true);
}

/// Waits for `room`, which `shed` may make, or a little while; ends when accepting does.
async fn wait<N: Net>(
    state: &CoreState<N>,
    slot: &ListenerSlot,
    pause: &Deadline,
    room: impl Fn() -> bool,
    shed: impl FnOnce() -> bool,
) {
    let core = &state.core;
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
    state: &Rc<CoreState<N>>,
    slot: &Rc<ListenerSlot>,
    stream: N::Stream,
    client: ClientAddress,
) {
    let seat = slot.seat();
    if slot.settings().proxy_protocol != ProxyProtocol::Off || seat.count_client(client) {
        state.core.net.spawn(conn::serve(Rc::clone(state), stream, client, seat));
    } else {
        state.core.counters.client_refused.add(1);
    }
}

/// Takes up to `max` connections that already wait, while there is `room`. One accept in flight
/// brings one connection in a turn of the core, and a turn is long when the core is busy: a burst
/// would wait in the queue. Says how many it took.
fn take_waiting<N: Net>(
    state: &Rc<CoreState<N>>,
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
            Ok(Some((stream, client))) => admit(state, slot, stream, client),
            // The accept that waits will report the error.
            Ok(None) | Err(_) => return taken,
        }
    }
    max
}
