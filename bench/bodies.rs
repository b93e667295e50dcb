//! `ringway bench bodies`: the memory that large bodies hold in a gateway, measured from outside.
//!
//! A download, an upload, and many slow readers of large bodies at once. A gateway that streams
//! holds some buffers for each connection; one that collects holds the bodies, and shows it here.
//! Every step is bounded in time. Growth is seen from where the memory stands: start the gateway
//! afresh, because one that grew before has room to spare and shows nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::child::Interrupt;
use crate::{Error, client, limits, proc};

/// Which gateway, how much, how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Address of the gateway; `ringway bench endpoint` stands behind it
    #[arg(long)]
    to: SocketAddr,
    /// Process id of the gateway, freshly started; its children count too
    #[arg(long)]
    pid: u32,
    /// Size of each body [default: 1 GiB]
    #[arg(long, default_value_t = 1 << 30, hide_default_value = true)]
    bytes: u64,
    /// Slow readers at once
    #[arg(long, default_value_t = 200)]
    readers: usize,
    /// How long they read
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// One line of the table.
struct Step {
    name: &'static str,
    connections: usize,
    moved_bytes: u64,
    time: Duration,
    before: u64,
    peak: u64,
}

/// Measures and prints.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<bool, Error> {
    let Options { to, pid, bytes, readers, seconds } = *options;
    limits::need_descriptors(readers as u64 + DESCRIPTORS_OWN)?;
    proc::need_process(pid)?;
    let interrupt = Interrupt::install()?;
    writeln!(out, "{HEADINGS}").map_err(Error::print)?;
    let steps: [(_, _, &dyn Fn() -> Result<u64, Error>); 3] = [
        ("download", 1, &|| download(to, bytes, &interrupt)),
        ("upload", 1, &|| upload(to, bytes, &interrupt)),
        ("slow readers", readers, &|| {
            read_slowly(to, bytes, readers, Duration::from_secs(seconds), &interrupt)
        }),
    ];
    for (name, connections, work) in steps {
        let step = watch(pid, name, connections, work)?;
        writeln!(out, "{step}").map_err(Error::print)?;
    }
    Ok(true)
}

/// Looks at the gateway's memory from a second thread while the work is done.
fn watch(
    pid: u32,
    name: &'static str,
    connections: usize,
    work: &dyn Fn() -> Result<u64, Error>,
) -> Result<Step, Error> {
    let family = proc::family(pid);
    let before = proc::resident_bytes(&family);
    let peak = AtomicU64::new(before);
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let moved = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(proc::resident_bytes(&family), Ordering::Relaxed);
                std::thread::sleep(LOOK_INTERVAL);
            }
        });
        let moved = work();
        over.store(true, Ordering::Relaxed);
        moved
    });
    let moved_bytes =
        moved.map_err(|error| Error::new(format!("{name} through the gateway: {error}")))?;
    let peak = peak.load(Ordering::Relaxed);
    Ok(Step { name, connections, moved_bytes, time: start.elapsed(), before, peak })
}

fn download(to: SocketAddr, bytes: u64, interrupt: &Interrupt) -> Result<u64, Error> {
    let mut stream = client::connect(to, STALL_LIMIT)?;
    let end = Instant::now() + TRANSFER_LIMIT;
    let mut done = ask(&mut stream, bytes)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    while done < bytes {
        check(end, interrupt)?;
        done += client::read_some(&mut stream, &mut buffer)? as u64;
    }
    Ok(done)
}

