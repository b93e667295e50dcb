//! The messages to the service manager, which a socket of the test plays; and signals that reload.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::harness::{Client, Endpoint, Gateway, PATIENCE, Process, config_file, ready_line, run};

/// The manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    /// Starts a gateway that knows it, and waits until it serves.
    fn start(&self, config: &Path, environment: &[(&str, &str)]) -> (Process, Client) {
        let mut command = run(config);
        command.args(["--cores", "1"]).env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        let process = Process::start(command.envs(environment.iter().copied()));
        let (_, address) = ready_line(&process);
        (process, Client::connect(address))
    }

    /// The next message to the service manager.
    #[track_caller]
    fn hears(&self) -> String {
        let mut message = [0; 4096];
        let len = self.socket.recv(&mut message).expect("it is told something");
        String::from_utf8(message[..len].to_vec()).unwrap()
    }
}

#[test]
fn the_service_manager_hears_ready_reloading_and_stopping() {
    let endpoint = Endpoint::ok();
    let good = Gateway::in_front_of(&[&endpoint]).text();
    let config = config_file(&good);
    let manager = Manager::new();
    let (mut process, mut client) = manager.start(config.path(), &[]);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=version 1 on 1 core\n");

    // A reload that finds nothing new is one too: the manager waits for its end.
    process.signal(Signal::SIGHUP);
    let reloading = manager.hears();
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(time.trim_end().parse::<u64>().is_ok(), "{reloading}");
    assert_eq!(manager.hears(), "READY=1\nSTATUS=version 1 on 1 core\n");

    process.terminate();
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=draining\n");
    client.assert_closed();
    assert_eq!(process.exit_code(), 0);
}

#[test]
fn a_reload_is_over_when_the_new_configuration_serves() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    let config = config_file(&Gateway::in_front_of(&[&one]).text());
    let manager = Manager::new();
    let (process, mut client) = manager.start(config.path(), &[]);
    assert!(manager.hears().starts_with("READY=1"));
    assert_eq!(client.get("/").text(), "one");
    std::fs::write(
        config.path(),
        Gateway::in_front_of(&[&two]).and("[admin]\naddress = \"off\"").text(),
    )
    .unwrap();
    process.signal(Signal::SIGHUP);
    let over = std::iter::from_fn(|| Some(manager.hears())).take(8);
    let over = over.into_iter().find(|said| said.starts_with("READY=1\nSTATUS=version 2 "));
    assert!(over.is_some(), "it is told of version 2");
    assert_eq!(client.get("/").text(), "two");
    let said = process.stderr.text();
    assert!(said.contains("version 2 is live on 1 of 1 cores"), "{said}");
    assert!(said.contains("upstreams +0 -0 ~1"), "{said}");
}

#[test]
fn a_refused_reload_is_over_too_and_the_status_says_why() {
    let endpoint = Endpoint::ok();
    let good = Gateway::in_front_of(&[&endpoint]).text();
    let config = config_file(&good);
    let manager = Manager::new();
    let (process, mut client) = manager.start(config.path(), &[]);
    assert!(manager.hears().starts_with("READY=1"));
    std::fs::write(config.path(), good.replace("endpoints", "endpionts")).unwrap();
    process.signal(Signal::SIGHUP);
    let refused = std::iter::from_fn(|| Some(manager.hears()))
        .take(8)
        .find(|said| said.starts_with("READY=1") && said.contains("no `endpoints`, and 1 more"));
    let refused = refused.expect("the status says why");
    assert_eq!(refused.lines().count(), 2, "{refused}");
    assert_eq!(client.get("/").text(), "ok", "the old version serves");
}

#[test]
fn the_watchdog_hears_of_cores_that_live() {
    let endpoint = Endpoint::ok();
    let config = config_file(&Gateway::in_front_of(&[&endpoint]).text());
    let manager = Manager::new();
    let (_process, _client) = manager.start(config.path(), &[("WATCHDOG_USEC", "400000")]);
    let begun = Instant::now();
    // Longer than a core may be silent: without its reports it would stop.
    while begun.elapsed() < Duration::from_secs(7) {
        let heard = Instant::now();
        let said = manager.hears();
        assert!(said.starts_with("READY=1") || said == "WATCHDOG=1\n", "{said}");
        assert!(heard.elapsed() < Duration::from_secs(2), "{:?}", heard.elapsed());
    }
}
