//! A running gateway: a configuration, a process, an address to connect to.
//!
//! Invariant: every gateway runs on the driver that the tests are run for, and none panics.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::NamedTempFile;

use super::client::{Client, Response};
use super::endpoint::Endpoint;
use super::process::{Process, ringway};

/// The driver that the tests are run for.
pub(crate) fn driver() -> String {
    std::env::var("RINGWAY_TEST_DRIVER").unwrap_or_else(|_| "io_uring".to_owned())
}

/// An address without a listener.
pub(crate) fn free_address() -> SocketAddr {
    // A port that was given out a moment ago is not given out again soon.
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap()
}

/// A configuration in a file of its own; see [`without_admin`].
pub(crate) fn config_file(text: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new().prefix("ringway-").suffix(".toml").tempfile().unwrap();
    file.write_all(without_admin(text).as_bytes()).unwrap();
    file
}

/// The same configuration with the admin API off, unless the text configures the API: many gateways
/// run at once, and there is only one default port.
fn without_admin(text: &str) -> String {
    let off = "\n[admin]\naddress = \"off\"\n";
    if text.contains("[admin]") { text.to_owned() } else { format!("{text}{off}") }
}

/// A configuration in the making: one listener, one upstream, one route for everything.
#[derive(Debug)]
pub(crate) struct Builder {
    /// Where it listens.
    address: String,
    /// As they are written.
    endpoints: Vec<String>,
    /// Further keys of each, in the same order.
    endpoint_keys: Vec<String>,
    listener: String,
    upstream: String,
    route: String,
    more: String,
    arguments: Vec<String>,
    /// The most descriptors that its process may have.
    descriptors: Option<u64>,
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

    /// Adds keys to each endpoint, in their order: `weight = 2`.
    pub(crate) fn endpoint_keys(mut self, keys: &[&str]) -> Self {
        self.endpoint_keys = keys.iter().map(|keys| (*keys).to_owned()).collect();
        self
    }

    /// Adds a line to `[routes.all]`.
    pub(crate) fn route(mut self, line: &str) -> Self {
        self.route.push_str(line);
        self.route.push('\n');
        self
    }

    /// Adds sections.
    pub(crate) fn and(mut self, sections: &str) -> Self {
        self.more.push_str(sections);
        self.more.push('\n');
        self
    }

    /// Lets the admin API listen, at a port of its own.
    pub(crate) fn admin(self) -> Self {
        self.and("[admin]\naddress = \"127.0.0.1:0\"")
    }

    /// A gateway whose `[listeners.web]` is at `address`.
    pub(crate) fn at(mut self, address: &str) -> Self {
        self.address = address.to_owned();
        self
    }

    /// Runs it with so many cores instead of one.
    pub(crate) fn cores(mut self, cores: usize) -> Self {
        self.arguments = vec!["--cores".to_owned(), cores.to_string()];
        self
    }

    /// Gives its process so many descriptors, and no more.
    pub(crate) fn descriptors(mut self, descriptors: u64) -> Self {
        self.descriptors = Some(descriptors);
        self
    }

    /// The configuration as text.
    pub(crate) fn text(&self) -> String {
        let mut keys = self.endpoint_keys.iter();
        let endpoint = |address| match keys.next() {
            Some(keys) => format!("{{ address = \"{address}\", {keys} }}"),
            None => format!("\"{address}\""),
        };
        let endpoints: Vec<_> = self.endpoints.iter().map(endpoint).collect();
        let Self { address, listener, upstream, route, more, .. } = self;
        let endpoints = endpoints.join(", ");
        format!(
            "version = 1\n\n\
             [listeners.web]\naddress = \"{address}\"\n{listener}\n\
             [upstreams.app]\nendpoints = [{endpoints}]\n{upstream}\n\
             [routes.all]\nupstream = \"app\"\n{route}\n{more}"
        )
    }

    /// Starts the gateway with another text, but the same arguments.
    #[track_caller]
    pub(crate) fn start_with(&self, text: &str) -> Gateway {
        Gateway::start(text, &self.arguments, self.descriptors)
    }

