//! A panic in mid-exchange ends the connection it happened on, and nothing else. There is no way
//! to make the gateway panic, so its network does: at each operation in turn.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use engine::address::{Address, ClientAddress};
use engine::time::Instant;
use worker::net::buffer::Buf;
use worker::net::sim::{Faults, Random, Sim, SimListener, SimNet, SimStream};
use worker::net::{Listener, Net, Stream, StreamState};

use super::client::Script;
use super::endpoint::Behaviour;
use super::model::{GotResponse, Plan, ShadowModel};
use super::testbed::{FinishedRun, Testbed};

/// Counts down to the operation that panics.
pub(crate) type Countdown = Rc<Cell<Option<u64>>>;

/// A simulated network that panics once.
#[derive(Clone)]
pub(crate) struct PanickingNet<T> {
    pub(crate) inner: T,
    pub(crate) countdown: Countdown,
}

impl<T> PanickingNet<T> {
    fn with<U>(&self, inner: U) -> PanickingNet<U> {
        PanickingNet { inner, countdown: Rc::clone(&self.countdown) }
    }

    fn count_down(&self) {
        match self.countdown.get() {
            Some(0) => {
                self.countdown.set(None);
                panic!("as the test wants it");
            }
            left => self.countdown.set(left.map(|left| left - 1)),
        }
    }
}

impl Net for PanickingNet<SimNet> {
    type Stream = PanickingNet<SimStream>;
    type Listener = PanickingNet<SimListener>;

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn unix_micros(&self) -> u64 {
        self.inner.unix_micros()
    }

    fn cpu_micros(&self) -> u64 {
        self.inner.cpu_micros()
    }

    async fn connect(&self, to: impl Into<Address>) -> io::Result<Self::Stream> {
        self.count_down();
        Ok(self.with(self.inner.connect(to).await?))
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.inner.spawn(task);
    }

    fn panics(&self) -> u64 {
        self.inner.panics()
    }

    async fn sleep_until(&self, at: Instant) {
        self.inner.sleep_until(at).await;
    }

    async fn yield_now(&self) {
        self.inner.yield_now().await;
    }
}

impl Listener for PanickingNet<SimListener> {
    type Stream = PanickingNet<SimStream>;

    fn port(&self) -> Option<u16> {
        self.inner.port()
    }

    async fn accept(&self) -> io::Result<(Self::Stream, ClientAddress)> {
        self.count_down();
        let (stream, from) = self.inner.accept().await?;
        Ok((self.with(stream), from))
    }

    fn cancel_accept(&self) {
        self.inner.cancel_accept();
    }

    fn try_accept(&self) -> io::Result<Option<(Self::Stream, ClientAddress)>> {
        Ok(self.inner.try_accept()?.map(|(stream, from)| (self.with(stream), from)))
    }
}

impl Stream for PanickingNet<SimStream> {
    async fn read(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        self.count_down();
        self.inner.read(buf).await
    }

    async fn read_cancelable(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        self.count_down();
        self.inner.read_cancelable(buf).await
    }

    fn cancel_read(&self) {
        self.inner.cancel_read();
    }

    async fn write(&self, buf: Buf) -> (io::Result<usize>, Buf) {
        self.count_down();
        self.inner.write(buf).await
    }

    async fn readable(&self) -> io::Result<()> {
        self.count_down();
        self.inner.readable().await
    }

    fn state(&self) -> StreamState {
        self.inner.state()
    }

    fn is_quiet(&self) -> bool {
        self.inner.is_quiet()
    }

    fn unacknowledged(&self) -> Option<u64> {
        self.inner.unacknowledged()
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.try_write(bytes)
    }

    async fn shutdown_write(&self) {
        self.inner.shutdown_write().await;
    }

    fn abort(&self) {
        self.inner.abort();
    }
}

/// One client meets the panic in its exchanges, one runs beside it, and one comes after it.
fn run(panic_at: Option<u64>) -> (FinishedRun, Option<u64>) {
    const FAR_AWAY: u64 = u64::MAX;
    let countdown: Countdown = Rc::new(Cell::new(Some(panic_at.unwrap_or(FAR_AWAY))));
    let sim = Sim::new(1, Faults::none());
    let mut plans = vec![Plan::get(1_000); 8];
    plans[1] = Plan { method: "POST", upload: Some(100_000), ..Plan::get(100_000) };
    let model = ShadowModel::new(1, plans);
    model.panics.set(u64::from(panic_at.is_some()));
    let behaviour = [Behaviour::PLAIN; 2];
    let net = |inner| PanickingNet { inner, countdown: Rc::clone(&countdown) };
    let listener = |inner| PanickingNet { inner, countdown: Rc::clone(&countdown) };
    let testbed = Testbed::on(sim, model, &behaviour, net, listener);
    let random = Random::new(1);
    testbed.client(vec![Script::plain(vec![0, 1, 2])], &random);
    testbed.client(vec![Script::plain(vec![3, 4, 5])], &random);
    testbed.wait();
    testbed.client(vec![Script::plain(vec![6, 7])], &random);
    let ended = testbed.finish(None, false);
    let counted = countdown.get().map(|left| FAR_AWAY - left);
    (ended, counted)
}

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    let (plain, operations) = run(None);
    assert_eq!(plain.violations(), None);
    let served = |ended: &FinishedRun, ids: std::ops::Range<usize>| {
        let right = GotResponse { status: 200, own: false, whole: true };
        ids.into_iter().all(|id| ended.model.got.borrow().get(&id) == Some(&right))
    };
    assert!(served(&plain, 0..8));
    let operations = operations.unwrap();
    assert!(operations > 30, "{operations}");
    for operation in 0..operations {
        let (ended, _) = run(Some(operation));
        assert_eq!(ended.violations(), None, "panic at operation {operation}");
        assert_eq!(ended.totals.panics, 1);
        assert!(served(&ended, 0..3) || served(&ended, 3..6), "two clients suffer: {operation}");
        // One of them suffers alone, which may be the one that comes after.
        assert!(
            served(&ended, 6..8) || served(&ended, 0..6),
            "panic at operation {operation}: it does not serve on"
        );
    }
}
