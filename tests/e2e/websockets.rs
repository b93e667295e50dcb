//! Tunnels with real software at both ends: `websockets` of Python and `ws` of Node, each as client
//! and as server.
//!
//! What is not installed is skipped, and said so. `RINGWAY_TEST_PYTHON` names another `python3` (one
//! of a virtual environment that has `websockets`), `NODE_PATH` the folder with `ws`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::harness::{Gateway, skip};

/// A language with a library for WebSocket.
#[derive(Clone, Copy, Debug)]
enum Software {
    Python,
    Node,
}

impl Software {
    fn command(self, what: &str) -> Command {
        let (program, ending) = match self {
            Self::Python => (python(), "py"),
            Self::Node => ("node".to_owned(), "js"),
        };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/websockets");
        let mut command = Command::new(program);
        command.arg(format!("{folder}/{what}.{ending}"));
        command
    }

    /// Whether it can be used here; says so if not.
    fn is_there(self) -> bool {
        let (program, flag, probe) = match self {
            Self::Python => (python(), "-c", "import websockets.asyncio.server"),
            Self::Node => ("node".to_owned(), "-e", "require('ws')"),
        };
        let mut command = Command::new(program);
        let command = command.args([flag, probe]).stdout(Stdio::null()).stderr(Stdio::null());
        let there = command.status().is_ok_and(|status| status.success());
        if !there {
            skip(&format!("WebSocket: no library for {self:?}"));
        }
        there
    }
}

fn python() -> String {
    std::env::var("RINGWAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// A server that is killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(software: Software) -> Self {
        let mut child = software.command("server").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn talk(server: Software, client: Software) {
    if !server.is_there() || !client.is_there() {
        return;
    }
    let server = Server::start(server);
    let gateway = Gateway::in_front_of_addresses([server.address]).start();
    let url = format!("ws://{}/echo", gateway.address());
    let output = client.command("client").arg(url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "ok", "{}", String::from_utf8_lossy(&output.stderr));
    drop(server);
    gateway.stop();
}

#[test]
fn python_talks_to_python() {
    talk(Software::Python, Software::Python);
}

#[test]
fn python_serves_node() {
    talk(Software::Python, Software::Node);
}

#[test]
fn node_serves_python() {
    talk(Software::Node, Software::Python);
}

#[test]
fn node_talks_to_node() {
    talk(Software::Node, Software::Node);
}
