//! The limits of the process: descriptors, waiting clients, and the CPU that it runs on.

use std::io;
use std::net::{SocketAddr, TcpListener};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use socket2::SockRef;

use crate::Error;

/// Raises the soft limit of open descriptors to the hard one and returns it. Children inherit it.
pub(crate) fn raise_descriptors() -> Result<u64, Error> {
    let refused = |error| Error::new(format!("cannot raise the limit of open files: {error}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(refused)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(refused)?;
    }
    Ok(hard)
}

/// Raises the limit and fails, naming the cure, when it stays below `count`.
pub(crate) fn need_descriptors(count: u64) -> Result<(), Error> {
    let hard = raise_descriptors()?;
    if hard < count {
        return Err(Error::new(format!(
            "{count} open files are needed, the hard limit is {hard}: \
             run `ulimit -Hn {count}` as root first, or ask for fewer connections"
        )));
    }
    Ok(())
}

/// Listens with room for thousands of clients that come at once. With the usual queue of 128 the
/// kernel drops the others' first packets, and they try again after a second.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    SockRef::from(&listener).listen(BACKLOG)?;
    Ok(listener)
}

/// Holds the calling thread, and the children that it starts, to one CPU.
pub(crate) fn pin(cpu: usize) -> Result<(), Error> {
    let refused = |error| Error::new(format!("cannot run on CPU {cpu}: {error}"));
    let mut set = CpuSet::new();
    set.set(cpu).map_err(refused)?;
    sched_setaffinity(Pid::from_raw(0), &set).map_err(refused)
}

/// Whether the process may run on this CPU.
pub(crate) fn may_run_on(cpu: usize) -> bool {
    sched_getaffinity(Pid::from_raw(0)).is_ok_and(|set| set.is_set(cpu).unwrap_or(false))
}

/// The kernel's own bound, `net.core.somaxconn`, unless somebody changed it.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_thousand_clients_can_wait_to_be_accepted() {
        need_descriptors(1100).expect("enough descriptors");
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = listener.local_addr().expect("an address");
        let limit = std::time::Duration::from_millis(500);
        // Nobody accepts; with a short queue this fails from the 130th on.
        let clients: Vec<TcpStream> = (0..1000)
            .map(|_| TcpStream::connect_timeout(&address, limit).expect("a place in the queue"))
            .collect();
        assert_eq!(clients.len(), 1000);
    }
}
