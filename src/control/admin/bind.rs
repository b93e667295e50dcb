//! Where the admin API listens: a TCP address, or a socket in the file system.
//!
//! Invariant: a socket file is never open to others than its owner; see [`unix_socket`] for the rest.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use engine::address::Address;
use engine::config::AdminAddress;
use socket2::{Domain, Socket, Type};

use crate::error::descriptors_cure;
use crate::unix_socket::{Problem, SocketFile};
use crate::{Error, unix_socket};

/// Connections that wait to be accepted. More than there can be at once.
const BACKLOG: i32 = 128;

/// Only the owner of a socket file may connect to it.
const MODE: u32 = 0o600;

/// The socket of the admin API.
#[derive(Debug)]
pub(crate) struct AdminListener {
    listener: AdminSocket,
    address: AdminAddress,
    /// Goes away with the endpoint.
    _file: Option<SocketFile>,
}

/// A bound socket, not yet known to a runtime.
#[derive(Debug)]
pub(super) enum AdminSocket {
    /// An address and port.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

impl AdminListener {
    /// Binds the address; none if the admin API is off.
    ///
    /// # Errors
    /// The obstacle, and the cure.
    pub(crate) fn bind(address: &AdminAddress) -> Result<Option<Self>, Error> {
        let bound = match address {
            AdminAddress::Off => return Ok(None),
            AdminAddress::At(Address::Ip(tcp)) => {
                bind_tcp(*tcp).map_err(|error| tcp_error(*tcp, &error))?
            }
            AdminAddress::At(Address::Unix(name)) => bind_unix(name)?,
        };
        Ok(Some(bound))
    }

    /// Where it listens: the port that the kernel chose, if it was asked to.
    pub(crate) fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// The socket of its own; it is closed when both are dropped.
    pub(super) fn listener(&self) -> io::Result<AdminSocket> {
        Ok(match &self.listener {
            AdminSocket::Tcp(listener) => AdminSocket::Tcp(listener.try_clone()?),
            AdminSocket::Unix(listener) => AdminSocket::Unix(listener.try_clone()?),
        })
    }

    /// Whether no browser can connect.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.listener, AdminSocket::Unix(_))
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<AdminListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = AdminAddress::At(listener.local_addr()?.into());
    Ok(AdminListener { listener: AdminSocket::Tcp(listener), address, _file: None })
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
        _ => descriptors_cure(error).unwrap_or("give another `admin.address`, or \"off\""),
    };
    Error::start(format!("the admin API cannot listen on {address}: {error}"), cure)
}

fn bind_unix(name: &str) -> Result<AdminListener, Error> {
    let wrong = |problem| match problem {
        Problem::NoSocket => Error::start(
            format!("{name} is there and is no socket"),
            "it is not touched: give another `admin.address`, or \"off\"",
        ),
        Problem::Answers => Error::start(
            format!("another process answers on {name}"),
            "perhaps another Ringway: give this one another `admin.address`, or \"off\"",
        ),
        Problem::Io(error) => Error::start(
            format!("the admin API cannot listen on {name}: {error}"),
            "give `admin.address` a path in a folder that is there and that the gateway may write \
             to, or \"off\"",
        ),
    };
    let (socket, file) = unix_socket::bind(name, Some(MODE)).map_err(wrong)?;
    socket.listen(BACKLOG).map_err(|error| wrong(error.into()))?;
    Ok(AdminListener {
        listener: AdminSocket::Unix(socket.into()),
        address: AdminAddress::At(Address::Unix(name.into())),
        _file: file,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn bind(path: &Path) -> Result<AdminListener, Error> {
        let address = Address::Unix(path.to_str().unwrap().into());
        AdminListener::bind(&AdminAddress::At(address)).map(Option::unwrap)
    }

    #[test]
    fn a_port_that_is_taken_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = AdminAddress::At(taken.local_addr().unwrap().into());
        let error = AdminListener::bind(&address).unwrap_err();
        assert!(error.to_string().contains("`admin.address`, or \"off\""), "{error}");
        assert_eq!(error.exit_code(), 3);
        assert!(AdminListener::bind(&AdminAddress::Off).unwrap().is_none());
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
    fn what_is_in_the_way_is_said_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "text").unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        let path = folder.path().join("alive");
        let _alive = UnixListener::bind(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("another process answers"), "{error}");
        let error = bind(&folder.path().join("no/such")).unwrap_err().to_string();
        assert!(error.contains("no/such"), "{error}");
    }
}
