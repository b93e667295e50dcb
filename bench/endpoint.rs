//! A fast HTTP/1.1 endpoint, which stands behind the gateway in measurements, in demos and in tests
//! by hand. It runs on one thread with edge-triggered `mio`. This file owns the thread and its
//! event loop; `conn` handles the bytes of a connection, and `answer` makes the answers.
//! Invariants: the memory of a connection is bounded for any size of a body, and no connection
//! keeps the loop for longer than its budget. Framing follows RFC 9112 as far as a well-behaved
//! client needs it. Do not let strangers connect to it.

mod answer;
mod body;
mod conn;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use self::conn::{Conn, Scratch, Turn};
use crate::limits;

/// The content of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// `/1k`, `/64k`, `/bytes/N` (also `/size/N`) answer that many bytes, every other path 1 KiB;
    /// a request with a body is answered by the count of its bytes.
    #[default]
    Sizes,
    /// A JSON text with the endpoint's name and the method, path and headers that arrived.
    Hello,
}

/// The address and the answers of an endpoint. In both modes, `?delay_ms=N` (60,000 at most) in a
/// request delays the answer.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// Port 0 takes a free one: see [`Handle::address`].
    pub address: SocketAddr,
    /// The name of the endpoint in its answers, in `Hello` mode.
    pub name: String,
    /// The content of the answers.
    pub mode: Mode,
    /// The CPU that the thread is held to; `None` leaves it free.
    pub cpu: Option<usize>,
}

/// The endpoint itself: see [`Endpoint::spawn`].
#[derive(Debug)]
pub struct Endpoint {
    poll: Poll,
    listener: TcpListener,
    conns: Slab<Conn>,
    /// Connections that used up their budget and go on in the next turn.
    again: Vec<usize>,
    /// Answers that wait, soonest first.
    delayed: BinaryHeap<Reverse<(Instant, usize)>>,
    scratch: Scratch,
    stop: Arc<AtomicBool>,
}

/// A running endpoint. Dropping it stops the thread and closes every connection.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Binds, then serves on a thread of its own until the handle is dropped.
    pub fn spawn(options: EndpointOptions) -> io::Result<Handle> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let listener = limits::listen(options.address)?;
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let address = listener.local_addr()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut endpoint = Self {
            poll,
            listener,
            conns: Slab::new(),
            again: Vec::new(),
            delayed: BinaryHeap::new(),
            scratch: Scratch::new(options.mode, options.name),
            stop: Arc::clone(&stop),
        };
        let cpu = options.cpu;
        if let Some(cpu) = cpu
            && !limits::may_run_on(cpu)
        {
            return Err(io::Error::other(format!("this process may not run on CPU {cpu}")));
        }
        let thread = std::thread::Builder::new().name("endpoint".into()).spawn(move || {
            // The CPU was checked above. Losing it between is no reason to refuse service.
            if let Some(cpu) = cpu {
                let _ = limits::pin(cpu);
            }
            endpoint.serve();
        })?;
        Ok(Handle { address, stop, waker, thread: Some(thread) })
    }

    fn serve(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.stop.load(Ordering::Relaxed) {
            let timeout = if self.again.is_empty() {
                self.delayed.peek().map(|Reverse((due, _))| {
                    due.saturating_duration_since(Instant::now()) + TIMER_GRAIN
                })
            } else {
                Some(std::time::Duration::ZERO)
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for key in std::mem::take(&mut self.again) {
                self.turn(key);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(key) => {
                        if event.is_read_closed()
                            && let Some(conn) = self.conns.get_mut(key)
                        {
                            conn.expect_end();
                        }
                        self.turn(key);
                    }
                }
            }
            self.fire_delayed();
        }
    }

    fn accept(&mut self) {
        // Ends at `WouldBlock`, or when descriptors run out: `close` tries again then.
        while let Ok((stream, _)) = self.listener.accept() {
            let _ = stream.set_nodelay(true);
            let key = self.conns.insert(Conn::new(stream));
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let both = Interest::READABLE | Interest::WRITABLE;
            if conn.register(self.poll.registry(), Token(key), both).is_err() {
                self.conns.remove(key);
            }
        }
    }

    fn turn(&mut self, key: usize) {
        // An event may speak of a connection that was closed earlier in the same batch.
        let Some(conn) = self.conns.get_mut(key) else { return };
        match conn.turn(&mut self.scratch) {
            Turn::Wait => {}
            Turn::Again => self.again.push(key),
            Turn::Delay(due) => self.delayed.push(Reverse((due, key))),
            Turn::Close => {
                self.conns.remove(key);
                self.accept();
            }
        }
    }

    fn fire_delayed(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(Reverse((due, key))) = self.delayed.peek().copied()
            && due <= now
        {
            self.delayed.pop();
            // The place may belong to another connection by now; only the one that waits is woken.
            if self.conns.get_mut(key).is_some_and(|conn| conn.release(due)) {
                self.turn(key);
            }
        }
    }
}

impl Handle {
    /// The address that it listens on, with the real port if `port` was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// One turn serves the most that 512 busy connections can ask for at once.
const EVENTS_PER_TURN: usize = 512;
/// The poll waits in whole milliseconds and rounds down: without this it would spin before a
/// deadline.
const TIMER_GRAIN: std::time::Duration = std::time::Duration::from_millis(1);

#[cfg(test)]
mod tests;
