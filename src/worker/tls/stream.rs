//! A stream of the bytes inside TLS records, on a socket.
//!
//! Until the handshake is done, the stream passes bytes as they are: the handshake itself goes over
//! it, and so does the clear answer to a client that speaks no TLS.
//!
//! Invariants: a stream on which nothing moves holds no buffer. The end of the socket without the
//! peer's `close_notify` is an error and not an end (RFC 8446 section 6.1). Records go out in the
//! order in which they were encrypted, whatever fails in between.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;

use super::session::{Intake, Outgoing, Session, TlsInfo, ToSend};
use crate::net::buffer::{Buf, BufferPool, HEADROOM, TAILROOM};
use crate::net::{Stream, StreamState};

/// Bytes that one call encrypts at most: four full records, which fit a large buffer. More than one
/// record in a send saves system calls.
const PLAIN_BYTES_MAX: usize = 4 << 14;
/// Bytes of the header of a record (RFC 8446 section 5.1).
const HEADER_BYTES: usize = 5;
/// Bytes of a record beside those in it, at most: header, explicit nonce of TLS 1.2, tag, type.
const RECORD_OVERHEAD: usize = 32;
/// Plain bytes of a full record.
const RECORD_PLAIN_MAX: usize = 1 << 14;

/// How many bytes of a write have gone out.
#[derive(Clone, Copy, Debug, Default)]
struct Write {
    /// Plain bytes in the records that wait to be sent.
    plain: usize,
    /// Those of them that the writer knows to be gone.
    counted: usize,
    /// The bytes of those records.
    sealed: usize,
}

/// Bytes sent since something last came in.
#[derive(Clone, Copy, Debug, Default)]
struct Unanswered {
    plain: u64,
    sealed: u64,
}

/// See the module.
pub struct TlsStream<S: Stream> {
    socket: S,
    buffers: BufferPool,
    /// `None` until the handshake is done.
    session: RefCell<Option<Session>>,
    /// Records that came and were not taken in.
    sealed_in: RefCell<Option<Buf>>,
    /// Plain bytes that came and were not read.
    plain_in: RefCell<Option<Buf>>,
    /// Records to be sent before all others.
    sealed_out: RefCell<Option<Buf>>,
    write: Cell<Write>,
    sent: Cell<Unanswered>,
    /// A write is under way.
    writing: Cell<bool>,
    /// The peer has sent `close_notify`.
    peer_closed: Cell<bool>,
    /// We have sent ours, or shall send nothing any more.
    closed: Cell<bool>,
}

impl<S: Stream> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

/// The length of the first record in `bytes`, with its header; `None` while the header is not whole.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low] = bytes.first_chunk::<HEADER_BYTES>()?;
    Some(HEADER_BYTES + usize::from(u16::from_be_bytes([high, low])))
}

