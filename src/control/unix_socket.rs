//! Unix sockets that this process listens on, and their files.
//!
//! Invariant: a socket file is replaced only when nobody answers on it, and is removed at the end if
//! it is still ours.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use engine::address::Address;
use socket2::{Domain, SockAddr, Socket, Type};

/// Why a socket is not bound.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Something else has that path.
    NoSocket,
    /// Another process listens there.
    Answers,
    /// The error of the kernel.
    Io(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A socket that is bound and does not listen yet, non-blocking, and its file if it has one.
///
/// # Errors
/// The obstacle.
pub(crate) fn bind(name: &str, mode: Option<u32>) -> Result<(Socket, Option<SocketFile>), Problem> {
    let address = SockAddr::unix(&*Address::kernel_name(name))?;
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None);
    let bind = || {
        let socket = socket()?;
        socket.set_nonblocking(true)?;
        socket.bind(&address)?;
        io::Result::Ok(socket)
    };
    if name.starts_with('@') {
        let bound = bind().map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Problem::Answers,
            _ => Problem::Io(error),
        });
        return Ok((bound?, None));
    }
    let path = Path::new(name);
    let bound = match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
            if !is_socket {
                return Err(Problem::NoSocket);
            }
            // Not waiting: a process that is too busy to accept is alive.
            let ask = socket().and_then(|it| it.set_nonblocking(true).and(it.connect(&address)));
            if !ask.is_err_and(|it| it.kind() == io::ErrorKind::ConnectionRefused) {
                return Err(Problem::Answers);
            }
            fs::remove_file(path).and_then(|()| bind())
        }
        bound => bound,
    };
    let bound = bound?;
    let file = SocketFile::of(path)?;
    // Nobody can connect before it listens, so nobody slips in before the mode is right.
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok((bound, Some(file)))
}

/// A socket file that we have made. It goes with this.
#[derive(Debug)]
pub(crate) struct SocketFile {
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

/// A listening socket of which each core has a duplicate, kept as long as a listener has it.
#[derive(Debug)]
pub(crate) struct SharedSocket(Mutex<Option<(UnixListener, Option<SocketFile>)>>);

impl SharedSocket {
    /// Of a socket that listens, and its file.
    pub(crate) fn new(socket: Socket, file: Option<SocketFile>) -> Self {
        Self(Mutex::new(Some((socket.into(), file))))
    }

    /// One more duplicate; none when it is closed.
    pub(crate) fn duplicate(&self) -> Option<io::Result<UnixListener>> {
        let shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.as_ref().map(|(listener, _)| listener.try_clone())
    }

    /// Lets go of it. Its file goes, so that nobody finds it any more; it is closed when the last
    /// core has accepted the clients in the queue, and has let go of it too.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_is_replaced_only_when_nobody_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let name = path.to_str().unwrap();
        let alive = UnixListener::bind(&path).unwrap();
        assert!(matches!(bind(name, None), Err(Problem::Answers)));
        drop(alive);
        assert!(path.exists(), "closing does not remove it");
        let (_socket, file) = bind(name, None).unwrap();
        // A successor takes the name: its file stays when we go.
        fs::remove_file(&path).unwrap();
        let successor = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
        drop(successor);
    }

    #[test]
    fn what_is_no_socket_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "text").unwrap();
        assert!(matches!(bind(path.to_str().unwrap(), None), Err(Problem::NoSocket)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        let missing = folder.path().join("no/such");
        assert!(matches!(bind(missing.to_str().unwrap(), None), Err(Problem::Io(_))));
    }

    #[test]
    fn an_abstract_name_is_taken_once_and_leaves_no_file() {
        let name = format!("@ringway-test-{}", std::process::id());
        let (first, file) = bind(&name, None).unwrap();
        assert!(file.is_none());
        assert!(matches!(bind(&name, None), Err(Problem::Answers)));
        drop(first);
        assert!(bind(&name, None).is_ok());
    }

    #[test]
    fn a_shared_socket_that_is_closed_is_not_found_but_serves_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let (socket, file) = bind(path.to_str().unwrap(), None).unwrap();
        socket.listen(8).unwrap();
        let shared = SharedSocket::new(socket, file);
        let ours = shared.duplicate().unwrap().unwrap();
        let _waits = std::os::unix::net::UnixStream::connect(&path).unwrap();
        shared.close();
        assert!(!path.exists());
        assert!(shared.duplicate().is_none());
        assert!(ours.accept().is_ok());
    }
}
