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

/// Accepts from one listener until it is told to stop; then takes what already waits in the
/// queue, because closing the socket would reset it, and ends.
pub(crate) async fn run<N: Net>(core: Rc<Core<N>>, listener: Rc<N::Listener>, index: u32) {
    let pause = core.wheel.deadline();
    while !core.draining.get() {
        match listener.accept().await {
            Ok((stream, client)) => {
                core.net.spawn(conn::h1::serve(Rc::clone(&core), stream, client, index));
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
    while let Ok(Some((stream, client))) = listener.try_accept() {
        core.net.spawn(conn::h1::serve(Rc::clone(&core), stream, client, index));
    }
}

/// Whether trying again at once would fail the same way. Anything else (`ECONNABORTED`, and the
/// network errors that accept(2) passes on) belongs to the one connection that is gone.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
