//! Stage 1, accept: connections into a core.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use crate::conn;
use crate::net::{Listener, Net};
use crate::state::Core;

/// How long accepting pauses when descriptors or memory have run out, in microseconds. Trying at
/// once would spin; connections wait in the kernel's queue meanwhile.
const PAUSE_MICROS: u64 = 50_000;

/// Connections taken in one turn: enough to empty a queue of 4,096 in 64 turns, few enough for what
/// runs not to notice.
const BURST_MAX: usize = 64;

/// Accepts from one listener until it is told to stop; then takes what already waits in the
/// queue, because closing the socket would reset it, and ends.
pub(crate) async fn run<N: Net>(core: Rc<Core<N>>, listener: Rc<N::Listener>, index: u32) {
    let pause = core.wheel.deadline();
    while !core.draining.get() {
        match listener.accept().await {
            Ok((stream, client)) => {
                core.net.spawn(conn::h1::serve(Rc::clone(&core), stream, client, index));
                take_waiting::<N>(&core, &listener, index, BURST_MAX);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                core.counters.accept_errors.add(1);
                if is_exhaustion(&error) {
                    pause.arm(core.net.now(), PAUSE_MICROS);
                    let over = Cell::new(false);
                    poll_fn(|cx| {
                        over.set(pause.poll_fired(cx) || core.draining.get());
                        if over.get() { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                }
            }
        }
    }
    take_waiting::<N>(&core, &listener, index, usize::MAX);
}

/// Takes up to `max` connections that already wait. One accept in flight brings one connection in
/// a turn of the core, and a turn is long when the core is busy: a burst would wait in the queue.
fn take_waiting<N: Net>(core: &Rc<Core<N>>, listener: &N::Listener, index: u32, max: usize) {
    for _ in 0..max {
        match listener.try_accept() {
            Ok(Some((stream, client))) => {
                core.net.spawn(conn::h1::serve(Rc::clone(core), stream, client, index));
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
