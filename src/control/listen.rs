//! The listening sockets: every listener once per core.
//!
//! Each core has a socket of its own on the same address (`SO_REUSEPORT`), and the kernel spreads
//! connections over them. A Unix socket is bound once, and each core has a duplicate of it. They are
//! bound here, by one thread, so that a mistake is said before anything runs, and handed to the
//! workers. At the start that is all of them, later those that a change brings.
//!
//! Invariant: a socket begins to listen only when every one of them is bound. Of a change that is
//! refused no client has been in a queue.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use engine::address::Address;
use engine::snapshot::ListenerSettings;
use socket2::{Domain, Protocol, Socket, Type};
use worker::net::monoio::BoundSocket;

use crate::error::descriptors_cure;
use crate::unix_socket::{Problem, SharedSocket};
use crate::{Error, unix_socket};

/// Connections that the kernel completes before we accept them, per socket. The kernel lowers it
/// to `net.core.somaxconn`, which is 4096 since Linux 5.4.
const BACKLOG: i32 = 4096;

/// How long the sockets of a process that was killed may outlive it; 10 ms were seen.
const PREDECESSOR_GONE: Duration = Duration::from_millis(500);

/// Listeners, bound.
#[derive(Debug)]
pub(crate) struct BoundListeners {
    /// The address and socket of each listener, in their order.
    pub(crate) places: Vec<ListenAddress>,
    /// For each core one socket per listener, in the same order.
    pub(crate) per_core: Vec<Vec<BoundSocket>>,
}

/// Where a listener listens.
#[derive(Clone, Debug)]
pub(crate) struct ListenAddress {
    /// With the port that the kernel chose for port 0.
    pub(crate) address: Address,
    /// The socket that all cores have, where it is a Unix socket.
    pub(crate) shared: Option<Arc<SharedSocket>>,
}

/// A socket that is bound, or one that listens already.
enum NewSocket {
    Tcp(Vec<Socket>, SocketAddr),
    Unix(Socket, Option<unix_socket::SocketFile>),
    Ours(Arc<SharedSocket>),
}

