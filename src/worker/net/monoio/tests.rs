//! Sockets of this machine, on both drivers: an abort, and the check for a quiet stream.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::*;
use crate::net::buffer::{BufferPool, Size};

/// A connection: our stream, and the other side as a blocking socket.
fn pair(net: &MonoioNet) -> io::Result<(MonoioStream, std::net::TcpStream)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let ours = std::net::TcpStream::connect(listener.local_addr()?)?;
    ours.set_nonblocking(true)?;
    Ok((net.stream(ours)?, listener.accept()?.0))
}

/// The end of a connection as its peer sees it: the peer begins to read after a write that hung was
/// aborted.
async fn end_after_an_abort(net: &MonoioNet) -> io::Result<()> {
    let (stream, mut peer) = pair(net)?;
    let pool = BufferPool::new(usize::MAX);
    let write = async || {
        loop {
            let mut buf = pool.take(Size::Large);
            while buf.append(&[b'x'; 1024]) {}
            if stream.write(buf).await.0.is_err() {
                return;
            }
        }
    };
    let mut writing = pin!(write());
    // Enough turns to fill every buffer on the way.
    for _ in 0..10_000 {
        poll_fn(|cx| {
            assert!(writing.as_mut().poll(cx).is_pending(), "nobody reads");
            Poll::Ready(())
        })
        .await;
        net.yield_now().await;
    }
    stream.abort();
    let mut block = vec![0; 1 << 20];
    let end = loop {
        match peer.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    writing.await;
    end
}

#[test]
fn an_abort_never_looks_like_an_end() {
    for driver in [Driver::IoUring, Driver::Epoll] {
        let end = block_on(driver, async |net| end_after_an_abort(&net).await).unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "{driver}");
    }
}

/// Calls `is_quiet` on a pooled connection between one response and the next.
async fn check_quiet_between_reads(net: &MonoioNet) -> io::Result<()> {
    let (stream, mut peer) = pair(net)?;
    let pool = BufferPool::new(usize::MAX);
    let read = async || stream.read(pool.take(Size::Small)).await.0;
    let until = async |what| {
        while stream.state() != what {
            net.yield_now().await;
        }
    };
    for _ in 0..3 {
        peer.write_all(b"a")?;
        assert_eq!(read().await?, 1);
        assert!(stream.is_quiet());
        // The check changed the readiness in monoio, but the waiting read must wake all the same.
        let mut waiting = pin!(read());
        poll_fn(|cx| {
            assert!(waiting.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        peer.write_all(b"b")?;
        assert_eq!(waiting.await?, 1);
        peer.write_all(b"c")?;
        until(StreamState::Readable).await;
        assert!(!stream.is_quiet(), "bytes");
        assert_eq!(read().await?, 1);
    }
    peer.shutdown(Shutdown::Write)?;
    until(StreamState::HalfClosed).await;
    assert!(!stream.is_quiet(), "an end");
    Ok(())
}

#[test]
fn is_quiet_sees_bytes_and_ends_and_loses_no_wake_up() {
    for driver in [Driver::IoUring, Driver::Epoll] {
        block_on(driver, async |net| check_quiet_between_reads(&net).await).unwrap().unwrap();
    }
}
