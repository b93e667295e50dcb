//! A client that sends raw bytes and reads responses strictly.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Type};

use super::PATIENCE;
use super::message::{Body, Framing, Head};
use super::socket::{Cut, End, Socket};

/// A client's connection to the gateway. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
}

/// A response, complete.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The heads that came before it, with 1xx.
    pub(crate) interim: Vec<Head>,
}

impl Deref for Response {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Response {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// Asserts that the gateway made it, with `status` and for `reason`.
    #[track_caller]
    pub(crate) fn assert_is_reply(&self, status: u16, reason: &str) {
        let text = self.text();
        let start = format!("{{\"error\":\"{reason}\",\"status\":{status},\"request_id\":\"");
        let id = text.trim_end().strip_prefix(&start).and_then(|rest| rest.strip_suffix("\"}"));
        let id = id.unwrap_or_else(|| panic!("not a {status} {reason}: {:?} {text}", self.head));
        assert!(is_request_id(id), "{id:?} is not a request id");
        assert_eq!(self.status, status);
        assert_eq!(self.header("content-type"), Some("application/json"));
    }
}

/// Whether it is 32 hexadecimal digits.
pub(crate) fn is_request_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE);
        Self::on(stream.expect("the gateway takes connections"))
    }

    /// Connects to a Unix socket.
    #[track_caller]
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the gateway takes connections");
        // The kernel reads and writes both alike.
        Self::on(TcpStream::from(OwnedFd::from(stream)))
    }

    /// A client on a connection that was made already.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { socket: Socket::new(stream) }
    }

    /// Connects with the smallest receive buffer, so that bytes which the test does not read stay
    /// in the gateway.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        // Before the connection is made: the window is agreed on there.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        Self { socket: Socket::new(socket.into()) }
    }

    /// Connects from an address of its own, which must be one of this machine's.
    pub(crate) fn connect_from(from: &str, address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        let from = SocketAddr::new(from.parse().unwrap(), 0);
        socket.bind(&from.into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self { socket: Socket::new(socket.into()) }
    }

    /// Sends bytes, in one piece as far as the kernel is concerned.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.send(bytes.as_ref()).expect("the gateway takes what the client sends");
    }

    /// Sends bytes that the gateway may have stopped to take.
    pub(crate) fn send_if_it_goes(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.send(bytes.as_ref());
    }

    /// Sends bytes until the gateway takes no more for a while; says how many it took.
    pub(crate) fn send_until_full(&mut self, bytes: &[u8]) -> usize {
        self.socket.send_until_full(bytes)
    }

    /// Sends bytes from a thread of its own, which says how that went.
    pub(crate) fn send_meanwhile(&self, bytes: Vec<u8>) -> JoinHandle<io::Result<()>> {
        let stream = self.socket.stream();
        thread::spawn(move || (&*stream).write_all(&bytes))
    }

    /// As [`Client::send_meanwhile`]; also counts in `sent` the bytes that the kernel has taken.
    pub(crate) fn send_counted(
        &self,
        bytes: Vec<u8>,
        sent: Arc<AtomicUsize>,
    ) -> JoinHandle<io::Result<()>> {
        let stream = self.socket.stream();
        thread::spawn(move || {
            bytes.chunks(64 << 10).try_for_each(|piece| {
                sent.fetch_add(piece.len(), Ordering::SeqCst);
                (&*stream).write_all(piece)
            })
        })
    }

    /// Sends a GET for `target` and reads the response.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
        self.response()
    }

    /// Sends a POST with `body` and reads the response.
    #[track_caller]
    pub(crate) fn post(&mut self, target: &str, body: &str) -> Response {
        let len = body.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {len}\r\n\r\n{body}"
        ));
        self.response()
    }

    /// A response to anything but HEAD; it must be complete.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|cut| panic!("{cut}"))
    }

    /// A response to anything but HEAD, which may be cut short.
    pub(crate) fn try_response(&mut self) -> Result<Response, Cut> {
        self.read_response(false)
    }

    /// A response to HEAD.
    #[track_caller]
    pub(crate) fn response_to_head(&mut self) -> Response {
        self.read_response(true).unwrap_or_else(|cut| panic!("{cut}"))
    }

    fn read_response(&mut self, to_head: bool) -> Result<Response, Cut> {
        let mut interim = Vec::new();
        let (head, status) = loop {
            let head = self.socket.head()?;
            let status = status(&head);
            if status >= 200 {
                break (head, status);
            }
            interim.push(head);
        };
        let framing = match head.framing() {
            _ if to_head || status == 204 || status == 304 => Framing::None,
            framing => framing.unwrap_or(Framing::UntilClose),
        };
        let Body { bytes: body, trailers } = self.socket.body(framing)?;
        Ok(Response { head, status, framing, body, trailers, interim })
    }

    /// One head, interim or final.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        self.socket.head().unwrap_or_else(|cut| panic!("{cut}"))
    }

    /// Exactly `len` bytes.
    #[track_caller]
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.socket.bytes(len).unwrap_or_else(|cut| panic!("{cut}"))
    }

    /// Everything up to the end of the connection, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        self.socket.rest()
    }

    /// Asserts that the gateway has ended the connection, and sent nothing more before that.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let (rest, end) = self.rest();
        assert_eq!(String::from_utf8_lossy(&rest), "", "bytes after the last response");
        assert_eq!(end, End::Closed);
    }

    /// Ends the client's direction only.
    pub(crate) fn half_close(&mut self) {
        self.socket.half_close();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.socket.reset();
    }

    /// Fails reads that bring nothing for `patience`, instead of the usual [`PATIENCE`].
    pub(crate) fn be_patient_for(&mut self, patience: Duration) {
        let stream = self.socket.stream();
        SockRef::from(&*stream).set_read_timeout(Some(patience)).unwrap();
    }
}

#[track_caller]
fn status(head: &Head) -> u16 {
    assert_eq!(head.word(0), "HTTP/1.1", "{}", head.first_line);
    head.word(1).parse().unwrap()
}
