//! Real clients and real servers with the gateway between them: bodies of a known length, chunked
//! bodies and both forms of `Expect`, byte for byte in either direction, each client with each server.
//!
//! The tests skip software that is not installed, and report it. `RINGWAY_TEST_PYTHON` names another
//! `python3` (for example of a virtual environment with requests, httpx, aiohttp, gunicorn and uvicorn).
//! `BODY_BYTES` is the length of the bodies; a release uses `BODY_BYTES=100000000`.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::harness::{Gateway, Server, assert_prints_ok, can_run, free_address, python};

fn body_bytes() -> usize {
    std::env::var("BODY_BYTES").ok().and_then(|it| it.parse().ok()).unwrap_or(1_000_000)
}

/// A file of `tests/e2e/software`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/software").join(name)
}

/// A Go program, compiled once; `None` without Go.
fn go(name: &'static str, once: &'static OnceLock<Option<(TempDir, PathBuf)>>) -> Option<PathBuf> {
    let compiled = once.get_or_init(|| {
        if !can_run("go", &["version"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join(name);
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(&binary).arg(script(&format!("{name}.go")));
        assert!(command.status().unwrap().success());
        Some((folder, binary))
    });
    compiled.as_ref().map(|(_, binary)| binary.clone())
}

/// A client. It sends all of its requests, and then prints `ok`.
#[derive(Clone, Copy, Debug)]
enum Client {
    Curl,
    Requests,
    Httpx,
    Aiohttp,
    Node,
    Go,
    Java,
}

impl Client {
    fn command(self) -> Option<Command> {
        static GO: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
        let with_python = |library: &str| {
            let there = can_run(&python(), &["-c", &format!("import {library}")]);
            let mut command = Command::new(python());
            command.arg(script("client.py")).arg(library);
            there.then_some(command)
        };
        let with = |program: &str, probe: &str, name: &str| {
            let mut command = Command::new(program);
            command.arg(script(name));
            can_run(program, &[probe]).then_some(command)
        };
        match self {
            Self::Curl => can_run("curl", &["--version"])
                .then(|| with("bash", "--version", "client.sh"))
                .flatten(),
            Self::Requests => with_python("requests"),
            Self::Httpx => with_python("httpx"),
            Self::Aiohttp => with_python("aiohttp"),
            Self::Node => with("node", "--version", "client.mjs"),
            Self::Go => go("client", &GO).map(Command::new),
            Self::Java => with("java", "--version", "Client.java"),
        }
    }
}

/// A server of other software.
struct OtherServer {
    server: Server,
    /// Whether it serves streams and takes uploads.
    serves_all: bool,
    _folder: Option<TempDir>,
}

impl From<Server> for OtherServer {
    fn from(server: Server) -> Self {
        Self { server, serves_all: true, _folder: None }
    }
}

impl OtherServer {
    /// A module of Python that serves an application of `server.py`.
    fn python(module: &str, args: impl FnOnce(SocketAddr) -> String) -> Option<Self> {
        can_run(&python(), &["-c", &format!("import {module}")]).then(|| {
            let address = free_address();
            let mut command = Command::new(python());
            command.args(["-m", module]).args(args(address).split(' '));
            command.current_dir(script("")).env("PYTHONDONTWRITEBYTECODE", "1");
            Server::at(address, &mut command).into()
        })
    }

    fn go() -> Option<Self> {
        static GO: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
        Some(Server::printing_its_port(&mut Command::new(go("server", &GO)?)).into())
    }

    fn node() -> Option<Self> {
        can_run("node", &["--version"]).then(|| {
            Server::printing_its_port(Command::new("node").arg(script("server.mjs"))).into()
        })
    }

    fn gunicorn() -> Option<Self> {
        Self::python("gunicorn", |address| format!("--threads 4 --bind {address} server:wsgi"))
    }

    fn uvicorn() -> Option<Self> {
        let args = |address: SocketAddr| {
            let (host, port) = (address.ip(), address.port());
            format!("--host {host} --port {port} --log-level error server:asgi")
        };
        Self::python("uvicorn", args)
    }

    /// It serves files only.
    fn nginx() -> Option<Self> {
        let binary = ["nginx", "/usr/sbin/nginx"].into_iter().find(|it| can_run(it, &["-v"]))?;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::create_dir(path.join("bytes")).unwrap();
        for len in [1_000, body_bytes()] {
            let mut file = File::create(path.join(format!("bytes/{len}"))).unwrap();
            let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
            file.write_all(&bytes).unwrap();
        }
        let address = free_address();
        let root = path.display();
        let text = format!(
            "daemon off; master_process off; error_log stderr; pid {root}/pid; events {{}}\n\
             http {{ access_log off; client_body_temp_path {root}; proxy_temp_path {root};\n\
             fastcgi_temp_path {root}; uwsgi_temp_path {root}; scgi_temp_path {root};\n\
             server {{ listen {address}; root {root}; }} }}\n"
        );
        std::fs::write(path.join("conf"), text).unwrap();
        let server = Server::at(address, Command::new(binary).arg("-c").arg(path.join("conf")));
        Some(Self { server, serves_all: false, _folder: Some(folder) })
    }
}

/// Runs every client with this server.
fn all_clients_with(server: Option<OtherServer>) {
    use Client::{Aiohttp, Curl, Go, Httpx, Java, Node, Requests};
    let Some(server) = server else { return };
    let gateway = Gateway::in_front_of_addresses([server.server.address]).start();
    let (url, bytes) = (format!("http://{}", gateway.address()), body_bytes().to_string());
    let parts = if server.serves_all { "all" } else { "get" };
    for client in [Curl, Requests, Httpx, Aiohttp, Node, Go, Java] {
        if let Some(mut command) = client.command() {
            assert_prints_ok(command.args([&url, &bytes, parts]));
        }
    }
    drop(server);
    gateway.stop();
}

#[test]
fn go_serves_all_clients() {
    all_clients_with(OtherServer::go());
}

#[test]
fn node_serves_all_clients() {
    all_clients_with(OtherServer::node());
}

#[test]
fn gunicorn_serves_all_clients() {
    all_clients_with(OtherServer::gunicorn());
}

#[test]
fn uvicorn_serves_all_clients() {
    all_clients_with(OtherServer::uvicorn());
}

#[test]
fn nginx_serves_all_clients() {
    all_clients_with(OtherServer::nginx());
}
