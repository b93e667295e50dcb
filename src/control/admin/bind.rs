//! Where the admin API listens: a TCP address, or a socket in the file system.
//!
//! Invariant: a socket file is replaced only when nobody answers on it, is never open to others
//! than its owner, and is removed at the end if it is still ours.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use engine::config::AdminAddress;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::Error;

/// Connections that wait to be accepted. More than there can be at once.
const BACKLOG: i32 = 128;

/// Who may connect to a socket file: its owner.
const MODE: u32 = 0o600;

/// What the admin API listens on.
#[derive(Debug)]
pub(crate) struct Endpoint {
    listener: Listener,
    address: AdminAddress,
    /// Goes away with the endpoint.
    _file: Option<SocketFile>,
}

/// A bound socket, not yet known to a runtime.
#[derive(Debug)]
pub(super) enum Listener {
    /// An address and port.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

impl Endpoint {
    /// Binds the address; none if the admin API is off.
    ///
    /// # Errors
    /// What is in the way, and the cure.
    pub(crate) fn bind(address: &AdminAddress) -> Result<Option<Self>, Error> {
        let bound = match address {
            AdminAddress::Off => return Ok(None),
            AdminAddress::Tcp(tcp) => bind_tcp(*tcp).map_err(|error| tcp_error(*tcp, &error))?,
            AdminAddress::Unix(path) => bind_unix(path)?,
        };
        Ok(Some(bound))
    }

    /// Where it listens: the port that the kernel chose, if it was asked to.
    pub(crate) fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// The socket of its own; it is closed when both are dropped.
    pub(super) fn listener(&self) -> io::Result<Listener> {
        Ok(match &self.listener {
            Listener::Tcp(listener) => Listener::Tcp(listener.try_clone()?),
            Listener::Unix(listener) => Listener::Unix(listener.try_clone()?),
        })
    }

    /// Whether no browser can connect.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.listener, Listener::Unix(_))
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = AdminAddress::Tcp(listener.local_addr()?);
    Ok(Endpoint { listener: Listener::Tcp(listener), address, _file: None })
}

fn tcp_error(address: SocketAddr, error: &io::Error) -> Error {
    let cure = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there, perhaps another Ringway: give this one another \
             `admin.address`, or \"off\""
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this host has that address: give another `admin.address`, or \"off\""
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: give another `admin.address`, or \"off\""
        }
        _ => "give another `admin.address`, or \"off\"",
    };
    Error::start(format!("the admin API cannot listen on {address}: {error}"), cure)
}

fn bind_unix(path: &Path) -> Result<Endpoint, Error> {
    let fails = |error: &io::Error| {
        Error::start(
            format!("the admin API cannot listen on {}: {error}", path.display()),
            "give `admin.address` a path in a folder that is there and that the gateway may write \
             to, or \"off\"",
        )
    };
    let address = SockAddr::unix(path).map_err(|error| fails(&error))?;
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None);
    let bind = || {
        let socket = socket()?;
        socket.set_nonblocking(true)?;
        socket.bind(&address)?;
        io::Result::Ok(socket)
    };
    let bound = match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
            if !is_socket {
                return Err(Error::start(
                    format!("{} is there and is no socket", path.display()),
                    "it is not touched: give another `admin.address`, or \"off\"",
                ));
            }
            // Not waiting: a process that is too busy to accept is alive.
            let ask = socket().and_then(|it| it.set_nonblocking(true).and(it.connect(&address)));
            if !ask.is_err_and(|it| it.kind() == io::ErrorKind::ConnectionRefused) {
                return Err(Error::start(
                    format!("another process answers on {}", path.display()),
                    "perhaps another Ringway: give this one another `admin.address`, or \"off\"",
                ));
            }
            fs::remove_file(path).and_then(|()| bind())
        }
        bound => bound,
    };
    // Nobody can connect before it listens, so nobody slips in before the mode is right.
    let listens = bound.and_then(|socket| {
        let file = SocketFile::of(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        socket.listen(BACKLOG)?;
        Ok((UnixListener::from(socket), file))
    });
    let (listener, file) = listens.map_err(|error| fails(&error))?;
    Ok(Endpoint {
        listener: Listener::Unix(listener),
        address: AdminAddress::Unix(path.to_owned()),
        _file: Some(file),
    })
}

/// A socket file that we have made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own in this place.
        if identity(&self.path).is_ok_and(|it| it == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<Endpoint, Error> {
        Endpoint::bind(&AdminAddress::Unix(path.to_owned())).map(Option::unwrap)
    }

    #[test]
    fn a_port_that_is_taken_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = AdminAddress::Tcp(taken.local_addr().unwrap());
        let error = Endpoint::bind(&address).unwrap_err();
        assert!(error.to_string().contains("`admin.address`, or \"off\""), "{error}");
        assert_eq!(error.exit_code(), 3);
        assert!(Endpoint::bind(&AdminAddress::Off).unwrap().is_none());
    }

    #[test]
    fn a_socket_is_for_its_owner_and_goes_with_the_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let endpoint = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(endpoint);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_file_is_replaced_only_when_nobody_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let alive = UnixListener::bind(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("another process answers"), "{error}");
        drop(alive);
        assert!(path.exists(), "closing does not remove it");
        let endpoint = bind(&path).unwrap();
        // A successor takes the name: its file stays when we go.
        fs::remove_file(&path).unwrap();
        let successor = UnixListener::bind(&path).unwrap();
        drop(endpoint);
        assert!(path.exists());
        drop(successor);
    }

    #[test]
    fn what_is_no_socket_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "text").unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        let error = bind(&folder.path().join("no/such")).unwrap_err().to_string();
        assert!(error.contains("no/such"), "{error}");
    }
}
