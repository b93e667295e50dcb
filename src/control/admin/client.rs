//! The other side of the admin API: commands that ask a node.
//!
//! Invariant: no question takes longer than [`TIMEOUT`], and no answer more memory than
//! [`ANSWER_BYTES_MAX`].

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::answer::Body as Sent;
use super::socket::Io;

/// For connecting and for the whole answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer. The largest one is the configuration, written with every key.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where a node listens for the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAddress {
    /// Host or IP address, and port.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        match port {
            Some(_) => Ok(Self::Tcp(address.to_owned())),
            None => Err("write HOST:PORT, such as 127.0.0.1:9901, or unix:/path".to_owned()),
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a node did not answer as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The event.
    pub what: String,
    /// The cure.
    pub cure: &'static str,
}

/// A node that can be asked.
#[derive(Clone, Debug)]
pub struct Client {
    address: NodeAddress,
    token: Option<String>,
}

impl Client {
    /// A node, and the token that it wants, if it wants one.
    #[must_use]
    pub fn new(address: NodeAddress, token: Option<String>) -> Self {
        Self { address, token }
    }

    /// The body of a good answer to `GET path`.
    ///
    /// # Errors
    /// The node cannot be reached, does not answer in time, or refuses.
    pub fn fetch(&self, path: &str) -> Result<Vec<u8>, Unreachable> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| self.failed(format!("the runtime does not start: {error}"), CURE_NETWORK),
        )?;
        let asking = async { tokio::time::timeout(TIMEOUT, self.ask(path)).await };
        let (status, body) = runtime.block_on(asking).unwrap_or_else(|_| {
            let what = format!("no answer within {} s", TIMEOUT.as_secs());
            Err(self.failed(what, "the host or the gateway is overloaded, or that is no Ringway"))
        })?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(self.failed(
                detail(&body).unwrap_or_else(|| status.to_string()),
                "set RINGWAY_ADMIN_TOKEN to the token of the node's [admin] section",
            )),
            _ => Err(self.failed(
                detail(&body).unwrap_or_else(|| status.to_string()),
                "is that the admin address of a Ringway of this version?",
            )),
        }
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Vec<u8>), Unreachable> {
        match &self.address {
            NodeAddress::Tcp(host) => {
                let cannot = |error: io::Error| self.failed(&error, cure(&error));
                let addresses: Vec<SocketAddr> = host.to_socket_addrs().map_err(cannot)?.collect();
                let stream = TcpStream::connect(&*addresses).await.map_err(cannot)?;
                self.exchange(stream, host, path).await
            }
            NodeAddress::Unix(file) => {
                let stream = UnixStream::connect(file)
                    .await
                    .map_err(|error| self.failed(&error, cure(&error)))?;
                self.exchange(stream, "localhost", path).await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        host: &str,
        path: &str,
    ) -> Result<(StatusCode, Vec<u8>), Unreachable> {
        let is_no_ringway = "is that the admin address of a Ringway?";
        let mut request = Request::builder().uri(path).header(HOST, host);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                let what = "the token cannot stand in a header".to_owned();
                self.failed(what, "look at RINGWAY_ADMIN_TOKEN: is there a line end in it?")
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request =
            request.body(Sent::Whole(None)).map_err(|error| self.failed(error, is_no_ringway))?;
        let broken = |error: String| self.failed(error, is_no_ringway);
        let io = Io::new(stream, Rc::new(Cell::new(Instant::now())));
        let (mut sender, connection) =
            http1::handshake(io).await.map_err(|error| broken(error.to_string()))?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|it| it.to_string())?;
            Ok::<_, String>((response.status(), collect(response).await?))
        };
        // The connection ends when there is nobody left to send a request.
        let (_, answer) = tokio::join!(connection, answer);
        answer.map_err(broken)
    }

    fn failed(&self, what: impl fmt::Display, cure: &'static str) -> Unreachable {
        Unreachable { what: format!("cannot ask the node at {}: {what}", self.address), cure }
    }
}

const CURE_NETWORK: &str = "does the node run, and is that its [admin] address? Give it with \
    --admin or RINGWAY_ADMIN";

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "the socket is for the user that the gateway runs as: ask as that user"
        }
        _ => CURE_NETWORK,
    }
}

async fn collect(response: Response<Incoming>) -> Result<Vec<u8>, String> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(piece) = frame.map_err(|it| it.to_string())?.into_data() {
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer has more than {ANSWER_BYTES_MAX} bytes"));
        }
    }
    Ok(bytes)
}

/// The details of a problem.
fn detail(body: &[u8]) -> Option<String> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    Some(problem.get("detail")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let tcp = |text: &str| Ok(NodeAddress::Tcp(text.to_owned()));
        assert_eq!("127.0.0.1:9901".parse(), tcp("127.0.0.1:9901"));
        assert_eq!("http://gateway-7:9901/".parse(), tcp("gateway-7:9901"));
        assert_eq!("[::1]:9901".parse(), tcp("[::1]:9901"));
        assert_eq!("unix:/run/x.sock".parse(), Ok(NodeAddress::Unix("/run/x.sock".into())));
        for bad in ["9901", "localhost", "unix:", "[::1]"] {
            assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
        }
    }
}
