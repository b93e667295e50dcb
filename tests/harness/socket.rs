//! A connection as the tests see it from either side: bytes out, messages in, and how it ended.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::SockRef;

use super::PATIENCE;
use super::message::{Body, Framing, Head, field};

/// How the other side of a connection ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a FIN: all that was sent has been read.
    Closed,
    /// With a reset.
    Reset,
    /// Not at all: it is open, and has been silent for as long as the reader was patient.
    Silent,
}

/// A message that ended before it was complete.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The bytes that had come.
    pub(crate) got: Vec<u8>,
    /// How it ended.
    pub(crate) end: End,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.got[..self.got.len().min(2000)];
        let text = String::from_utf8_lossy(shown);
        write!(
            f,
            "the message ended early ({:?}) after {} bytes: {text:?}",
            self.end,
            self.got.len()
        )
    }
}

/// One side of a TCP connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    /// The bytes that were read; those from `at` on are not yet taken.
    read: Vec<u8>,
    at: usize,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        // A piece that a test sends on its own arrives on its own. A Unix socket does not know the
        // option, and needs it not.
        let _ = stream.set_nodelay(true);
        Self { stream: Arc::new(stream), read: Vec::new(), at: 0 }
    }

    /// The stream, for another thread to write to. The connection is not closed while it is held.
    pub(crate) fn stream(&self) -> Arc<TcpStream> {
        Arc::clone(&self.stream)
    }

    /// The stream, without keeping it open.
    pub(crate) fn watch(&self) -> Weak<TcpStream> {
        Arc::downgrade(&self.stream)
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.stream).write_all(bytes)
    }

    /// Ends our direction with a FIN and goes on reading.
    pub(crate) fn half_close(&self) {
        // It fails when the other side has reset the connection already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The bytes that were read and not yet taken.
    fn ahead(&self) -> &[u8] {
        &self.read[self.at..]
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let taken = self.ahead()[..len].to_vec();
        self.at += len;
        // Now and then, so that taking is cheap however long the connection lives.
        if self.at > 1 << 20 || self.at == self.read.len() {
            self.read.drain(..self.at);
            self.at = 0;
        }
        taken
    }

    /// Reads once, and says how the connection ended if it did.
    fn fill(&mut self) -> Result<(), End> {
        let mut block = [0; 64 << 10];
        match (&*self.stream).read(&mut block) {
            Ok(0) => Err(End::Closed),
            Ok(n) => {
                self.read.extend_from_slice(&block[..n]);
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(End::Silent),
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(End::Reset),
            },
        }
    }

    /// Exactly `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<Vec<u8>, Cut> {
        while self.ahead().len() < len {
            self.fill().map_err(|end| self.cut(end))?;
        }
        Ok(self.take(len))
    }

    /// Everything up to `delimiter`, and that.
    fn until(&mut self, delimiter: &[u8]) -> Result<Vec<u8>, Cut> {
        let mut looked_at = 0;
        loop {
            let ahead = &self.ahead()[looked_at..];
            let found = ahead.windows(delimiter.len()).position(|window| window == delimiter);
            if let Some(at) = found {
                return Ok(self.take(looked_at + at + delimiter.len()));
            }
            looked_at = self.ahead().len().saturating_sub(delimiter.len());
            self.fill().map_err(|end| self.cut(end))?;
        }
    }

    fn cut(&mut self, end: End) -> Cut {
        Cut { got: self.take(self.ahead().len()), end }
    }

    /// The head of a message.
    pub(crate) fn head(&mut self) -> Result<Head, Cut> {
        Ok(Head::parse(&self.until(b"\r\n\r\n")?))
    }

    /// The body of a message, which is `framing`.
    pub(crate) fn body(&mut self, framing: Framing) -> Result<Body, Cut> {
        match framing {
            Framing::None => Ok(Body::default()),
            Framing::Length(len) => Ok(Body { bytes: self.bytes(len)?, ..Body::default() }),
            Framing::Chunked => self.chunked(),
            Framing::UntilClose => match self.rest() {
                (bytes, End::Closed) => Ok(Body { bytes, ..Body::default() }),
                (got, end) => Err(Cut { got, end }),
            },
        }
    }

    fn chunked(&mut self) -> Result<Body, Cut> {
        let mut body = Body::default();
        loop {
            let behind = |cut: Cut, body: &Body| Cut {
                got: [body.bytes.as_slice(), cut.got.as_slice()].concat(),
                ..cut
            };
            let line = self.until(b"\r\n").map_err(|cut| behind(cut, &body))?;
            let digits = str::from_utf8(&line[..line.len() - 2]).unwrap();
            let len = usize::from_str_radix(digits, 16);
            let len = len.unwrap_or_else(|_| panic!("{digits:?} is not a chunk size"));
            if len == 0 {
                break;
            }
            let data = self.bytes(len).map_err(|cut| behind(cut, &body))?;
            body.bytes.extend_from_slice(&data);
            assert_eq!(self.bytes(2).map_err(|cut| behind(cut, &body))?, b"\r\n");
        }
        loop {
            let line = self.until(b"\r\n")?;
            if line == b"\r\n" {
                return Ok(body);
            }
            body.trailers.push(field(str::from_utf8(&line).unwrap().trim_end()));
        }
    }

    /// Everything up to the end of the connection, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (self.take(self.ahead().len()), end);
            }
        }
    }

    /// Whether nothing comes within `patience`, and nothing waits that came before.
    pub(crate) fn is_silent_for(&mut self, patience: Duration) -> bool {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let silent = self.ahead().is_empty() && self.fill() == Err(End::Silent);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Sends bytes until the other side takes no more for a while; says how many it took.
    pub(crate) fn send_until_full(&self, bytes: &[u8]) -> usize {
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut sent = 0;
        while sent < bytes.len()
            && let Ok(n) = (&*self.stream).write(&bytes[sent..])
        {
            sent += n;
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// The end of the connection, after all bytes that still come.
    pub(crate) fn end(&mut self) -> End {
        self.rest().1
    }
}
