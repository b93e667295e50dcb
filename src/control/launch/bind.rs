//! The listening sockets: every listener once per core.
//!
//! Each core has a socket of its own on the same address (`SO_REUSEPORT`), and the kernel spreads
//! connections over them. They are bound here, by one thread, so that a mistake is said before
//! anything runs, and handed to the workers. At the start that is all of them, later those that a
//! change brings.
//!
//! Invariant: a socket begins to listen only when every one of them is bound. Of a change that is
//! refused no client has been in a queue.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use engine::snapshot::ListenerSettings;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Error;

/// Connections that the kernel completes before we accept them, per socket. The kernel lowers it
/// to `net.core.somaxconn`, which is 4096 since Linux 5.4.
const BACKLOG: i32 = 4096;

/// How long the sockets of a process that was killed may outlive it; 10 ms were seen.
const PREDECESSOR_GONE: Duration = Duration::from_millis(500);

/// Listeners, bound.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Where each listener listens, with the port that the kernel chose for port 0.
    pub(crate) addresses: Vec<SocketAddr>,
    /// For each core one socket per listener, in the order of `addresses`.
    pub(crate) per_core: Vec<Vec<TcpListener>>,
}

/// Binds every listener `cores` times. `ours` are the addresses at which this process listens:
/// there it may listen once more, so that an address can move from one listener to another.
pub(crate) fn bind(
    listeners: &[&ListenerSettings],
    cores: usize,
    ours: &[SocketAddr],
) -> Result<Bound, Error> {
    let mut addresses = Vec::new();
    let mut per_core: Vec<Vec<Socket>> = (0..cores).map(|_| Vec::new()).collect();
    for listener in listeners {
        let refused = |error: io::Error| refused(listener, &error);
        let mut address = listener.address;
        if !ours.iter().any(|it| overlap(*it, address)) {
            alone(address).map_err(refused)?;
        }
        for sockets in &mut per_core {
            let socket = bound(address).map_err(refused)?;
            // The first socket settles the port for the others.
            let local = socket.local_addr().map_err(refused)?;
            address = local.as_socket().unwrap_or(address);
            sockets.push(socket);
        }
        addresses.push(address);
    }
    let listen = |sockets: Vec<Socket>| {
        let listening = listeners.iter().zip(sockets).map(|(listener, socket)| {
            socket.listen(BACKLOG).map_err(|error| refused(listener, &error))?;
            Ok(TcpListener::from(socket))
        });
        listening.collect::<Result<Vec<_>, Error>>()
    };
    let per_core = per_core.into_iter().map(listen).collect::<Result<_, _>>()?;
    Ok(Bound { addresses, per_core })
}

/// Whether the kernel takes a socket at one address for a rival of one at the other. "[::]" takes
/// IPv4 too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (here, there) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0
        && one.port() == other.port()
        && (here == there || here.is_unspecified() || there.is_unspecified())
}