    /// Starts the gateway.
    #[track_caller]
    pub(crate) fn start(&self) -> Gateway {
        Gateway::start(&self.text(), &self.arguments, self.descriptors)
    }
}

/// A gateway that takes connections. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    address: SocketAddr,
    config: NamedTempFile,
}

impl Gateway {
    /// A gateway with these endpoints, to be configured further.
    pub(crate) fn in_front_of(endpoints: &[&Endpoint]) -> Builder {
        Self::in_front_of_addresses(endpoints.iter().map(|it| it.address()))
    }

    /// A gateway with endpoints that may not exist.
    pub(crate) fn in_front_of_addresses(
        endpoints: impl IntoIterator<Item = impl ToString>,
    ) -> Builder {
        Builder {
            address: "127.0.0.1:0".to_owned(),
            endpoints: endpoints.into_iter().map(|it| it.to_string()).collect(),
            endpoint_keys: Vec::new(),
            listener: String::new(),
            upstream: String::new(),
            route: String::new(),
            more: String::new(),
            arguments: vec!["--cores".to_owned(), "1".to_owned()],
            descriptors: None,
        }
    }

    /// A gateway with this configuration. Its first listener should be at port 0.
    #[track_caller]
    pub(crate) fn configured(text: &str) -> Self {
        Self::start(text, &["--cores".to_owned(), "1".to_owned()], None)
    }

    #[track_caller]
    fn start(text: &str, arguments: &[String], descriptors: Option<u64>) -> Self {
        let config = config_file(text);
        let driver = driver();
        let mut command = run(config.path());
        if let Some(descriptors) = descriptors {
            command = with_descriptors(&command, descriptors);
        }
        let process = Process::start(command.args(["--driver", &driver]).args(arguments));
        let (line, address) = ready_line(&process);
        assert!(line.contains(&format!("driver {driver}")), "not on {driver}: {line}");
        Self { process, address, config }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its admin API listens.
    #[track_caller]
    pub(crate) fn admin_address(&self) -> SocketAddr {
        let address = self.process.stderr.wait_for(|line| {
            let (_, rest) = line.split_once("admin API on ")?;
            rest.trim_start_matches("http://").split([' ', '"', '/']).next()?.parse().ok()
        });
        address.expect("the gateway says where its admin API listens")
    }

    /// A request to the admin API, on a connection of its own.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, target: &str, body: &str) -> Response {
        self.admin_with("application/toml", method, target, body)
    }

    /// Takes an endpoint of the upstream `app` out of use (`drain`) or back (`ready`).
    #[track_caller]
    pub(crate) fn set_endpoint(&self, endpoint: &Endpoint, state: &str) {
        let target = format!("/v1/upstreams/app/endpoints/{}", endpoint.address());
        let body = format!("{{\"state\": \"{state}\"}}");
        let done = self.admin_with("application/json", "POST", &target, &body);
        assert_eq!(done.status, 200, "{}", done.text());
    }

    fn admin_with(&self, content_type: &str, method: &str, target: &str, body: &str) -> Response {
        let address = self.admin_address();
        let mut client = Client::connect(address);
        let len = body.len();
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: {content_type}\r\nContent-Length: {len}\r\n\r\n{body}"
        ));
        client.response()
    }

    /// A sum over the metrics named `name` whose labels contain all of `labels`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let metrics = self.admin("GET", "/metrics", "");
        assert_eq!(metrics.status, 200, "{}", metrics.text());
        let of_name = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let lines = metrics.text().lines().filter(of_name);
        let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The file of its configuration.
    pub(crate) fn config_path(&self) -> &Path {
        self.config.path()
    }

    /// Writes its configuration anew, in place. As at the start, without a word about the admin API
    /// it is off.
    pub(crate) fn save(&self, text: &str) {
        std::fs::write(self.config_path(), without_admin(text)).unwrap();
    }

    /// A client's connection to it.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Waits until the gateway has ended by itself or after a signal, and asserts that it ended
    /// well. Returns the summary that it prints at the end.
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

/// The same command, in a process that may have so many descriptors. The shell is replaced by it.
fn with_descriptors(command: &Command, descriptors: u64) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
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
