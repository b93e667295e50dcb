//! One check of an endpoint: connects, and asks for a path unless the connection alone is enough.
//!
//! Each check has a connection of its own, so that it sees whether the endpoint accepts.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use engine::address::Address;
use engine::config::{HealthCheck, Probe};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::select;
use tokio::time::timeout;

use crate::admin::socket::Io;

/// Bytes of a body that are looked at.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The name of the gateway for endpoints.
const NAME: &str = concat!("ringway/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Checks an endpoint.
///
/// # Errors
///
/// The reason why the check failed, for people.
pub(super) async fn run(address: &Address, check: &HealthCheck) -> Result<(), String> {
    let micros = Duration::from(check.timeout);
    timeout(micros, attempt(address, check))
        .await
        .unwrap_or_else(|_| Err(format!("not done within {}", check.timeout)))
}

async fn attempt(address: &Address, check: &HealthCheck) -> Result<(), String> {
    let no_connection = |error: io::Error| format!("connect: {error}");
    match address {
        Address::Ip(ip) => {
            let stream = TcpStream::connect(ip).await.map_err(no_connection)?;
            ask(stream, address, check).await
        }
        Address::Unix(name) => {
            let name = Address::kernel_name(name);
            let stream = UnixStream::connect(&*name).await.map_err(no_connection)?;
            ask(stream, address, check).await
        }
    }
}

async fn ask<S>(stream: S, address: &Address, check: &HealthCheck) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Probe::Path(path) = &check.probe else { return Ok(()) };
    let broken = |error: hyper::Error| format!("no response: {error}");
    let io = Io::new(stream, Rc::new(Cell::new(Instant::now())));
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    let default = match address {
        Address::Ip(ip) => ip.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    let host = check.host.as_ref().map_or(&*default, |host| &*host.0);
    let request = Request::get(&*path.0)
        .header(HOST, host)
        .header(USER_AGENT, NAME)
        .header(CONNECTION, "close")
        .body(NoBody)
        .map_err(|error| error.to_string())?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        judge(response, check).await
    };
    let mut connection = std::pin::pin!(connection);
    let mut answered = std::pin::pin!(answered);
    // The connection moves the bytes. It may be done before the response has been looked at.
    select! {
        biased;
        verdict = &mut answered => return verdict,
        _ = &mut connection => {}
    }
    answered.await
}

async fn judge(response: Response<Incoming>, check: &HealthCheck) -> Result<(), String> {
    let status = response.status().as_u16();
    if !check.statuses.iter().any(|it| it.contains(status)) {
        return Err(format!("status {status}"));
    }
    let Some(wanted) = &check.body else { return Ok(()) };
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| format!("broken body: {error}"))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        if bytes.len() == BODY_BYTES_MAX {
            break;
        }
    }
    if memmem::find(&bytes, wanted.contains.as_bytes()).is_some() {
        return Ok(());
    }
    Err(format!("status {status} with another body"))
}

/// The body of a GET request.
struct NoBody;

impl Body for NoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}