fn upload(to: SocketAddr, bytes: u64, interrupt: &Interrupt) -> Result<u64, Error> {
    let mut stream = client::connect(to, STALL_LIMIT)?;
    let end = Instant::now() + TRANSFER_LIMIT;
    let head = format!("POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(Error::doing("send the head"))?;
    let buffer = vec![b'x'; BUFFER_BYTES];
    let mut left = bytes;
    while left > 0 {
        check(end, interrupt)?;
        let here = usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
        let part = buffer.get(..here).unwrap_or_default();
        stream.write_all(part).map_err(Error::doing(format!("send, {left} bytes to go")))?;
        left -= here as u64;
    }
    match client::read_head(&mut stream)?.status {
        200 => Ok(bytes),
        status => Err(Error::new(format!("the upload was answered {status}"))),
    }
}

/// Each reader takes a little ten times a second, from a receive buffer as small as the kernel
/// gives.
fn read_slowly(
    to: SocketAddr,
    bytes: u64,
    readers: usize,
    length: Duration,
    interrupt: &Interrupt,
) -> Result<u64, Error> {
    let mut done = 0;
    let mut streams = Vec::with_capacity(readers);
    for _ in 0..readers {
        interrupt.check()?;
        let mut stream = connect_narrow(to)?;
        done += ask(&mut stream, bytes)?;
        stream.set_nonblocking(true).map_err(Error::doing("read without waiting"))?;
        streams.push(stream);
    }
    let end = Instant::now() + length;
    let mut buffer = [0; SLOW_READ_BYTES];
    while Instant::now() < end {
        for stream in &mut streams {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(Error::new("a slow reader was cut off")),
                Ok(count) => done += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::doing("read slowly")(error)),
            }
        }
        interrupt.sleep(SLOW_READ_INTERVAL)?;
    }
    Ok(done)
}

/// Asks for a body and returns how much of it came with the head.
fn ask(stream: &mut TcpStream, bytes: u64) -> Result<u64, Error> {
    let request = format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(Error::doing("send the request"))?;
    let response = client::read_head(stream)?;
    if (response.status, response.content_length) != (200, bytes) {
        return Err(Error::new(format!(
            "asked for {bytes} bytes and was answered {} with {}: \
             `ringway bench endpoint` must stand behind the gateway",
            response.status, response.content_length
        )));
    }
    Ok(response.body_bytes_taken)
}

/// The receive buffer must be small before the connection is made, or the window is not.
fn connect_narrow(to: SocketAddr) -> Result<TcpStream, Error> {
    let connect = || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_recv_buffer_size(SLOW_READ_BYTES)?;
        socket.connect_timeout(&to.into(), STALL_LIMIT)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(STALL_LIMIT))?;
        Ok(stream)
    };
    connect().map_err(Error::doing(format!("connect to {to}")))
}

fn check(end: Instant, interrupt: &Interrupt) -> Result<(), Error> {
    interrupt.check()?;
    if Instant::now() > end {
        return Err(Error::new(format!("not done in {TRANSFER_LIMIT:?}")));
    }
    Ok(())
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, connections, moved_bytes, time, before, peak } = self;
        let seconds = time.as_secs_f64();
        let grown = peak.saturating_sub(*before);
        let speed = *moved_bytes as f64 / seconds / MIB;
        write!(
            formatter,
            "{name:<12}  {connections:>11}  {:>9.1}  {seconds:>7.1}  {speed:>6.0}  {:>10.1}  \
             {:>8.1}  {:>21}",
            *moved_bytes as f64 / MIB,
            *before as f64 / MIB,
            *peak as f64 / MIB,
            grown / (*connections).max(1) as u64 / 1024,
        )
    }
}

const HEADINGS: &str = "bodies        connections  moved MiB  seconds   MiB/s  before MiB  \
    peak MiB  KiB grown/connection";
const MIB: f64 = 1024.0 * 1024.0;
const BUFFER_BYTES: usize = 256 * 1024;
const SLOW_READ_BYTES: usize = 4096;
const SLOW_READ_INTERVAL: Duration = Duration::from_millis(100);
/// Short beside the time in which a body of this size passes, so the peak is not missed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A gateway that moves nothing for so long is stuck.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// 1 GiB at 10 MiB/s, the slowest that is worth waiting for.
const TRANSFER_LIMIT: Duration = Duration::from_secs(100);
const DESCRIPTORS_OWN: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Endpoint, EndpointOptions, Mode};

    #[test]
    fn bodies_pass_and_memory_is_watched() {
        let address = "127.0.0.1:0".parse().expect("an address");
        let name = String::new();
        let handle =
            Endpoint::spawn(EndpointOptions { address, name, mode: Mode::Sizes, cpu: None })
                .expect("an endpoint");
        let mut out = Vec::new();
        let options = Options {
            to: handle.address(),
            pid: std::process::id(),
            bytes: 3_000_000,
            readers: 3,
            seconds: 1,
        };
        assert!(run(&options, &mut out).expect("a measurement"));
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), 4, "{text}");
    }
}