/// The length of the first record in `bytes` if all of it is there.
fn whole_record_len(bytes: &[u8]) -> Option<usize> {
    record_len(bytes).filter(|&len| bytes.len() >= len)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: Stream> TlsStream<S> {
    /// A stream on `socket` whose handshake is yet to come.
    pub(crate) fn new(socket: S, buffers: BufferPool) -> Self {
        Self {
            socket,
            buffers,
            session: RefCell::default(),
            sealed_in: RefCell::default(),
            plain_in: RefCell::default(),
            sealed_out: RefCell::default(),
            write: Cell::default(),
            sent: Cell::default(),
            writing: Cell::new(false),
            peer_closed: Cell::new(false),
            closed: Cell::new(false),
        }
    }

    /// Whether the handshake is done.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.session.borrow().is_some()
    }

    /// From now on the bytes of the stream are those inside records. `sealed_in` holds records that
    /// came behind the handshake, `plain_in` bytes that were in some, `sealed_out` records that are
    /// still to be sent.
    pub(crate) fn open(
        &self,
        session: Session,
        sealed_in: Option<Buf>,
        plain_in: Option<Buf>,
        sealed_out: Option<Buf>,
    ) {
        self.session.replace(Some(session));
        let filled = |buf: Option<Buf>| buf.filter(|buf| !buf.is_empty());
        self.sealed_in.replace(filled(sealed_in));
        self.plain_in.replace(filled(plain_in));
        self.sealed_out.replace(filled(sealed_out));
    }

    /// The peer's `close_notify` came with the handshake.
    pub(crate) fn peer_has_closed(&self) {
        self.peer_closed.set(true);
    }

    /// How the handshake went; `None` until it is done.
    #[must_use]
    pub fn handshake(&self) -> Option<TlsInfo> {
        self.session.borrow().as_ref().map(Session::handshake)
    }

    /// Whether the handshake has agreed on this protocol (ALPN, RFC 7301).
    pub(crate) fn speaks(&self, protocol: &[u8]) -> bool {
        self.session.borrow().as_ref().is_some_and(|session| session.speaks(protocol))
    }

    /// Whether a read would find bytes or an end without the socket.
    fn has_more(&self) -> bool {
        self.peer_closed.get()
            || self.plain_in.borrow().is_some()
            || self.sealed_in.borrow().as_ref().is_some_and(|it| {
                // Before the handshake nothing is kept here.
                whole_record_len(it.filled()).is_some()
            })
    }

    async fn read_plain(&self, mut buf: Buf, cancelable: bool) -> (io::Result<usize>, Buf) {
        if let Some(plain) = self.plain_in.take() {
            return self.read_kept(plain, buf);
        }
        loop {
            if self.peer_closed.get() {
                return (Ok(0), buf);
            }
            let taken;
            (taken, buf) = self.take_in(buf);
            match taken {
                Ok(0) if self.peer_closed.get() => return (Ok(0), buf),
                // The record is not whole yet.
                Ok(0) => {}
                read => return (read, buf),
            }
            let records = self.room_for_records(&mut buf);
            let (read, records) = if cancelable {
                self.socket.read_cancelable(records).await
            } else {
                self.socket.read(records).await
            };
            if !records.is_empty() {
                self.sealed_in.replace(Some(records));
            }
            match read {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(_) => {}
                Err(error) => return (Err(error), buf),
            }
        }
    }

    /// Gives plain bytes that were kept.
    fn read_kept(&self, mut plain: Buf, mut buf: Buf) -> (io::Result<usize>, Buf) {
        if buf.is_empty() && plain.room() >= HEADROOM {
            let len = plain.len();
            return (Ok(len), plain);
        }
        let n = plain.len().min(buf.room());
        let _ = buf.append(plain.filled().get(..n).unwrap_or_default());
        plain.consume(n);
        if !plain.is_empty() {
            self.plain_in.replace(Some(plain));
        }
        (Ok(n), buf)
    }

    /// A buffer for the next read from the socket. While nothing has come, it is the reader's own
    /// buffer, so that a connection that waits holds one and not two.
    fn room_for_records(&self, buf: &mut Buf) -> Buf {
        let Some(records) = self.sealed_in.take() else {
            let other = buf.sibling();
            if buf.is_empty() {
                return std::mem::replace(buf, other);
            }
            return other;
        };
        // All of the first record must fit: it can be decrypted as a whole alone.
        let wanted = record_len(records.filled()).unwrap_or(HEADER_BYTES + 1);
        if records.room() > 0 && records.len() + records.room() >= wanted {
            return records;
        }
        let mut larger = self.buffers.take_at_least((wanted + TAILROOM).max(buf.capacity()));
        let _ = larger.append(records.filled());
        larger
    }

    /// Takes in the records that are here, and adds the bytes in them to `buf`: of the first record all
    /// of them, in a larger buffer if need be, and of further ones while they fit. Returns how many
    /// bytes came.
    fn take_in(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut() else {
            return (Err(io::ErrorKind::NotConnected.into()), buf);
        };
        let mut input = self.sealed_in.take();
        let mut out = Outgoing::new(&self.buffers, self.sealed_out.take());
        let before = buf.len();
        let mut buf = Some(buf);
        let mut failed = None;
        while let Some(len) = input.as_ref().and_then(|it| whole_record_len(it.filled())) {
            let fits = buf.as_ref().is_some_and(|buf| buf.len() == before || buf.room() >= len);
            if !fits {
                break;
            }
            let left = input.as_ref().map_or(0, Buf::len);
            let mut add = |bytes: &[u8]| {
                let Some(it) = buf.take() else { return };
                let mut it = if it.room() >= bytes.len() {
                    it
                } else {
                    let len = it.len();
                    it.grown(HEADROOM + len + bytes.len() + TAILROOM)
                };
                let _ = it.append(bytes);
                buf = Some(it);
            };
            match session.take_in(&mut input, &mut out, &mut add) {
                Ok(Intake::PeerClosed) => {
                    self.peer_closed.set(true);
                    input = None;
                }
                // A message of the handshake that is spread over several records. The library keeps
                // its first part in `input`, which other calls do not have; nobody needs it.
                Ok(Intake::Nothing | Intake::Records)
                    if input.as_ref().is_some_and(|it| {
                        it.len() == left && whole_record_len(it.filled()).is_some()
                    }) =>
                {
                    failed = Some(invalid("a fragmented message of the handshake"));
                    input = None;
                }
                Ok(_) => {}
                Err(error) => {
                    failed = Some(invalid(error));
                    input = None;
                }
            }
        }
        self.sealed_in.replace(input.filter(|it| !it.is_empty()));
        self.sealed_out.replace(out.records.filter(|it| !it.is_empty()));
        let buf = buf.unwrap_or_else(|| self.buffers.take_at_least(1));
        let read = buf.len() - before;
        if read > 0 {
            self.sent.set(Unanswered::default());
            // The bytes before a mistake are whole. The next read meets the mistake again.
            return (Ok(read), buf);
        }
        match failed {
            Some(error) => {
                self.send_alert();
                (Err(error), buf)
            }
            None => (Ok(0), buf),
        }
    }

    /// After a mistake of the peer: sends the alert if the socket takes it, and nothing else any more.
    fn send_alert(&self) {
        if let Some(alert) = self.sealed_out.take().filter(|_| !self.writing.get()) {
            let _ = self.socket.try_write(alert.filled());
        }
        self.closed.set(true);
    }

    /// Encrypts, behind the records that wait already.
    fn seal(&self, to_send: ToSend<'_>) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        let session = session.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut out = Outgoing::new(&self.buffers, self.sealed_out.take());
        if let ToSend::Bytes(bytes) = to_send {
            let records = bytes.len().div_ceil(RECORD_PLAIN_MAX);
            out.reserve(bytes.len() + records * RECORD_OVERHEAD);
        }
        let mut plain_in = self.plain_in.take();
        // The library may hold bytes that came with the end of the handshake.
        let mut keep = |bytes: &[u8]| {
            let buf = plain_in.take().unwrap_or_else(|| {
                let mut buf = self.buffers.take_at_least(HEADROOM + bytes.len() + TAILROOM);
                buf.clear(HEADROOM);
                buf
            });
            let len = buf.len();
            let mut buf = if buf.room() >= bytes.len() {
                buf
            } else {
                buf.grown(HEADROOM + len + bytes.len() + TAILROOM)
            };
            let _ = buf.append(bytes);
            plain_in = Some(buf);
        };
        let sealed = loop {
            match session.run(&mut None, &mut out, &mut keep, to_send) {
                Ok(Intake::Plain) => {}
                Ok(Intake::PeerClosed) => self.peer_closed.set(true),
                Ok(Intake::Nothing) => break Ok(()),
                Ok(Intake::Records) => break Err(invalid("the handshake is not done")),
                Err(error) => break Err(invalid(error)),
            }
        };
        self.plain_in.replace(plain_in);
        self.sealed_out.replace(out.records.filter(|it| !it.is_empty()));
        sealed
    }

    async fn write_plain(&self, mut buf: Buf) -> (io::Result<usize>, Buf) {
        if self.write.get().plain == 0 {
            let plain = buf.len().min(PLAIN_BYTES_MAX);
            let bytes = buf.filled().get(..plain).unwrap_or_default();
            if let Err(error) = self.seal(ToSend::Bytes(bytes)) {
                return (Err(error), buf);
            }
            let sealed = self.sealed_out.borrow().as_ref().map_or(0, Buf::len);
            self.write.set(Write { plain, counted: 0, sealed });
        }
        let Some(records) = self.sealed_out.take() else {
            // It was aborted.
            return (Err(io::ErrorKind::BrokenPipe.into()), buf);
        };
        self.writing.set(true);
        let (written, records) = self.socket.write(records).await;
        self.writing.set(false);
        // A record is of use to the peer when it is whole; of the bytes in it, as many count as gone
        // as there is of the record.
        let mut write = self.write.get();
        let left = records.len();
        let gone = write.plain * (write.sealed - left.min(write.sealed)) / write.sealed.max(1);
        let n = match &written {
            // The rest is lost, and may have arrived.
            Err(_) if left < write.sealed => write.plain - write.counted,
            Err(_) => 0,
            Ok(_) => gone.saturating_sub(write.counted),
        };
        buf.consume(n.min(buf.len()));
        if let Err(error) = written {
            self.closed.set(true);
            return (Err(error), buf);
        }
        write.counted += n;
        if left == 0 {
            let Unanswered { plain, sealed } = self.sent.get();
            let (plain, sealed) = (plain + write.plain as u64, sealed + write.sealed as u64);
            self.sent.set(Unanswered { plain, sealed });
            write = Write::default();
        } else {
            // Records that were made meanwhile go behind these.
            let mut out = Outgoing::new(&self.buffers, Some(records));
            if let Some(later) = self.sealed_out.take() {
                let _ = out.reserve(later.len()).append(later.filled());
                write.sealed += later.len();
            }
            self.sealed_out.replace(out.records);
        }
        self.write.set(write);
        (Ok(n), buf)
    }

    /// Sends as many of the records that wait as the socket takes at once.
    fn flush(&self) -> io::Result<()> {
        let Some(mut records) = self.sealed_out.take() else { return Ok(()) };
        let written = self.socket.try_write(records.filled());
        if let Ok(n) = written {
            records.consume(n.min(records.len()));
        }
        if !records.is_empty() {
            self.sealed_out.replace(Some(records));
        }
        written.map(drop)
    }

    /// Makes our `close_notify`, once.
    fn seal_end(&self) {
        if self.is_open() && !self.closed.replace(true) {
            let _ = self.seal(ToSend::CloseNotify);
        }
    }

    /// Ends our direction of TLS without waiting. `true` where the socket did not take all of it:
    /// then [`TlsStream::finish`] sends the rest.
    pub(crate) fn end(&self) -> bool {
        if self.writing.get() {
            return false;
        }
        self.seal_end();
        let _ = self.flush();
        self.sealed_out.borrow().is_some()
    }

    /// Sends the records that wait.
    pub(crate) async fn finish(&self) {
        while let Some(records) = self.sealed_out.take() {
            let (written, records) = self.socket.write(records).await;
            if written.is_err() {
                return;
            }
            if !records.is_empty() {
                self.sealed_out.replace(Some(records));
            }
        }
    }
}

