//! An endpoint that follows a script: one call of it per connection, on a thread of its own.
//!
//! The assertions of a script count: when a test drops an endpoint, it fails if a script failed.

use std::any::Any;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::net::{SocketAddr as SocketName, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::message::{Body, Framing, Head};
use super::socket::{Cut, End, Socket};
use super::{OK, PATIENCE, eventually, kernel};

/// A request as an endpoint received it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: Head,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Deref for Request {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Request {
    pub(crate) fn method(&self) -> &str {
        self.head.word(0)
    }

    pub(crate) fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// A listening endpoint. Dropping it ends its connections and fails the test if a script failed.
#[derive(Debug)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    /// Where it is, if that is a Unix socket.
    socket: Option<SocketName>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The endpoint is being dropped: scripts that wait for the gateway end quietly.
    stopping: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    /// Connections that are not closed yet.
    open: AtomicUsize,
    streams: Mutex<HashMap<usize, Weak<TcpStream>>>,
    scripts: Mutex<Vec<JoinHandle<()>>>,
    failures: Mutex<Vec<String>>,
}

impl Endpoint {
    /// One that runs `script` for each connection. A connection is closed when its script is done
    /// with it.
    pub(crate) fn scripted(script: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), script)
    }

    /// One that answers each request with 200 and `body`, at the Unix socket of this name.
    pub(crate) fn saying_at(name: &SocketName, body: &str) -> Self {
        let listener = UnixListener::bind_addr(name).unwrap();
        let accept = move || {
            // The kernel reads and writes both alike.
            listener.accept().map(|(stream, _)| TcpStream::from(OwnedFd::from(stream)))
        };
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self::accepting(accept, nowhere, Some(name.clone()), move |mut connection| {
            while connection.next_request().is_some() {
                connection.send(&response);
            }
        })
    }

    /// One that answers each request with 200 and `body`, at this address.
    pub(crate) fn saying_on(address: SocketAddr, body: &str) -> Self {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Self::at(address, move |mut connection| {
            while connection.next_request().is_some() {
                connection.send(&response);
            }
        })
    }

    fn at(address: SocketAddr, script: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let accept = move || listener.accept().map(|(stream, _)| stream);
        Self::accepting(accept, address, None, script)
    }

    fn accepting(
        accept: impl Fn() -> io::Result<TcpStream> + Send + 'static,
        address: SocketAddr,
        socket: Option<SocketName>,
        script: impl Fn(Connection) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let script: Arc<dyn Fn(Connection) + Send + Sync> = Arc::new(script);
        let accepting = thread::spawn(move || of_thread.accept(&accept, &script));
        Self { address, socket, shared, accepting: Some(accepting) }
    }

    /// An endpoint whose connections the test itself serves.
    pub(crate) fn by_hand() -> (Self, Connections) {
        let (hand_over, connections) = channel();
        let endpoint = Self::scripted(move |connection| {
            // Nobody takes it when the test is over.
            let _ = hand_over.send(connection);
        });
        (endpoint, Connections(connections))
    }

    /// One that answers each request with `response`, raw, and keeps its connections.
    pub(crate) fn answering(response: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self::scripted(move |mut connection| {
            while connection.next_request().is_some() {
                connection.send(response.as_ref());
            }
        })
    }

    /// One that answers each request with 200 and `body`.
    pub(crate) fn saying(body: &str) -> Self {
        Self::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// The same at an address that was free until now.
    pub(crate) fn ok_at(address: SocketAddr) -> Self {
        Self::at(address, |mut connection| {
            while connection.next_request().is_some() {
                connection.send(OK);
            }
        })
    }

    /// An endpoint for tests that only look at the received requests.
    pub(crate) fn ok() -> Self {
        Self::answering(OK)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests received so far, in the order in which they were complete.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The only request received so far.
    #[track_caller]
    pub(crate) fn only_request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests: {requests:?}");
        requests.remove(0)
    }

    /// How many connections have been made to it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of them it has not closed.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Waits until it has had connections and has closed them all, and the kernel has told the
    /// gateway. It closes a connection when its script is done with it.
    pub(crate) fn wait_until_all_closed(&self) {
        let closed = || {
            self.connections() > 0
                && self.open_connections() == 0
                && kernel::all_closed_to(self.address.port())
        };
        eventually("all connections to the endpoint are closed", closed);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        match &self.socket {
            Some(name) => drop(UnixStream::connect_addr(name)),
            None => drop(TcpStream::connect(self.address)),
        }
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in lock(&shared.streams).values().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if thread::panicking() {
            // Scripts may wait for a step that the test no longer takes.
            return;
        }
        for script in lock(&shared.scripts).drain(..) {
            let _ = script.join();
        }
        let failures = lock(&shared.failures).join("\n");
        assert!(failures.is_empty(), "an endpoint's script failed: {failures}");
    }
}

