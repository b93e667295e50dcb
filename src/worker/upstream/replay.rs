//! The body of a request, kept so that it can be sent once more.
//!
//! Most bodies are not kept: only where the retry policy of the upstream may send a request again
//! that an endpoint has taken whole, and only up to a length. A body that is still coming is kept
//! piece by piece while it goes out.
//!
//! Invariant: a body is either kept from its first byte on, or gone.

use std::cell::{Cell, RefCell};

use proto::head::Headers;

use crate::net::buffer::{Buf, BufferPool, HEADROOM};
use crate::side::Chunk;

/// See the module.
#[derive(Debug)]
pub struct Replay {
    /// How much is kept at most; `None`: nothing.
    bytes_max: Option<usize>,
    kept: RefCell<Option<Buf>>,
    trailers: RefCell<Option<Box<Headers>>>,
    /// The end of the body has come.
    last: Cell<bool>,
    /// A byte of the body has come that is not kept.
    gone: Cell<bool>,
}

impl Replay {
    /// Of a body of which nothing has come. At most `bytes_max` bytes are kept, or none.
    pub(super) fn new(bytes_max: Option<usize>) -> Self {
        Self {
            bytes_max,
            kept: RefCell::default(),
            trailers: RefCell::default(),
            last: Cell::new(false),
            gone: Cell::new(false),
        }
    }

    /// Whether everything that has come can be sent once more.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.gone.get()
    }

    /// Whether the end of the body has come.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.last.get()
    }

    /// The next piece of the body has come.
    pub fn record(&self, chunk: &Chunk, buffers: &BufferPool) {
        self.last.set(chunk.last);
        if chunk.buf.is_empty() && chunk.trailers.is_none() {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        let len = kept.as_ref().map_or(0, Buf::len) + chunk.buf.len();
        if self.gone.get() || self.bytes_max.is_none_or(|max| len > max) {
            self.gone.set(true);
            *kept = None;
            return;
        }
        let buf = match kept.take() {
            Some(buf) if buf.room() >= chunk.buf.len() => buf,
            Some(buf) => buf.grown(HEADROOM + 2 * len + HEADROOM),
            None => {
                let mut buf = buffers.take_at_least(HEADROOM + len + HEADROOM);
                buf.clear(HEADROOM);
                buf
            }
        };
        let buf = kept.insert(buf);
        if !buf.append(chunk.buf.filled()) {
            self.gone.set(true);
        }
        self.trailers.borrow_mut().clone_from(&chunk.trailers);
    }

    /// Everything that has come, to be sent once more.
    pub(super) fn chunk(&self, buffers: &BufferPool) -> Chunk {
        let kept = self.kept.borrow();
        let bytes = kept.as_ref().map(Buf::filled).unwrap_or_default();
        let mut buf = buffers.take_at_least(HEADROOM + bytes.len() + HEADROOM);
        buf.clear(HEADROOM);
        let _ = buf.append(bytes);
        Chunk { buf, last: self.last.get(), trailers: self.trailers.borrow().clone() }
    }

    /// Forgets the body: it will not be sent again.
    pub(super) fn forget(&self) {
        if self.kept.borrow().is_some() {
            self.kept.take();
            self.gone.set(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::buffer::Size;
    use crate::side::empty;

    fn record(replay: &Replay, buffers: &BufferPool, bytes: &[u8], last: bool) {
        let mut buf = empty(buffers, Size::Small);
        assert!(buf.append(bytes));
        replay.record(&Chunk { buf, last, trailers: None }, buffers);
    }

    #[test]
    fn a_body_that_fits_comes_back_whole_as_often_as_it_is_asked_for() {
        let buffers = BufferPool::new(1 << 20);
        let replay = Replay::new(Some(10_000));
        let piece = [b'x'; 3000];
        for last in [false, false, true] {
            record(&replay, &buffers, &piece, last);
        }
        assert!(replay.is_whole() && replay.is_last());
        for _ in 0..2 {
            let chunk = replay.chunk(&buffers);
            assert_eq!((chunk.buf.len(), chunk.last), (9000, true));
            assert!(chunk.buf.filled().iter().all(|it| *it == b'x'));
        }
        replay.forget();
        assert!(!replay.is_whole());
        assert_eq!(buffers.lent(), 0);
    }

    #[test]
    fn a_body_that_is_too_long_is_gone_and_holds_nothing() {
        let buffers = BufferPool::new(1 << 20);
        for bytes_max in [Some(5), Some(0), None] {
            let replay = Replay::new(bytes_max);
            record(&replay, &buffers, b"abc", false);
            record(&replay, &buffers, b"def", true);
            assert!(!replay.is_whole(), "{bytes_max:?}");
            assert_eq!(buffers.lent(), 0, "{bytes_max:?}");
        }
    }

    #[test]
    fn a_body_without_bytes_is_never_gone() {
        let buffers = BufferPool::new(1 << 20);
        let replay = Replay::new(None);
        record(&replay, &buffers, b"", true);
        assert!(replay.is_whole());
        let chunk = replay.chunk(&buffers);
        assert!(chunk.last && chunk.buf.is_empty());
    }
}
