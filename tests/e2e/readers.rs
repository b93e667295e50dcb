//! Readers of standard output and standard error that are slow, stop reading, or leave: none of
//! that reaches clients, probes, changes or signals.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{
    Client, Endpoint, Gateway, Response, config_file, driver, eventually, free_address, ringway,
    run,
};

/// A gateway of whose output the test reads only what it wants to.
struct Unread {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    _config: tempfile::NamedTempFile,
}

impl Unread {
    /// Its access log goes to standard output.
    fn start(endpoint: &Endpoint, output: impl FnOnce(&mut Command)) -> Self {
        let (address, admin) = (free_address(), free_address());
        let sections = format!("[admin]\naddress = \"{admin}\"\n[access_log]\nto = \"stdout\"");
        let builder = Gateway::in_front_of(&[endpoint]).at(&address.to_string()).and(&sections);
        let config = config_file(&builder.text());
        let mut command = run(config.path());
        command.args(["--cores", "1", "--driver", &driver()]).stdin(Stdio::null());
        output(&mut command);
        let child = command.spawn().unwrap();
        let unread = Self { child, address, admin, _config: config };
        eventually("it is ready", || {
            std::net::TcpStream::connect(admin).is_ok()
                && unread.ask("GET", "/readyz", "").status == 200
        });
        unread
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Response {
        let mut client = Client::connect(self.admin);
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/toml\r\nContent-Length: {}\r\n\r\n{body}",
            self.admin,
            body.len()
        ));
        client.response()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Lines of the process log that were lost.
    fn lost(&self) -> u64 {
        let metrics = self.ask("GET", "/metrics", "");
        let value = |line: &str| line.strip_prefix("ringway_process_log_lost_total ")?.parse().ok();
        metrics.text().lines().find_map(value).unwrap()
    }

    /// Clients, probes, changes and signals work.
    #[track_caller]
    fn works(&mut self) {
        assert_eq!(Client::connect(self.address).get("/").text(), "ok");
        assert_eq!(self.ask("GET", "/livez", "").status, 200);
        assert_eq!(self.ask("POST", "/v1/config?reload=1", "").status, 200);
        self.signal(Signal::SIGHUP);
        assert_eq!(self.ask("GET", "/readyz", "").status, 200);
        assert!(self.child.try_wait().unwrap().is_none(), "it ended");
    }

    #[track_caller]
    fn stops(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut status = None;
        eventually("it stops", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.and_then(|it| it.code()), Some(0), "{status:?}");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration of which the log says a hundred mistakes.
fn mistakes() -> String {
    (0..100).map(|number| format!("unknown_{number} = 1\n")).collect()
}

#[test]
fn a_reader_of_the_log_that_leaves_ends_nothing() {
    let endpoint = Endpoint::ok();
    let mut gateway = Unread::start(&endpoint, |command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    // `| head -1`
    drop(gateway.child.stdout.take());
    let mut log = BufReader::new(gateway.child.stderr.take().unwrap());
    log.read_line(&mut String::new()).unwrap();
    drop(log);
    for _ in 0..3 {
        gateway.works();
        assert_eq!(gateway.ask("POST", "/v1/config", &mistakes()).status, 422);
    }
    eventually("lines are lost and counted", || gateway.lost() >= 3);
    gateway.works();
    gateway.stops();
}

#[test]
fn a_reader_of_the_log_that_does_not_read_stalls_nothing_and_learns_of_lost_lines() {
    let endpoint = Endpoint::ok();
    let mut gateway = Unread::start(&endpoint, |command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    eventually("the pipe and the queue are full", || {
        assert_eq!(gateway.ask("POST", "/v1/config", &mistakes()).status, 422);
        gateway.lost() > 0
    });
    gateway.works();
    let lost = gateway.lost();
    let mut log = BufReader::new(gateway.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("of this log were lost") && !line.contains("of this log was lost") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the log does not mention lost lines");
    }
    assert!(line.contains(&format!("{lost} line")), "{lost}: {line}");
    gateway.works();
    gateway.stops();
}

#[test]
fn a_gateway_with_unread_output_stops_all_the_same() {
    let endpoint = Endpoint::ok();
    let mut gateway = Unread::start(&endpoint, |command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    eventually("the pipe and the queue are full", || {
        assert_eq!(gateway.ask("POST", "/v1/config", &mistakes()).status, 422);
        gateway.lost() > 0
    });
    let mut client = Client::connect(gateway.address);
    // More lines than the pipe of the access log holds.
    for _ in 0..500 {
        assert_eq!(client.get("/").text(), "ok");
    }
    gateway.works();
    gateway.stops();
}

#[test]
fn a_log_in_a_named_pipe_goes_on_with_the_next_reader() {
    let endpoint = Endpoint::ok();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap()
    };
    let reader = open();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    let mut gateway = Unread::start(&endpoint, |command| {
        command.stdout(Stdio::null()).stderr(Stdio::from(writer));
    });
    drop(reader);
    assert_eq!(gateway.ask("POST", "/v1/config", "x = 1").status, 422);
    eventually("a line is lost", || gateway.lost() == 1);
    let mut reader = open();
    assert_eq!(gateway.ask("POST", "/v1/config", "y = 1").status, 422);
    let mut text = String::new();
    eventually("the next reader learns of it", || {
        let mut bytes = [0; 4096];
        if let Ok(count) = reader.read(&mut bytes) {
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        text.contains("1 line of this log was lost")
    });
    assert!(text.contains("`y`"), "{text}");
    gateway.stops();
}

#[test]
fn a_full_disk_below_the_log_stops_nothing() {
    let endpoint = Endpoint::ok();
    let mut gateway = Unread::start(&endpoint, |command| {
        let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
        command.stdout(full()).stderr(full());
    });
    gateway.works();
    eventually("lines are lost and counted", || gateway.lost() > 0);
    gateway.stops();
}

#[test]
fn a_closed_output_is_a_quiet_end_of_every_command_and_a_full_one_is_an_error() {
    let good = config_file(&Gateway::in_front_of_addresses(["127.0.0.1:1"]).text());
    let bad = config_file("version = 1\nfoo = 1\n");
    let (good, bad) = (good.path().to_str().unwrap(), bad.path().to_str().unwrap());
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).admin().start();
    let admin = gateway.admin_address().to_string();
    let commands: [(&[&str], i32); 10] = [
        (&["check", good], 0),
        (&["check", "--json", good], 0),
        (&["check", "--json", bad], 1),
        (&["docs"], 0),
        (&["schema"], 0),
        (&["status", "--admin", &admin], 0),
        (&["status", "--watch", "--admin", &admin], 0),
        (&["bench", "endpoint", "--address", "127.0.0.1:0"], 0),
        (&["--help"], 0),
        (&["run", "--help"], 0),
    ];
    for (arguments, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = ringway().args(arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(code), ""), "{arguments:?}");
    }
    for arguments in [&["check", good][..], &["docs"], &["schema"], &["status", "--admin", &admin]]
    {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = ringway().args(arguments).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(said.contains("cannot print the answer"), "{arguments:?}: {said}");
    }
    // Nobody reads the mistakes either.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = ringway().args(["check", bad]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
    gateway.stop();
}
