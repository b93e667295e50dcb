//! `ringway bench idle`: the memory that an idle keep-alive connection holds, measured from
//! outside.
//!
//! Opens connections, lets each do one request, and reads the resident memory of the gateway at two
//! counts. The slope between them leaves out everything that does not grow with connections. It
//! does not contain the memory that the kernel holds for sockets, which is the same for every
//! gateway. Nor does it contain memory that a gateway takes for all its connections when it starts,
//! as nginx does for `worker_connections`.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::child::Interrupt;
use crate::{Error, client, limits, proc};

/// How many connections, to which gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Address of the gateway; `ringway bench endpoint` stands behind it
    #[arg(long)]
    to: SocketAddr,
    /// Process id of the gateway; its children count too
    #[arg(long)]
    pid: u32,
    /// Connections at the first look
    #[arg(long, default_value_t = 1_000)]
    from: usize,
    /// Connections at the second look
    #[arg(long, default_value_t = 11_000)]
    upto: usize,
    /// Seconds to wait before each look
    #[arg(long, default_value_t = 3)]
    settle: u64,
}

/// Measures and prints; false when the gateway closed connections meanwhile.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<bool, Error> {
    let Options { to, pid, from, upto, settle } = *options;
    if upto <= from {
        return Err(Error::new(format!("--upto {upto} must be above --from {from}")));
    }
    if upto > CONNECTIONS_MAX {
        return Err(Error::new(format!(
            "--upto {upto} is more than the {CONNECTIONS_MAX} client ports of one address allow"
        )));
    }
    limits::need_descriptors(upto as u64 + DESCRIPTORS_OWN)?;
    proc::need_process(pid)?;
    let interrupt = Interrupt::install()?;
    let mut streams = Vec::with_capacity(upto);
    let mut looks = Vec::new();
    for count in [from, upto] {
        while streams.len() < count {
            interrupt.check()?;
            streams.push(open(to).map_err(|error| {
                Error::new(format!("connection {}: {error}", streams.len() + 1))
            })?);
        }
        interrupt.sleep(Duration::from_secs(settle))?;
        let resident = proc::resident_bytes(&proc::family(pid));
        writeln!(out, "{count:>6} connections  {:>8} KiB resident", resident / 1024)
            .map_err(Error::print)?;
        looks.push(resident);
    }
    let closed = streams.iter().filter(|stream| !is_open(stream)).count();
    let grown = match looks.as_slice() {
        [first, second] => *second as f64 - *first as f64,
        _ => f64::NAN,
    };
    let slope = grown / (upto - from) as f64;
    writeln!(out, "{slope:>6.0} bytes per connection; {closed} closed by the gateway meanwhile")
        .map_err(Error::print)?;
    Ok(closed == 0)
}

fn open(to: SocketAddr) -> Result<TcpStream, Error> {
    let mut stream = client::connect(to, TIMEOUT)?;
    let response = client::fetch(&mut stream, "/1k")?;
    if response.status != 200 {
        return Err(Error::new(format!("{to} answers {}", response.status)));
    }
    Ok(stream)
}

fn is_open(stream: &TcpStream) -> bool {
    let waits = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    matches!(waits, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

const TIMEOUT: Duration = Duration::from_secs(5);
/// The usual ephemeral range has 28,232 ports; some are left for the gateway's own connections.
const CONNECTIONS_MAX: usize = 28_000;
/// Standard streams, `/proc`, and some room.
const DESCRIPTORS_OWN: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Endpoint, EndpointOptions, Mode};

    #[test]
    fn idle_connections_are_counted_and_stay_open() {
        let address = "127.0.0.1:0".parse().expect("an address");
        let name = String::new();
        let handle =
            Endpoint::spawn(EndpointOptions { address, name, mode: Mode::Sizes, cpu: None })
                .expect("an endpoint");
        let mut out = Vec::new();
        let options =
            Options { to: handle.address(), pid: std::process::id(), from: 5, upto: 50, settle: 0 };
        assert!(run(&options, &mut out).expect("a measurement"));
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("50 connections") && text.contains("0 closed"), "{text}");
    }
}
