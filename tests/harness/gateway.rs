//! A running gateway: a configuration, a process, an address to connect to.
//!
//! Invariant: every gateway runs on the driver that the tests are run for, and none panics.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::NamedTempFile;

use super::client::Client;
use super::endpoint::Endpoint;
use super::process::{Process, ringway};

/// The driver that the tests are run for.
pub(crate) fn driver() -> String {
    std::env::var("RINGWAY_TEST_DRIVER").unwrap_or_else(|_| "io_uring".to_owned())
}

/// An address at which nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    // A port that was given out a moment ago is not given out again soon.
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap()
}

/// A configuration in a file of its own.
pub(crate) fn config_file(text: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new().prefix("ringway-").suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A configuration in the making: one listener, one upstream, one route for everything.
#[derive(Debug)]
pub(crate) struct Builder {
    endpoints: Vec<SocketAddr>,
    listener: String,
    upstream: String,
    arguments: Vec<String>,
}

impl Builder {
    /// Adds a line to `[listeners.web]`.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        self.listener.push_str(line);
        self.listener.push('\n');
        self
    }

    /// Adds a line to `[upstreams.app]`.
    pub(crate) fn upstream(mut self, line: &str) -> Self {
        self.upstream.push_str(line);
        self.upstream.push('\n');
        self
    }

    /// Runs it with so many cores instead of one.
    pub(crate) fn cores(mut self, cores: usize) -> Self {
        self.arguments = vec!["--cores".to_owned(), cores.to_string()];
        self
    }

    /// The configuration as text.
    pub(crate) fn text(&self) -> String {
        let endpoints: Vec<_> = self.endpoints.iter().map(|it| format!("\"{it}\"")).collect();
        let (listener, upstream) = (&self.listener, &self.upstream);
        let endpoints = endpoints.join(", ");
        format!(
            "version = 1\n\n\
             [listeners.web]\naddress = \"127.0.0.1:0\"\n{listener}\n\
             [upstreams.app]\nendpoints = [{endpoints}]\n{upstream}\n\
             [routes.all]\nupstream = \"app\"\n"
        )
    }

    /// Starts the gateway.
    #[track_caller]
    pub(crate) fn start(&self) -> Gateway {
        Gateway::start(&self.text(), &self.arguments)
    }
}

/// A gateway that takes connections. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    address: SocketAddr,
    _config: NamedTempFile,
}

impl Gateway {
    /// A gateway with these endpoints, to be configured further.
    pub(crate) fn in_front_of(endpoints: &[&Endpoint]) -> Builder {
        Self::in_front_of_addresses(endpoints.iter().map(|it| it.address()))
    }

    /// A gateway with endpoints that may not exist.
    pub(crate) fn in_front_of_addresses(
        endpoints: impl IntoIterator<Item = SocketAddr>,
    ) -> Builder {
        Builder {
            endpoints: endpoints.into_iter().collect(),
            listener: String::new(),
            upstream: String::new(),
            arguments: vec!["--cores".to_owned(), "1".to_owned()],
        }
    }

    /// A gateway with this configuration. Its first listener should be at port 0.
    #[track_caller]
    pub(crate) fn configured(text: &str) -> Self {
        Self::start(text, &["--cores".to_owned(), "1".to_owned()])
    }

    #[track_caller]
    fn start(text: &str, arguments: &[String]) -> Self {
        let config = config_file(text);
        let driver = driver();
        let mut command = run(config.path());
        let process = Process::start(command.args(["--driver", &driver]).args(arguments));
        let (line, address) = ready_line(&process);
        assert!(line.contains(&format!("driver {driver}")), "not on {driver}: {line}");
        Self { process, address, _config: config }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client's connection to it.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Waits until it has ended by itself or after a signal, and asserts that it ended well. Gives
    /// what it says of its life at the end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> String {
        assert_eq!(self.process.exit_code(), 0);
        let totals = self.process.stderr.wait_for(|line| {
            let at = line.find("drained: ")?;
            Some(line[at..].to_owned())
        });
        let totals = totals.expect("a drained gateway sums up its life");
        assert!(totals.contains(" 0 panics"), "{totals}");
        totals
    }

    /// Sends SIGTERM and waits as [`Gateway::wait`] does.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.process.terminate();
        self.wait()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let said = self.process.stderr.text();
        assert!(thread::panicking() || !said.contains("panicked"), "the gateway panicked: {said}");
    }
}

/// `ringway run -c config`, to be given more arguments.
pub(crate) fn run(config: &Path) -> Command {
    let mut command = ringway();
    command.arg("run").arg("-c").arg(config);
    command
}

/// Waits until a gateway says that it is ready: the line, and where it listens first.
#[track_caller]
pub(crate) fn ready_line(process: &Process) -> (String, SocketAddr) {
    let ready = process.stderr.wait_for(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        let address = rest.split(' ').next()?.parse().ok()?;
        Some((line.to_owned(), address))
    });
    ready.unwrap_or_else(|| panic!("the gateway does not become ready: {}", process.stderr.text()))
}
