//! The admin API: health, metrics, status, and the configuration, over HTTP/1.1.
//!
//! It runs on the control thread and knows the node by the [`Node`] trait and the counts by
//! [`Counted`]. `bind` opens the address, `guard` refuses requests that may not be made, `api` finds the
//! resource (`resources` has a file for each), `answer` makes the response, `slots` and `socket`
//! bound the cost of clients; `client` is the other side.
//!
//! Invariant: a client that stalls, floods or leaves harms no other one and no data core: every
//! wait has a deadline, connections and the memory of bodies are bounded.

mod answer;
mod api;
mod bind;
mod body;
pub mod client;
mod guard;
mod resource;
mod resources;
mod slots;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
pub mod view;

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::spawn_local;

pub(crate) use bind::AdminListener;

use crate::export::Counted;
use crate::node::Node;
use api::Api;
use bind::AdminSocket;
use guard::Guard;
use slots::Slots;
use socket::{Io, Timer};

/// From when a connection is ready for a request until its head is complete. So it is the idle
/// timeout too: longer than the minute that scrapers wait between two scrapes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long accepting pauses after an error: most of them say that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl AdminListener {
    /// Serves the node to clients. With a token they must send it. Does not end by itself; runs in
    /// a `LocalSet`.
    pub(crate) async fn serve(
        self,
        token: Option<String>,
        node: Rc<impl Node + 'static>,
        counted: Counted,
    ) {
        let guard = Guard::new(token, self.is_local());
        let api = Rc::new(Api::new(node, counted, guard));
        let slots = Slots::default();
        let listener = match self.listener().and_then(Accept::new) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("the admin API on {} does not start: {error}", self.address());
                return;
            }
        };
        loop {
            let accepted = match &listener {
                Accept::Tcp(listener) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| slots.start(|slot| connection(stream, slot, &api))),
                Accept::Unix(listener) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| slots.start(|slot| connection(stream, slot, &api))),
            };
            if let Err(error) = accepted {
                tracing::warn!("the admin API cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A socket that accepts in this runtime.
enum Accept {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accept {
    fn new(listener: AdminSocket) -> io::Result<Self> {
        Ok(match listener {
            AdminSocket::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            AdminSocket::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }
}

/// Starts the task of one connection.
fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    slot: slots::Slot,
    api: &Rc<Api<impl Node + 'static>>,
) -> tokio::task::AbortHandle {
    let api = Rc::clone(api);
    let task = async move {
        let io = Io::new(stream, slot.moved());
        let slot = Rc::new(slot);
        let service = service_fn(|request| {
            let (api, slot) = (Rc::clone(&api), Rc::clone(&slot));
            async move { Ok::<_, Infallible>(api.answer(request, &slot).await) }
        });
        // How it ended says something about the client only.
        let _ = http1::Builder::new()
            .timer(Timer)
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
            .await;
    };
    spawn_local(task).abort_handle()
}
