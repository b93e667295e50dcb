//! A blocking HTTP/1.1 client of the fewest words: for readiness, idle connections and large
//! bodies.
//!
//! It understands responses with a Content-Length: the bundled endpoint sends only those, through
//! any gateway. The timeouts of the stream bound every call.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Error;

/// The head of a response, and the part of its body that came with it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_length: u64,
    /// Body bytes that arrived together with the head and are already taken.
    pub(crate) body_bytes_taken: u64,
}

/// Connects with timeouts on everything that follows.
pub(crate) fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, Error> {
    let doing = || format!("connect to {address}");
    let stream = TcpStream::connect_timeout(&address, timeout).map_err(Error::doing(doing()))?;
    stream.set_read_timeout(Some(timeout)).map_err(Error::doing(doing()))?;
    stream.set_write_timeout(Some(timeout)).map_err(Error::doing(doing()))?;
    stream.set_nodelay(true).map_err(Error::doing(doing()))?;
    Ok(stream)
}

/// One GET on an open connection, its body read to the end.
pub(crate) fn fetch(stream: &mut TcpStream, path: &str) -> Result<Response, Error> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(Error::doing(format!("send GET {path}")))?;
    let response = read_head(stream)?;
    let mut left = response.content_length.saturating_sub(response.body_bytes_taken);
    let mut buffer = [0; 4096];
    while left > 0 {
        left = left.saturating_sub(read_some(stream, &mut buffer)? as u64);
    }
    Ok(response)
}

/// Reads up to the empty line, and the bytes of the body that the same read brings.
pub(crate) fn read_head(stream: &mut impl Read) -> Result<Response, Error> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = read_some(stream, &mut buffer)?;
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(&bytes) {
            Ok(httparse::Status::Complete(used)) => {
                return head(&parsed, (bytes.len() - used) as u64);
            }
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => {}
            Ok(httparse::Status::Partial) => {
                return Err(Error::new("the response head has no end"));
            }
            Err(error) => return Err(Error::new(format!("the answer is not HTTP: {error}"))),
        }
    }
}

/// One read; the end of the stream is an error here, as bodies have a known length.
pub(crate) fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(Error::new("the connection was closed in mid-response")),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(Error::new("no bytes came before the timeout"));
            }
            Err(error) => return Err(Error::doing("read the response")(error)),
        }
    }
}

fn head(parsed: &httparse::Response<'_, '_>, body_bytes_taken: u64) -> Result<Response, Error> {
    let content_length = parsed
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok())
        .ok_or_else(|| {
            Error::new(
                "the response has no content-length: `ringway bench endpoint` must stand behind it",
            )
        })?;
    Ok(Response { status: parsed.code.unwrap_or(0), content_length, body_bytes_taken })
}

/// Far above any head that a gateway makes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_holds_status_length_and_the_bytes_that_came_with_it() {
        let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
        let response = read_head(&mut bytes).expect("a head");
        assert_eq!((response.status, response.content_length), (200, 10));
        assert_eq!(response.body_bytes_taken, 3);
    }

    #[test]
    fn a_head_that_ends_early_is_an_error() {
        let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\n";
        assert!(read_head(&mut bytes).is_err());
    }
}