/// Fails when somebody else listens on `address`.
///
/// With `SO_REUSEPORT` a second gateway of the same user would bind without an error and take
/// half of the connections, by an older configuration. Without the option the kernel refuses; so
/// we ask once without, and let go at once.
///
/// A process that was killed may hold its port for some milliseconds more: the kernel takes its
/// rings apart, and with them the sockets that operations were under way on, after its end is
/// reported. So a refusal counts only when it lasts.
fn alone(address: SocketAddr) -> io::Result<()> {
    let give_up_at = Instant::now() + PREDECESSOR_GONE;
    loop {
        match socket(address)?.bind(&address.into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < give_up_at => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a socket that goes away tells nobody"
                )]
                thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a predecessor that linger in TIME_WAIT do not keep us from starting.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, so that no worker has to set it for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // "[::]" takes IPv4 too, whatever net.ipv6.bindv6only says: `check` counts on it.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn refused(listener: &ListenerSettings, error: &io::Error) -> Error {
    let ListenerSettings { name, address, .. } = listener;
    let port = address.port();
    let cure = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "stop the other process (`ss -ltnp 'sport = :{port}'` shows it) or choose another port"
        ),
        ErrorKind::PermissionDenied => format!(
            "ports below 1024 need CAP_NET_BIND_SERVICE: set it (AmbientCapabilities= of systemd, \
             setcap cap_net_bind_service+ep), lower sysctl net.ipv4.ip_unprivileged_port_start to \
             {port}, or choose a higher port"
        ),
        ErrorKind::AddrNotAvailable => {
            "this host has no such address: `ip addr` shows those it has; \"0.0.0.0\" or \"[::]\" \
             is all of them"
                .to_owned()
        }
        _ => format!("change `address` of [listeners.{name}]"),
    };
    Error::start(format!("listener `{name}` cannot listen on {address}: {error}"), cure)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use engine::snapshot::{Limits, ListenerId, ListenerTimeouts};
    use socket2::SockRef;

    use super::*;

    /// As at the start: nothing is ours yet.
    fn bind_first(listeners: &[ListenerSettings], cores: usize) -> Result<Bound, Error> {
        bind(&listeners.iter().collect::<Vec<_>>(), cores, &[])
    }

    fn listener(address: &str) -> ListenerSettings {
        let second = Duration::from_secs(1);
        ListenerSettings {
            id: ListenerId(0),
            name: "web".into(),
            address: address.parse().unwrap(),
            paths: proto::path::Rules::default(),
            limits: Limits {
                connections_max: 10,
                head_bytes_max: 1024,
                headers_max: 10,
                target_bytes_max: 512,
            },
            timeouts: ListenerTimeouts {
                head: second,
                body_idle: second,
                idle: second,
                write_idle: second,
                drain: second,
            },
        }
    }

    #[test]
    fn every_core_has_a_socket_on_the_same_port() {
        let bound = bind_first(&[listener("127.0.0.1:0"), listener("127.0.0.1:0")], 3).unwrap();
        assert_eq!(bound.per_core.len(), 3);
        assert_ne!(bound.addresses[0], bound.addresses[1]);
        for sockets in &bound.per_core {
            let local: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap()).collect();
            assert_eq!(local, bound.addresses);
        }
    }

    #[test]
    fn accepted_sockets_do_not_delay_small_segments() {
        let bound = bind_first(&[listener("127.0.0.1:0")], 1).unwrap();
        let _client = TcpStream::connect(bound.addresses[0]).unwrap();
        let socket = &bound.per_core[0][0];
        socket.set_nonblocking(false).unwrap();
        let (accepted, _) = socket.accept().unwrap();
        assert!(SockRef::from(&accepted).tcp_nodelay().unwrap());
    }

    #[test]
    fn a_second_gateway_on_the_same_port_is_refused() {
        let first = bind_first(&[listener("127.0.0.1:0")], 2).unwrap();
        let error =
            bind_first(&[listener(&first.addresses[0].to_string())], 2).unwrap_err().to_string();
        assert!(error.contains("listener `web` cannot listen on 127.0.0.1:"), "{error}");
        assert!(error.contains("ss -ltnp"), "{error}");
    }

    #[test]
    fn an_address_of_another_host_is_refused() {
        // Documentation addresses, RFC 5737: no host has them.
        let error = bind_first(&[listener("192.0.2.1:0")], 1).unwrap_err();
        assert!(error.to_string().contains("ip addr"), "{error}");
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn the_port_is_free_again_once_the_sockets_are_gone() {
        let bound = bind_first(&[listener("127.0.0.1:0")], 2).unwrap();
        let address = bound.addresses[0].to_string();
        drop(bound);
        assert!(bind_first(&[listener(&address)], 2).is_ok());
    }

    #[test]
    fn an_address_of_our_own_can_be_had_once_more() {
        let first = bind_first(&[listener("127.0.0.1:0")], 1).unwrap();
        let again = listener(&first.addresses[0].to_string());
        let second = bind(&[&again], 2, &first.addresses).unwrap();
        assert_eq!(second.addresses, first.addresses);
    }

    #[test]
    fn nothing_listens_when_one_of_them_is_refused() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = bind_first(&[listener("127.0.0.1:0")], 1).unwrap();
        let moved = listener(&ours.addresses[0].to_string());
        let taken = listener(&other.local_addr().unwrap().to_string());
        assert!(bind(&[&moved, &taken], 1, &ours.addresses).is_err());
        // Every connection comes to the socket that stays.
        let clients: Vec<_> = (0..32).map(|_| TcpStream::connect(ours.addresses[0])).collect();
        assert!(clients.iter().all(Result::is_ok));
        for _ in &clients {
            assert!(ours.per_core[0][0].accept().is_ok());
        }
    }

    #[test]
    fn addresses_that_rival_have_one_port_and_a_host_in_common() {
        let overlap =
            |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlap("[::1]:80", "[::]:80"));
        assert!(overlap("[::]:80", "127.0.0.1:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
    }
}
