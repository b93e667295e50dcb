//! Makes simulated connections: listeners with their queues, and connects.
//!
//! A connect takes one latency there and one back. Without a listener it is refused. A full queue or a
//! black hole does not answer: the connect tries again as Linux does, and times out in the end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use engine::address::ClientAddress;

use super::super::Listener;
use super::connection::{ConnectionSide, SimConnection};
use super::stream::{OperationPhase, SimStream};
use super::trace::OperationKind;
use super::world::{SimEvent, World};
use super::{Force, SimNet, is_unix};

/// The number of times that a connect sends its request again: Linux's `tcp_syn_retries`, 127 s in all.
const SYN_RETRIES: u32 = 6;

/// A listening socket of a simulated network.
pub struct SimListener {
    net: SimNet,
    bound: Rc<ListenQueue>,
}

/// The queue of a listener, which connects find by its address.
pub(super) struct ListenQueue {
    addr: SocketAddr,
    state: RefCell<QueueState>,
}

#[derive(Default)]
struct QueueState {
    queue: VecDeque<Rc<SimConnection>>,
    /// Whether an accept is under way.
    accepting: bool,
    cancelled: bool,
    waker: Option<Waker>,
}

impl QueueState {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl SimListener {
    pub(super) fn new(net: &SimNet, mut addr: SocketAddr) -> Self {
        if addr.port() == 0 {
            addr.set_port(net.world.new_port());
        }
        let bound = Rc::new(ListenQueue { addr, state: RefCell::default() });
        net.world.listeners.borrow_mut().entry(addr).or_default().push(bound.clone());
        Self { net: net.clone(), bound }
    }

    /// The address we listen on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.bound.addr
    }

    /// The first connection in the queue.
    fn take(&self) -> Option<(SimStream, ClientAddress)> {
        let connection = self.bound.state.borrow_mut().queue.pop_front()?;
        let from = match is_unix(self.bound.addr) {
            true => ClientAddress::Unix,
            false => connection.addr(ConnectionSide::Dialer).into(),
        };
        Some((
            SimStream::new(&self.net.world, connection, ConnectionSide::Acceptor, self.net.host),
            from,
        ))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let world = &self.net.world;
        if let Some(bound) = world.listeners.borrow_mut().get_mut(&self.bound.addr) {
            bound.retain(|bound| !Rc::ptr_eq(bound, &self.bound));
        }
        let queue = self.bound.state.take().queue;
        for connection in queue {
            connection.abort(world, ConnectionSide::Acceptor);
            connection.close(world, ConnectionSide::Acceptor);
        }
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    fn port(&self) -> Option<u16> {
        (!is_unix(self.bound.addr)).then_some(self.bound.addr.port())
    }

    fn accept(&self) -> impl Future<Output = io::Result<(SimStream, ClientAddress)>> {
        AcceptFuture { listener: self, phase: OperationPhase::New }
    }

    fn cancel_accept(&self) {
        let mut state = self.bound.state.borrow_mut();
        if state.accepting {
            state.cancelled = true;
            state.wake();
        }
    }

    fn try_accept(&self) -> io::Result<Option<(SimStream, ClientAddress)>> {
        let world = &self.net.world;
        if world.random.chance(world.faults.accept_error_permille) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(self.take())
    }
}

/// [`Listener::accept`].
struct AcceptFuture<'a> {
    listener: &'a SimListener,
    phase: OperationPhase,
}

impl AcceptFuture<'_> {
    fn finish(&mut self) {
        let mut state = self.listener.bound.state.borrow_mut();
        (state.accepting, state.cancelled, state.waker) = (false, false, None);
    }

    /// The result of the accept; `None` if it has to wait.
    fn accept(&self) -> Option<io::Result<(SimStream, ClientAddress)>> {
        let (cancelled, empty) = {
            let state = self.listener.bound.state.borrow();
            (state.cancelled, state.queue.is_empty())
        };
        if cancelled && (empty || self.listener.net.world.choose()) {
            return Some(Err(ErrorKind::Interrupted.into()));
        }
        self.listener.take().map(Ok)
    }
}

