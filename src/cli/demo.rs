//! `ringway demo`: two endpoints and a gateway in front of them, to try it.

use std::io::{self, Write, stdout};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;

use bench::endpoint::{Endpoint, EndpointOptions, Handle, Mode};
use control::Configuration;
use control::launch::plan;
use engine::address::Address;
use engine::config::{Cores, Sources, parse, render};

use super::certificate::{SelfSigned, self_signed};
use super::exit::CANNOT_START;
use super::log;
use super::machine::{Machine, ended, no_log};

/// The arguments of `ringway demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    machine: Machine,
}

/// The port to try first.
const PORT: u16 = 8080;

/// The port for HTTPS to try first.
const TLS_PORT: u16 = 8443;

/// The port of the admin API, if no other process has it.
const ADMIN_PORT: u16 = 9901;

/// Ports to try. When so many are taken, the ports are not the problem.
const PORTS_TRIED_MAX: u16 = 100;

/// Runs until Ctrl-C. The endpoints end with it.
pub(super) fn run(mut arguments: Arguments) -> ExitCode {
    let _log = match log::start(arguments.machine.log.unwrap_or_default()) {
        Ok(started) => started,
        Err(error) => return no_log(&error),
    };
    let (endpoints, configuration) = match prepare() {
        Ok(prepared) => prepared,
        Err(why) => {
            log::last_words(&format!("error: {why}"));
            return ExitCode::from(CANNOT_START);
        }
    };
    let addresses = endpoints.each_ref().map(Handle::address);
    // Each core takes turns of its own, so the text below is true as printed on one core only.
    let cores = *arguments.machine.cores.get_or_insert(Cores::Count(1));
    let plan = plan(configuration, arguments.machine.into());
    ended(plan.and_then(|plan| {
        let mut at = plan.addresses().iter().map(Address::ip);
        let gateway = at.next().flatten().zip(at.next().flatten());
        plan.run(|| explain(gateway, addresses, cores))
    }))
}

/// Starts the endpoints and writes the gateway's configuration.
fn prepare() -> Result<([Handle; 2], Configuration), String> {
    let endpoint = |name| endpoint(name).map_err(|it| format!("cannot start an endpoint: {it}"));
    let endpoints = [endpoint("one")?, endpoint("two")?];
    let last = PORT + PORTS_TRIED_MAX - 1;
    let taken = || format!("every port from {PORT} to {last} is taken");
    let port = free_port(PORT).ok_or_else(taken)?;
    let tls_port = free_port(TLS_PORT).ok_or_else(taken)?;
    let admin = is_free(ADMIN_PORT).then_some(ADMIN_PORT);
    let configuration =
        configuration([port, tls_port], admin, endpoints.each_ref().map(Handle::address))?;
    Ok((endpoints, configuration))
}

fn endpoint(name: &str) -> io::Result<Handle> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Endpoint::spawn(EndpointOptions {
        address,
        name: name.to_owned(),
        mode: Mode::Hello,
        cpu: None,
    })
}

/// The first port from `first` that is free. If another process takes it before the gateway binds it, the
/// gateway refuses to start.
fn free_port(first: u16) -> Option<u16> {
    (first..first + PORTS_TRIED_MAX).find(|&port| is_free(port))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The same text that a file would hold.
fn configuration(
    [port, tls_port]: [u16; 2],
    admin: Option<u16>,
    endpoints: [SocketAddr; 2],
) -> Result<Configuration, String> {
    let [one, two] = endpoints;
    let admin = admin.map_or_else(|| "off".to_owned(), |port| format!("127.0.0.1:{port}"));
    let text = format!(
        r#"version = 1

[admin]
address = "{admin}"

[listeners.demo]
address = "127.0.0.1:{port}"

[listeners.secure]
address = "127.0.0.1:{tls_port}"
tls = {{ certificates = ["demo"] }}

[certificates.demo]
cert = "demo.pem"
key  = "demo.key"

[upstreams.hello]
endpoints = ["{one}", "{two}"]

[routes.hello]
match    = {{ path_prefix = "/hello" }}
upstream = "hello"
"#
    );
    let mut sources = Sources::new("demo", text);
    let SelfSigned { certificate, key } =
        self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    sources.add_content("demo", "demo.pem", Ok(certificate.into_bytes()));
    sources.add_content("demo", "demo.key", Ok(key.into_bytes()));
    let model = parse(&sources).map_err(|mistakes| render(&mistakes, false))?;
    Ok(Configuration { sources, model, file: None })
}

/// Prints the addresses, and requests to try.
fn explain(gateway: Option<(SocketAddr, SocketAddr)>, endpoints: [SocketAddr; 2], cores: Cores) {
    let [one, two] = endpoints;
    let Some((gateway, secure)) = gateway else {
        return;
    };
    let turns = match cores {
        Cores::Count(1) => "They answer in turn: repeat the first line.",
        _ => "Each core takes them in turn, and the kernel chooses the core.",
    };
    let text = format!(
        "
The gateway listens on {gateway} and sends requests for /hello, and
for paths below it, to two endpoints: \"one\" on {one} and
\"two\" on {two}.
{turns} Try:

  curl -i http://{gateway}/hello
  curl -i -d 'some words' http://{gateway}/hello/words
  curl -i http://{gateway}/elsewhere
  curl -ik https://{secure}/hello

The third one has no route: the gateway answers it by itself. The last one goes over TLS, with a
certificate that nobody has signed. Ctrl-C stops everything.

"
    );
    // The caller is the control thread, and a reader of the standard output may be slow or gone.
    let _ = thread::Builder::new().spawn(move || stdout().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_configuration_is_sound() {
        let endpoints = [9001, 9002].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let configuration = configuration([8080, 8443], Some(ADMIN_PORT), endpoints);
        assert!(configuration.is_ok(), "{configuration:?}");
        assert!(super::configuration([8080, 8443], None, endpoints).is_ok());
    }
}