/// Binds every listener `cores` times. `ours` are the places at which this process listens: there
/// it may listen once more, so that an address can move from one listener to another.
pub(crate) fn bind(
    listeners: &[&ListenerSettings],
    cores: usize,
    ours: &[ListenAddress],
) -> Result<BoundListeners, Error> {
    let halves = listeners
        .iter()
        .map(|listener| match &listener.address {
            Address::Ip(address) => {
                bind_tcp(*address, cores, ours).map_err(|error| refused(listener, *address, &error))
            }
            Address::Unix(name) => {
                bind_unix(name, ours).map_err(|problem| unix_refused(listener, name, &problem))
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut places = Vec::new();
    let mut per_core: Vec<Vec<BoundSocket>> = (0..cores).map(|_| Vec::new()).collect();
    for (half, listener) in halves.into_iter().zip(listeners) {
        let failed = |error| Error::system(format_args!("listener `{}`", listener.name), &error);
        let (place, sockets) = half.listen(&listener.address, cores).map_err(failed)?;
        places.push(place);
        for (of_core, socket) in per_core.iter_mut().zip(sockets) {
            of_core.push(socket);
        }
    }
    Ok(BoundListeners { places, per_core })
}

impl NewSocket {
    /// From here on clients may come.
    fn listen(
        self,
        address: &Address,
        cores: usize,
    ) -> io::Result<(ListenAddress, Vec<BoundSocket>)> {
        let shared = match self {
            Self::Tcp(sockets, address) => {
                let listen = |socket: Socket| {
                    socket.listen(BACKLOG)?;
                    Ok(BoundSocket::Tcp(TcpListener::from(socket)))
                };
                let sockets = sockets.into_iter().map(listen).collect::<io::Result<_>>()?;
                return Ok((ListenAddress { address: address.into(), shared: None }, sockets));
            }
            Self::Unix(socket, file) => {
                socket.listen(BACKLOG)?;
                Arc::new(SharedSocket::new(socket, file))
            }
            Self::Ours(shared) => shared,
        };
        let duplicate = |_| shared.duplicate().unwrap_or(Err(ErrorKind::NotConnected.into()));
        let sockets = (0..cores).map(duplicate).map(|it| it.map(BoundSocket::Unix));
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok((ListenAddress { address: address.clone(), shared: Some(shared) }, sockets))
    }
}

fn bind_tcp(address: SocketAddr, cores: usize, ours: &[ListenAddress]) -> io::Result<NewSocket> {
    let mut address = address;
    if !ours.iter().filter_map(|it| it.address.ip()).any(|it| overlap(it, address)) {
        alone(address)?;
    }
    let mut sockets = Vec::new();
    for _ in 0..cores {
        let socket = bound(address)?;
        // The first socket settles the port for the others.
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        sockets.push(socket);
    }
    Ok(NewSocket::Tcp(sockets, address))
}

fn bind_unix(name: &str, ours: &[ListenAddress]) -> Result<NewSocket, Problem> {
    // A listener that goes leaves its queue, with the clients in it, to the one that comes.
    let same =
        |it: &&ListenAddress| matches!(&it.address, Address::Unix(other) if **other == *name);
    let shared = ours.iter().filter(same).find_map(|it| it.shared.clone());
    if let Some(shared) = shared.filter(|it| it.duplicate().is_some()) {
        return Ok(NewSocket::Ours(shared));
    }
    unix_socket::bind(name, None).map(|(socket, file)| NewSocket::Unix(socket, file))
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

fn unix_refused(listener: &ListenerSettings, path: &str, problem: &Problem) -> Error {
    let name = &listener.name;
    let (what, cure) = match problem {
        Problem::NoSocket => (
            format!("listener `{name}` cannot listen on {path}, which is there and is no socket"),
            "it is not touched: choose another path, or remove it".to_owned(),
        ),
        Problem::Answers => (
            format!("listener `{name}` cannot listen on {path}: another process answers there"),
            "stop the other process (`ss -lxp` shows it) or choose another path".to_owned(),
        ),
        Problem::Io(error) => (
            format!("listener `{name}` cannot listen on {path}: {error}"),
            descriptors_cure(error).map_or_else(
                || {
                    format!(
                        "give [listeners.{name}] a path in a folder that is there and that the \
                         gateway may write to"
                    )
                },
                str::to_owned,
            ),
        ),
    };
    Error::start(what, cure)
}

fn refused(listener: &ListenerSettings, address: SocketAddr, error: &io::Error) -> Error {
    let name = &listener.name;
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
        _ => match descriptors_cure(error) {
            Some(cure) => cure.to_owned(),
            None => format!("change `address` of [listeners.{name}]"),
        },
    };
    Error::start(format!("listener `{name}` cannot listen on {address}: {error}"), cure)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use engine::snapshot::{ListenerId, ListenerLimits, ListenerTimeouts, ProxyProtocol};
    use socket2::SockRef;

    use super::*;

    /// As at the start: nothing is ours yet.
    fn bind_first(listeners: &[ListenerSettings], cores: usize) -> Result<BoundListeners, Error> {
        bind(&listeners.iter().collect::<Vec<_>>(), cores, &[])
    }

    fn tcp(socket: &BoundSocket) -> &TcpListener {
        let BoundSocket::Tcp(socket) = socket else { panic!("{socket:?}") };
        socket
    }

    fn address(bound: &BoundListeners, number: usize) -> SocketAddr {
        bound.places[number].address.ip().unwrap()
    }

    fn listener(address: &str) -> ListenerSettings {
        ListenerSettings {
            id: ListenerId(0),
            name: "web".into(),
            address: address.parse().unwrap(),
            paths: proto::path::Rules::default(),
            limits: ListenerLimits::default(),
            tls: None,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Box::default(),
            filters: Box::default(),
            timeouts: ListenerTimeouts::default(),
        }
    }

    #[test]
    fn every_core_has_a_socket_on_the_same_port() {
        let bound = bind_first(&[listener("127.0.0.1:0"), listener("127.0.0.1:0")], 3).unwrap();
        assert_eq!(bound.per_core.len(), 3);
        assert_ne!(address(&bound, 0), address(&bound, 1));
        for sockets in &bound.per_core {
            let local: Vec<_> = sockets.iter().map(|it| tcp(it).local_addr().unwrap()).collect();
            assert_eq!(local, [address(&bound, 0), address(&bound, 1)]);
        }
    }

    #[test]
    fn accepted_sockets_do_not_delay_small_segments() {
        let bound = bind_first(&[listener("127.0.0.1:0")], 1).unwrap();
        let _client = TcpStream::connect(address(&bound, 0)).unwrap();
        let socket = tcp(&bound.per_core[0][0]);
        socket.set_nonblocking(false).unwrap();
        let (accepted, _) = socket.accept().unwrap();
        assert!(SockRef::from(&accepted).tcp_nodelay().unwrap());
    }

    #[test]
    fn a_second_gateway_on_the_same_port_is_refused() {
        let first = bind_first(&[listener("127.0.0.1:0")], 2).unwrap();
        let error =
            bind_first(&[listener(&address(&first, 0).to_string())], 2).unwrap_err().to_string();
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
        let free = address(&bound, 0).to_string();
        drop(bound);
        assert!(bind_first(&[listener(&free)], 2).is_ok());
    }

    #[test]
    fn an_address_of_our_own_can_be_had_once_more() {
        let first = bind_first(&[listener("127.0.0.1:0")], 1).unwrap();
        let again = listener(&address(&first, 0).to_string());
        let second = bind(&[&again], 2, &first.places).unwrap();
        assert_eq!(address(&second, 0), address(&first, 0));
    }

    #[test]
    fn nothing_listens_when_one_of_them_is_refused() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = bind_first(&[listener("127.0.0.1:0")], 1).unwrap();
        let moved = listener(&address(&ours, 0).to_string());
        let taken = listener(&other.local_addr().unwrap().to_string());
        assert!(bind(&[&moved, &taken], 1, &ours.places).is_err());
        // Every connection comes to the socket that stays.
        let clients: Vec<_> = (0..32).map(|_| TcpStream::connect(address(&ours, 0))).collect();
        assert!(clients.iter().all(Result::is_ok));
        for _ in &clients {
            assert!(tcp(&ours.per_core[0][0]).accept().is_ok());
        }
    }

    #[test]
    fn a_unix_socket_is_bound_once_and_shared_with_a_listener_that_takes_it_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let listener = listener(&format!("unix:{}", path.display()));
        let bound = bind(&[&listener], 2, &[]).unwrap();
        assert_eq!(bound.per_core.len(), 2);
        let _client = UnixStream::connect(&path).unwrap();
        let again = bind(&[&listener], 1, &bound.places).unwrap();
        let [BoundSocket::Unix(taken_over)] = &*again.per_core[0] else { panic!("{again:?}") };
        assert!(taken_over.accept().is_ok(), "the queue is the same");
        let error = bind(&[&listener], 1, &[]).unwrap_err().to_string();
        assert!(error.contains("another process answers"), "{error}");
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