impl Future for AcceptFuture<'_> {
    type Output = io::Result<(SimStream, ClientAddress)>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let SimNet { world, host, .. } = &this.listener.net;
        if this.phase == OperationPhase::New {
            {
                let mut state = this.listener.bound.state.borrow_mut();
                assert!(!state.accepting, "two accepts of one listener at a time");
                state.accepting = true;
            }
            this.phase = OperationPhase::InProgress;
            let failure = match world.start(OperationKind::Accept, *host, 0) {
                Some(Force::Cancel) => Some(ErrorKind::Interrupted),
                Some(Force::Reset) => Some(ErrorKind::ConnectionAborted),
                None if world.random.chance(world.faults.accept_error_permille) => {
                    Some(ErrorKind::ConnectionAborted)
                }
                None => None,
            };
            if let Some(kind) = failure {
                this.phase = OperationPhase::Done;
                this.finish();
                return Poll::Ready(Err(kind.into()));
            }
            if world.choose() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        match this.accept() {
            Some(result) => {
                this.phase = OperationPhase::Done;
                this.finish();
                Poll::Ready(result)
            }
            None => {
                this.listener.bound.state.borrow_mut().waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for AcceptFuture<'_> {
    fn drop(&mut self) {
        if self.phase == OperationPhase::InProgress {
            self.finish();
            self.listener.net.world.dropped();
        }
    }
}

/// A request to connect, on its way.
pub(super) struct Dial {
    from: SocketAddr,
    to: SocketAddr,
    state: RefCell<DialState>,
}

#[derive(Default)]
struct DialState {
    waker: Option<Waker>,
    answer: Option<Result<Rc<SimConnection>, ErrorKind>>,
    /// Whether the task dropped the connect.
    abandoned: bool,
}

impl Dial {
    /// The request arrives at `to`. It was sent `sent` times before.
    pub(super) fn arrive(self: &Rc<Self>, world: &World, sent: u32) {
        if self.state.borrow().abandoned {
            return;
        }
        let back = |micros: u64, answer| {
            world.schedule_in(micros, SimEvent::Answer(self.clone(), answer));
        };
        if world.black_holes.borrow().contains(&self.to) {
            self.again(world, sent);
            return;
        }
        let refused = world.random.chance(world.faults.connect_refused_permille);
        let Some(bound) = self.listener(world).filter(|_| !refused) else {
            back(world.latency(), Err(ErrorKind::ConnectionRefused));
            return;
        };
        if bound.state.borrow().queue.len() >= world.faults.backlog_max.max(1) {
            self.again(world, sent);
            return;
        }
        let connection = SimConnection::new(world, self.from, self.to);
        back(world.latency(), Ok(connection.clone()));
        let mut state = bound.state.borrow_mut();
        state.queue.push_back(connection);
        state.wake();
    }

    /// The answer arrives at `from`.
    pub(super) fn answer(&self, world: &World, answer: Result<Rc<SimConnection>, ErrorKind>) {
        let mut state = self.state.borrow_mut();
        if state.abandoned {
            if let Ok(connection) = answer {
                connection.close(world, ConnectionSide::Dialer);
            }
            return;
        }
        state.answer = Some(answer);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// No answer came: sends the request again after one second, then two, then four, and so on.
    fn again(self: &Rc<Self>, world: &World, sent: u32) {
        let wait = 1_000_000 << sent.min(SYN_RETRIES);
        let event = if sent < SYN_RETRIES {
            SimEvent::Syn(self.clone(), sent + 1)
        } else {
            SimEvent::Answer(self.clone(), Err(ErrorKind::TimedOut))
        };
        world.schedule_in(wait, event);
    }

    /// The queue of a listener at `to`; one of them, if there are several.
    fn listener(&self, world: &World) -> Option<Rc<ListenQueue>> {
        let listeners = world.listeners.borrow();
        let listeners = listeners.get(&self.to)?;
        let at = if listeners.len() > 1 { world.random.below(listeners.len()) } else { 0 };
        listeners.get(at).cloned()
    }
}

/// [`super::Net::connect`].
pub(super) struct ConnectFuture {
    net: SimNet,
    to: SocketAddr,
    dial: Option<Rc<Dial>>,
}

impl ConnectFuture {
    pub(super) const fn new(net: SimNet, to: SocketAddr) -> Self {
        Self { net, to, dial: None }
    }

    /// Sends the request, unless the operation is forced to fail.
    fn start(&self) -> io::Result<Rc<Dial>> {
        let world = &self.net.world;
        match world.start(OperationKind::Connect, self.net.host, 0) {
            Some(Force::Cancel) => return Err(ErrorKind::Interrupted.into()),
            Some(Force::Reset) => return Err(ErrorKind::ConnectionReset.into()),
            None => {}
        }
        let from = SocketAddr::new(self.net.ip, world.new_port());
        let dial = Rc::new(Dial { from, to: self.to, state: RefCell::default() });
        let slow = world.random.chance(world.faults.connect_slow_permille);
        let more = if slow { world.random.within(&world.faults.connect_slow_micros) } else { 0 };
        let there = world.latency().saturating_add(more);
        world.schedule_in(there, SimEvent::Syn(dial.clone(), 0));
        Ok(dial)
    }
}

impl Future for ConnectFuture {
    type Output = io::Result<SimStream>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let dial = match this.dial.take() {
            Some(dial) => dial,
            None => this.start()?,
        };
        let answer = dial.state.borrow_mut().answer.take();
        match answer {
            Some(Ok(connection)) => {
                let SimNet { world, host, .. } = &this.net;
                Poll::Ready(Ok(SimStream::new(world, connection, ConnectionSide::Dialer, *host)))
            }
            Some(Err(kind)) => Poll::Ready(Err(kind.into())),
            None => {
                dial.state.borrow_mut().waker = Some(context.waker().clone());
                this.dial = Some(dial);
                Poll::Pending
            }
        }
    }
}

impl Drop for ConnectFuture {
    fn drop(&mut self) {
        let Some(dial) = self.dial.take() else { return };
        let answer = {
            let mut state = dial.state.borrow_mut();
            state.abandoned = true;
            state.answer.take()
        };
        if let Some(Ok(connection)) = answer {
            connection.close(&self.net.world, ConnectionSide::Dialer);
        }
    }
}
