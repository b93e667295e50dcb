//! Clients and servers of other projects, as processes beside the gateway.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use super::{Process, eventually, skip};

/// The `python3` of the tests. `RINGWAY_TEST_PYTHON` names another one, for example of a virtual
/// environment that has the libraries.
pub(crate) fn python() -> String {
    std::env::var("RINGWAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Whether `program` runs with these arguments; reports a skip if not.
pub(crate) fn can_run(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    let runs = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !runs {
        skip(&format!("real software: `{program} {}` does not run", args.join(" ")));
    }
    runs
}

/// A server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    _process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server that prints its port in its first line.
    pub(crate) fn printing_its_port(command: &mut Command) -> Self {
        let process = Process::start(command);
        let port = process.stdout.wait_for(|line| line.parse().ok()).expect("it prints its port");
        Self { _process: process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Starts a server whose command contains its address.
    pub(crate) fn at(address: SocketAddr, command: &mut Command) -> Self {
        let process = Process::start(command);
        eventually("the server listens", || TcpStream::connect(address).is_ok());
        Self { _process: process, address }
    }
}

/// Runs a client to its end. It prints `ok` if all went well.
#[track_caller]
pub(crate) fn assert_prints_ok(client: &mut Command) {
    let output = client.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed.trim(), "ok", "{client:?}: {}", String::from_utf8_lossy(&output.stderr));
}