impl Shared {
    fn accept(
        self: &Arc<Self>,
        accept: &dyn Fn() -> io::Result<TcpStream>,
        script: &Arc<dyn Fn(Connection) + Send + Sync>,
    ) {
        loop {
            let stream = accept();
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
            let socket = Socket::new(stream.unwrap());
            lock(&self.streams).insert(number, socket.watch());
            let open = Open::count(self);
            let connection = Connection { number, socket, endpoint: Arc::clone(self), _open: open };
            let (shared, script) = (Arc::clone(self), Arc::clone(script));
            let run = move || {
                let ended = catch_unwind(AssertUnwindSafe(|| script(connection)));
                let failure = ended.err().filter(|payload| !payload.is::<Stopped>());
                lock(&shared.failures).extend(failure.map(|payload| text_of(&*payload)));
            };
            lock(&self.scripts).push(thread::spawn(run));
        }
    }
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
struct Open(Arc<Shared>);

impl Open {
    fn count(endpoint: &Arc<Shared>) -> Self {
        endpoint.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(endpoint))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The payload with which a script is unwound that waits for a gateway that is gone.
struct Stopped;

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref().copied()).unwrap_or("a panic").to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections to an endpoint that is served by hand.
#[derive(Debug)]
pub(crate) struct Connections(Receiver<Connection>);

impl Connections {
    /// The next one; it must come.
    #[track_caller]
    pub(crate) fn next(&self) -> Connection {
        self.0.recv_timeout(PATIENCE).expect("the gateway makes a connection")
    }
}

/// A connection in the hands of a script. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Counted from 1.
    pub(crate) number: usize,
    socket: Socket,
    endpoint: Arc<Shared>,
    /// Dropped last, so that a connection which no longer counts is closed.
    _open: Open,
}

impl Connection {
    /// The next request, with its body; none if the gateway ended the connection instead.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        let head = self.next_head()?;
        Some(self.with_body(head))
    }

    /// The head of the next request; none if the gateway ended the connection instead.
    pub(crate) fn next_head(&mut self) -> Option<Head> {
        match self.socket.head() {
            Ok(head) => Some(head),
            Err(Cut { got, end }) if got.is_empty() && end != End::Silent => None,
            Err(cut) => self.fail(&cut),
        }
    }

    /// The next request, with its body; it must come.
    pub(crate) fn request(&mut self) -> Request {
        let head = self.request_head();
        self.with_body(head)
    }

    /// The head of the next request. The request is received, and in the endpoint's list, when its
    /// body is: see [`Connection::with_body`].
    pub(crate) fn request_head(&mut self) -> Head {
        self.socket.head().unwrap_or_else(|cut| self.fail(&cut))
    }

    /// Reads the body of the request with this head.
    pub(crate) fn with_body(&mut self, head: Head) -> Request {
        let framing = head.framing().unwrap_or(Framing::None);
        let Body { bytes: body, trailers } =
            self.socket.body(framing).unwrap_or_else(|cut| self.fail(&cut));
        let request = Request { head, framing, body, trailers };
        lock(&self.endpoint.requests).push(request.clone());
        request
    }

    /// The same; none if the gateway cuts it short.
    pub(crate) fn try_with_body(&mut self, head: Head) -> Option<Request> {
        let framing = head.framing().unwrap_or(Framing::None);
        let Body { bytes: body, trailers } = self.socket.body(framing).ok()?;
        let request = Request { head, framing, body, trailers };
        lock(&self.endpoint.requests).push(request.clone());
        Some(request)
    }

    /// Exactly `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.socket.bytes(len).unwrap_or_else(|cut| self.fail(&cut))
    }

    /// Exactly `len` bytes; none if the gateway ends the connection before.
    pub(crate) fn bytes_or_end(&mut self, len: usize) -> Option<Vec<u8>> {
        self.socket.bytes(len).ok()
    }

    /// Everything up to the end of the connection, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        self.socket.rest()
    }

    /// Whether the gateway sends nothing for so long.
    pub(crate) fn is_silent_for(&mut self, patience: Duration) -> bool {
        self.socket.is_silent_for(patience)
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

    /// Sends bytes. The gateway may have gone; the client checks which bytes arrive.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes);
    }

    /// Sends bytes, and says whether the gateway took them.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.send(bytes.as_ref())
    }

    /// The end of the connection, after all bytes that the gateway still sends.
    pub(crate) fn end(&mut self) -> End {
        self.socket.end()
    }

    /// Ends the endpoint's direction only.
    pub(crate) fn half_close(&mut self) {
        self.socket.half_close();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.socket.reset();
    }

    fn fail(&self, cut: &Cut) -> ! {
        if self.endpoint.stopping.load(Ordering::SeqCst) {
            resume_unwind(Box::new(Stopped));
        }
        panic!("connection {} of the endpoint: {cut}", self.number);
    }
}

/// An address that does not answer a connect: its kernel queue of unaccepted connections is full,
/// so the kernel drops further ones.
#[derive(Debug)]
pub(crate) struct SilentAddress {
    listener: socket2::Socket,
    queued: Vec<TcpStream>,
}

impl SilentAddress {
    pub(crate) fn new() -> Self {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let mut silent = Self { listener, queued: Vec::new() };
        let soon = Duration::from_millis(100);
        while let Ok(stream) = TcpStream::connect_timeout(&silent.address(), soon) {
            silent.queued.push(stream);
        }
        silent
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().expect("it is an IP address")
    }
}
