//! The floor: a proxy that costs little more than the kernel's part.
//!
//! A byte relay straight on the ring, one thread, one endpoint connection kept for each client
//! connection, four operations a request: receive, send, receive, send. It has the gateway's ring
//! flags, plain buffers, no multishot and no provided buffers. Of HTTP it knows the empty line that
//! ends a head and Content-Length, which is all it takes to find the end of a message. It checks
//! nothing, adds no header, does not pool and stops at the first error: a yardstick, no proxy.
//!
//! Invariant: a pair has one operation in flight, and is not touched or freed before it completes.

use std::io;
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use io_uring::{IoUring, opcode, squeue, types::Fd};
use nix::libc::{MSG_NOSIGNAL, MSG_WAITALL};
use slab::Slab;

use crate::{Error, limits};

/// Where the relay stands.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Address to accept clients on
    #[arg(long)]
    listen: SocketAddr,
    /// Address of the endpoint
    #[arg(long)]
    to: SocketAddr,
    /// Hold the thread to this CPU
    #[arg(long)]
    cpu: Option<usize>,
}

/// Relays until the process is ended.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    limits::raise_descriptors()?;
    options.cpu.map_or(Ok(()), limits::pin)?;
    let listener = limits::listen(options.listen)
        .map_err(Error::doing(format!("listen on {}", options.listen)))?;
    relay(&listener, options.to).map_err(Error::doing("relay on the ring"))
}

/// One client connection with the endpoint connection that serves it.
struct Pair {
    client: OwnedFd,
    endpoint: TcpStream,
    buffer: Vec<u8>,
    /// Bytes in the buffer that are still to be sent on.
    filled: usize,
    /// Bytes of the message that the buffer has not seen; `None` while the head is incomplete.
    left: Option<usize>,
    /// The message on its way is a request.
    is_request: bool,
    /// The operation in flight is a receive.
    is_receiving: bool,
}

fn relay(listener: &TcpListener, to: SocketAddr) -> io::Result<()> {
    // Never freed: when the ring fails, the kernel may still write into these buffers.
    let mut pairs = ManuallyDrop::new(Slab::<Pair>::new());
    let mut ring: IoUring = IoUring::builder()
        .setup_coop_taskrun()
        .setup_single_issuer()
        .setup_cqsize(COMPLETIONS)
        .build(SUBMISSIONS)?;
    let accept = opcode::Accept::new(Fd(listener.as_raw_fd()), null_mut(), null_mut());
    let accept = accept.build().user_data(ACCEPT);
    for _ in 0..ACCEPTS {
        push(&mut ring, &accept)?;
    }
    let mut done = Vec::new();
    loop {
        ring.submit_and_wait(1)?;
        done.extend(ring.completion().map(|entry| (entry.user_data(), entry.result())));
        for (user_data, result) in done.drain(..) {
            let key = if user_data == ACCEPT {
                push(&mut ring, &accept)?;
                if result < 0 {
                    return Err(io::Error::from_raw_os_error(-result));
                }
                // SAFETY: the accept above gave this descriptor to us alone.
                let client = unsafe { OwnedFd::from_raw_fd(result) };
                pairs.insert(Pair::new(client, to)?)
            } else {
                usize::try_from(user_data).unwrap_or(usize::MAX)
            };
            let Some(pair) = pairs.get_mut(key) else { continue };
            if user_data == ACCEPT || pair.completed(result) {
                let entry = pair.operation().user_data(key as u64);
                push(&mut ring, &entry)?;
            } else {
                pairs.remove(key);
            }
        }
    }
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the descriptors and buffers of an entry belong to the listener or to a pair, and those
    // stay where they are until the entry has completed (invariant of this file).
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

impl Pair {
    fn new(client: OwnedFd, to: SocketAddr) -> io::Result<Self> {
        let client = TcpStream::from(client);
        client.set_nodelay(true)?;
        let endpoint = TcpStream::connect(to)?;
        endpoint.set_nodelay(true)?;
        Ok(Self {
            client: client.into(),
            endpoint,
            buffer: vec![0; BUFFER_BYTES],
            filled: 0,
            left: None,
            is_request: true,
            is_receiving: true,
        })
    }

    /// Records the result of the operation and moves to the next step; false ends the pair.
    fn completed(&mut self, result: i32) -> bool {
        let Ok(count @ 1..) = usize::try_from(result) else { return false };
        if self.is_receiving {
            self.filled += count;
            // While the head is incomplete the buffer goes on filling.
            self.is_receiving = !self.measure(count);
            return self.filled < BUFFER_BYTES || !self.is_receiving;
        }
        if count < self.filled {
            // MSG_WAITALL: less than everything means that the other side is gone.
            return false;
        }
        self.filled = 0;
        self.is_receiving = true;
        if self.left == Some(0) {
            self.left = None;
            self.is_request = !self.is_request;
        }
        true
    }

    /// Finds how much of the message is to come; false while the head is incomplete.
    fn measure(&mut self, fresh: usize) -> bool {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(fresh);
            return true;
        }
        let bytes = self.buffer.get(..self.filled).unwrap_or_default();
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        let (head, body) = bytes.split_at(end + 4);
        self.left = Some(content_length(head).saturating_sub(body.len()));
        true
    }

    fn operation(&mut self) -> squeue::Entry {
        let (client, endpoint) = (Fd(self.client.as_raw_fd()), Fd(self.endpoint.as_raw_fd()));
        let (from, to) = if self.is_request { (client, endpoint) } else { (endpoint, client) };
        if self.is_receiving {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            return opcode::Recv::new(from, room.as_mut_ptr(), entry_bytes(room.len())).build();
        }
        let filled = entry_bytes(self.filled);
        opcode::Send::new(to, self.buffer.as_ptr(), filled).flags(SEND_FLAGS).build()
    }
}

fn content_length(head: &[u8]) -> usize {
    head.split(|&byte| byte == b'\n')
        .filter(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
        .find_map(|line| std::str::from_utf8(line.get(NAME.len()..)?).ok()?.trim().parse().ok())
        .unwrap_or(0)
}

fn entry_bytes(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

const NAME: &[u8] = b"content-length:";
const ACCEPT: u64 = u64::MAX;
/// In flight at once: with one, a busy loop would take one new client per batch of thousands.
const ACCEPTS: usize = 64;
const SEND_FLAGS: i32 = MSG_NOSIGNAL | MSG_WAITALL;
/// Takes a 64 KiB response in one receive. Untouched pages cost nothing, so small answers do not
/// pay.
const BUFFER_BYTES: usize = 80 * 1024;
/// One batch at 512 busy connections; a fuller queue is submitted early.
const SUBMISSIONS: u32 = 1024;
/// Four thousand connections may complete at once without overflow.
const COMPLETIONS: u32 = 16 * 1024;
