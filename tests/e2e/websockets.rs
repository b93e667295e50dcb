//! Tunnels with real software at both ends: `websockets` of Python and `ws` of Node, each as client and
//! as server.
//!
//! The tests skip software that is not installed, and report it. `RINGWAY_TEST_PYTHON` names another
//! `python3` (for example of a virtual environment that has `websockets`), and `NODE_PATH` the folder
//! with `ws`.

use std::process::Command;

use crate::harness::{Gateway, Server, assert_prints_ok, can_run, python};

/// A language with a library for WebSocket.
#[derive(Clone, Copy, Debug)]
enum Software {
    Python,
    Node,
}

impl Software {
    /// The command of `role`: `client` or `server`.
    fn command(self, role: &str) -> Command {
        let (program, ending) = match self {
            Self::Python => (python(), "py"),
            Self::Node => ("node".to_owned(), "js"),
        };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/websockets");
        let mut command = Command::new(program);
        command.arg(format!("{folder}/{role}.{ending}"));
        command
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Python => can_run(&python(), &["-c", "import websockets.asyncio.server"]),
            Self::Node => can_run("node", &["-e", "require('ws')"]),
        }
    }
}

fn talk(server: Software, client: Software) {
    if !server.is_installed() || !client.is_installed() {
        return;
    }
    let server = Server::printing_its_port(&mut server.command("server"));
    let gateway = Gateway::in_front_of_addresses([server.address]).start();
    assert_prints_ok(client.command("client").arg(format!("ws://{}/echo", gateway.address())));
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
