//! Real clients and real servers with the gateway between them: bodies of a length, chunked bodies
//! and both `Expect` forms, byte for byte in either direction, each client with each server.
//!
//! What is not installed is skipped, and said so. `RINGWAY_TEST_PYTHON` names another `python3` (one
//! of a virtual environment with requests, httpx, aiohttp, gunicorn and uvicorn). `BODY_BYTES` is
//! how long the bodies are: `BODY_BYTES=100000000` for a release.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::harness::{Gateway, Process, eventually, free_address, skip};

fn body_bytes() -> usize {
    std::env::var("BODY_BYTES").ok().and_then(|it| it.parse().ok()).unwrap_or(1_000_000)
}

/// A file of `tests/e2e/software`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/software").join(name)
}

fn python() -> String {
    std::env::var("RINGWAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Whether `program` can be run so; says so if not.
fn is_there(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    let there = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        skip(&format!("real software: `{program} {}` does not run", args.join(" ")));
    }
    there
}

/// A Go program, compiled once; `None` without Go.
fn go(name: &'static str, once: &'static OnceLock<Option<(TempDir, PathBuf)>>) -> Option<PathBuf> {
    let compiled = once.get_or_init(|| {
        if !is_there("go", &["version"]) {
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

/// A client: does all that it is meant to and says `ok`.
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
            let there = is_there(&python(), &["-c", &format!("import {library}")]);
            let mut command = Command::new(python());
            command.arg(script("client.py")).arg(library);
            there.then_some(command)
        };
        let with = |program: &str, probe: &str, name: &str| {
            let mut command = Command::new(program);
            command.arg(script(name));
            is_there(program, &[probe]).then_some(command)
        };
        match self {
            Self::Curl => is_there("curl", &["--version"])
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

/// A server, killed when dropped.
struct Server {
    _process: Process,
    address: SocketAddr,
    /// Whether it serves streams and takes uploads.
    all: bool,
    _folder: Option<TempDir>,
}

impl Server {
    /// Says its port in its first line.
    fn saying_its_port(command: &mut Command) -> Self {
        let process = Process::start(command);
        let port = process.stdout.wait_for(|line| line.parse().ok()).expect("it says its port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { _process: process, address, all: true, _folder: None }
    }

    /// Is told its address.
    fn at(address: SocketAddr, command: &mut Command) -> Self {
        let process = Process::start(command);
        eventually("the server listens", || TcpStream::connect(address).is_ok());
        Self { _process: process, address, all: true, _folder: None }
    }

    /// A module of Python that serves an application of `server.py`.
    fn python(module: &str, args: impl FnOnce(SocketAddr) -> String) -> Option<Self> {
        is_there(&python(), &["-c", &format!("import {module}")]).then(|| {
            let address = free_address();
            let mut command = Command::new(python());
            command.args(["-m", module]).args(args(address).split(' '));
            Self::at(address, command.current_dir(script("")).env("PYTHONDONTWRITEBYTECODE", "1"))
        })
    }

    fn go() -> Option<Self> {
        static GO: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
        Some(Self::saying_its_port(&mut Command::new(go("server", &GO)?)))
    }

    fn node() -> Option<Self> {
        is_there("node", &["--version"])
            .then(|| Self::saying_its_port(Command::new("node").arg(script("server.mjs"))))
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

    /// Files only.
    fn nginx() -> Option<Self> {
        let binary = ["nginx", "/usr/sbin/nginx"].into_iter().find(|it| is_there(it, &["-v"]))?;
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
        let server = Self::at(address, Command::new(binary).arg("-c").arg(path.join("conf")));
        Some(Self { all: false, _folder: Some(folder), ..server })
    }
}

/// Every client with this server.
fn all_clients_with(server: Option<Server>) {
    use Client::{Aiohttp, Curl, Go, Httpx, Java, Node, Requests};
    let Some(server) = server else { return };
    let gateway = Gateway::in_front_of_addresses([server.address]).start();
    let (url, bytes) = (format!("http://{}", gateway.address()), body_bytes().to_string());
    let what = if server.all { "all" } else { "get" };
    for client in [Curl, Requests, Httpx, Aiohttp, Node, Go, Java] {
        let Some(mut command) = client.command() else { continue };
        let output = command.args([&url, &bytes, what]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), "ok", "{client:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    drop(server);
    gateway.stop();
}

#[test]
fn go_serves_all_clients() {
    all_clients_with(Server::go());
}

#[test]
fn node_serves_all_clients() {
    all_clients_with(Server::node());
}

#[test]
fn gunicorn_serves_all_clients() {
    all_clients_with(Server::gunicorn());
}

#[test]
fn uvicorn_serves_all_clients() {
    all_clients_with(Server::uvicorn());
}

#[test]
fn nginx_serves_all_clients() {
    all_clients_with(Server::nginx());
}