impl<S: Stream> Drop for TlsStream<S> {
    fn drop(&mut self) {
        // A truncated end would look like an attack to the peer.
        self.end();
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    async fn read(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        if self.is_open() { self.read_plain(buf, false).await } else { self.socket.read(buf).await }
    }

    async fn read_cancelable(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        if self.is_open() {
            self.read_plain(buf, true).await
        } else {
            self.socket.read_cancelable(buf).await
        }
    }

    fn cancel_read(&self) {
        self.socket.cancel_read();
    }

    async fn write(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        if self.is_open() { self.write_plain(buf).await } else { self.socket.write(buf).await }
    }

    async fn readable(&self) -> io::Result<()> {
        if self.has_more() { Ok(()) } else { self.socket.readable().await }
    }

    fn state(&self) -> StreamState {
        let state = self.socket.state();
        if self.peer_closed.get() {
            return if state == StreamState::Gone { state } else { StreamState::HalfClosed };
        }
        if state == StreamState::Quiet && self.has_more() { StreamState::Readable } else { state }
    }

    fn is_quiet(&self) -> bool {
        self.plain_in.borrow().is_none()
            && self.sealed_in.borrow().is_none()
            && !self.peer_closed.get()
            && self.socket.is_quiet()
    }

    fn unacknowledged(&self) -> Option<u64> {
        let unacknowledged = self.socket.unacknowledged()?;
        if !self.is_open() {
            return Some(unacknowledged);
        }
        // The records of one burst are known together only.
        match self.sent.get() {
            Unanswered { plain, sealed } if unacknowledged >= sealed => Some(plain),
            _ if unacknowledged == 0 => Some(0),
            _ => None,
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_open() || bytes.is_empty() {
            return self.socket.try_write(bytes);
        }
        self.flush()?;
        if self.sealed_out.borrow().is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.seal(ToSend::Bytes(bytes))?;
        match self.flush() {
            // A record that was made must go out before the next one.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    async fn shutdown_write(&self) {
        self.seal_end();
        self.finish().await;
        self.socket.shutdown_write().await;
    }

    fn abort(&self) {
        self.closed.set(true);
        self.socket.abort();
    }
}
